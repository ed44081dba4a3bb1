"""Names, dates and digests in a policy: which spellings load, and what they mean."""

from __future__ import annotations

import contextlib
import datetime

import pytest

from blindai.attestation.policy import Policy
from blindai.errors import PolicyError
from tests.attestation.policy_texts import DIGEST, FULL, MINIMAL, SHA256, refused


@pytest.mark.parametrize("name", ["Inference.example.org", "*.example.org", "a.example:9924", "[::1]:9924"])
def test_a_name_with_upper_case_wildcard_or_port_is_refused(name):
    """Such a name would never match: better said when the policy loads."""
    assert "names" in refused(FULL.replace("inference.example.org", name))


@pytest.mark.parametrize("name", ["inference.example.org", "localhost", "127.0.0.1", "::1", "[::1]"])
def test_a_canonical_name_loads(name):
    """Hosts and addresses, as they are dialled."""
    assert Policy.from_toml(FULL.replace("inference.example.org", name)).names == (name,)


@pytest.mark.parametrize(
    ("text", "when"),
    [
        ("2027-03-01", datetime.datetime(2027, 3, 1, tzinfo=datetime.UTC)),
        ("2027-03-01T12:00:00Z", datetime.datetime(2027, 3, 1, 12, tzinfo=datetime.UTC)),
        ("2027-03-01T12:00:00+02:00", datetime.datetime(2027, 3, 1, 10, tzinfo=datetime.UTC)),
        ("0001-01-01", datetime.datetime(1, 1, 1, tzinfo=datetime.UTC)),
        ("9999-12-31T23:59:59Z", datetime.datetime(9999, 12, 31, 23, 59, 59, tzinfo=datetime.UTC)),
    ],
)
def test_a_date_or_a_time_with_its_zone_loads(text, when):
    """A date is its first second in UTC; a time without a zone would mean something else elsewhere."""
    policy = Policy.from_toml(FULL.replace("expires = 2027-03-01", f"expires = {text}"))
    assert policy.expires == int(when.timestamp())


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"])
def test_a_time_at_the_edge_of_the_calendar_does_not_crash(text):
    """It loads or it is refused."""
    with contextlib.suppress(PolicyError):
        Policy.from_toml(FULL.replace("expires = 2027-03-01", f"expires = {text}"))


def test_the_policys_name_is_its_text():
    """Two texts have two digests, though they mean the same."""
    assert Policy.from_toml(MINIMAL).sha256 != Policy.from_toml(MINIMAL + "\n").sha256


def test_digests_may_be_written_in_upper_case():
    """Tools print both; the value is the same."""
    upper = MINIMAL.replace(DIGEST, DIGEST.upper())
    assert Policy.from_toml(upper).accept == Policy.from_toml(MINIMAL).accept
    text = FULL.replace(SHA256, SHA256.upper())
    assert Policy.from_toml(text).operator_spki_sha256 == {SHA256}
