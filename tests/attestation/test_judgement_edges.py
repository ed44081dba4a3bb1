"""The greatest sizes and numbers of a policy, floors of a platform without a CRL, roots with two names."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from blindai.attestation import toml_table
from blindai.attestation.policy import MAX_POLICY_BYTES, Policy
from blindai.attestation.toml_table import Table
from blindai.attestation.trust import SIMULATION_MARK, StapledSimulationTrust
from blindai.attestation.types import Floor
from blindai.attestation.verdict import Outcome
from blindai.errors import PolicyError
from tests.attestation.judging import GOOD_CHANNEL, claims_of, judged
from tests.attestation.policy_texts import MINIMAL, refused
from tests.attestation.scene import NOW, policy_of

LARGEST = 2**63 - 1
WEEK_SECONDS = 604_800


@pytest.mark.parametrize("sign", [1, -1])
def test_a_setting_may_be_any_number_of_64_bits(sign):
    """The greatest loads and the next one does not: Python would not print one of thousands of digits."""
    text = MINIMAL + "[require]\nsandbox = {}\n"
    assert Policy.from_toml(text.format(sign * LARGEST)).require == {"sandbox": sign * LARGEST}
    for more in (1, 2, 2**200):
        assert "must be a string, integer" in refused(text.format(sign * (LARGEST + more)))


def table(**values):
    return Table(values, header="accept", occurrence=0, text="")


def test_a_count_has_63_bits():
    """In a list as well as by itself."""
    assert table(key=LARGEST).integer("key", default=0) == LARGEST
    assert table(key=[LARGEST]).integers("key") == (LARGEST,)
    for wrong in (LARGEST + 1, 2**200):
        with pytest.raises(PolicyError, match="integer, 0 or more"):
            table(key=wrong).integer("key", default=0)
        with pytest.raises(PolicyError, match="integer, 0 or more"):
            table(key=[wrong]).integers("key")


def test_a_text_of_the_largest_size_is_read():
    """Counted in bytes: the limit is where the message says it is."""
    for filler in ("a", "é"):
        text = "a = 1\n#"
        fitting = text + filler * ((20 - len(text)) // len(filler.encode()))
        size = len(fitting.encode())
        assert toml_table.read(fitting, "it", max_bytes=size) == {"a": 1}
        with pytest.raises(PolicyError, match=f"^it is longer than {size - 1} bytes"):
            toml_table.read(fitting, "it", max_bytes=size - 1)
    assert MAX_POLICY_BYTES == 131_072
    with pytest.raises(PolicyError, match=r"^it is not TOML"):
        toml_table.read("a = \ud800", "it", max_bytes=100)
    with pytest.raises(PolicyError, match=r"^it is not TOML"):
        toml_table.read("# \ud800", "it", max_bytes=100)


def test_a_key_has_40_parts_at_most():
    """Whichever way they are written: reading more would take long."""
    for part in ("a", '"a"', "'a'"):
        assert toml_table.read(".".join([part] * 40) + " = 1", "it", max_bytes=1000)
        with pytest.raises(PolicyError, match=r"^it has a key of more than 40 parts"):
            toml_table.read(".".join([part] * 41) + " = 1", "it", max_bytes=1000)


def test_a_long_key_is_shown_by_its_first_60_characters():
    """A message is for reading."""
    assert str(table().error("k" * 60, "!")).endswith(f" {'k' * 60} !")
    assert str(table().error("k" * 61, "!")).endswith(f" {'k' * 60}… !")


CRL_FLOORS = ["leaf_crl", "root_crl", "leaf_crl_date", "root_crl_date"]


def without_crl(tdx, **numbers):
    """Return claims of a platform for which no CRL was stapled."""
    return dataclasses.replace(claims_of(tdx), freshness=Floor(**{"tcb_evaluation": 5, **numbers}))


@pytest.mark.parametrize("name", CRL_FLOORS)
def test_a_crl_that_was_not_stapled_is_not_older_than_another(tdx, name):
    """Whether one is needed is for the policy to say; everything else keeps its floor."""
    seen = Floor(**{name: NOW + 2 * WEEK_SECONDS})
    assert judged(policy_of(tdx), without_crl(tdx), floor=seen).accepted
    verdict = judged(policy_of(tdx), without_crl(tdx), floor=dataclasses.replace(seen, tcb_evaluation=6))
    assert [check.claim for check in verdict.failures] == ["tcb_evaluation_floor"]
    dated = without_crl(tdx, root_crl_date=1)
    verdict = judged(policy_of(tdx), dated, floor=seen)
    assert [check.claim for check in verdict.failures] == [f"{name}_floor"]


def root_of(*organizations, signer=None):
    """Return a root of these organizations, signed by itself or by another key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, each) for each in organizations])
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime.fromtimestamp(NOW, UTC))
        .not_valid_after(datetime.fromtimestamp(NOW + 1, UTC))
        .sign(signer or key, hashes.SHA256())
    )


def test_a_stapled_root_carries_the_mark_and_its_own_signature():
    """One mark among its organizations is enough; nothing else is."""
    trust, other = StapledSimulationTrust(), ec.generate_private_key(ec.SECP256R1())
    assert trust.accepts("intel", root_of(SIMULATION_MARK))
    assert trust.accepts("intel", root_of("Example", SIMULATION_MARK))
    assert not trust.accepts("intel", root_of("Example"))
    assert not trust.accepts("intel", root_of())
    assert not trust.accepts("intel", root_of(SIMULATION_MARK, signer=other))


@pytest.mark.parametrize(
    ("value", "meant"),
    [
        ("hyperthreading", "hyper-threading"),
        ("NO-CRL", "no-crl"),
        ("uptodate", "UpToDate"),
        ("UpToDat", "UpToDate"),
        ("something else", None),
    ],
)
def test_a_value_that_is_not_known_is_told_with_the_one_that_was_meant(value, meant):
    """In whatever case it was written; and all that are known are listed."""
    words = toml_table.not_among(value, ["no-crl", "hyper-threading", "UpToDate"])
    assert repr(value) in words
    assert "no-crl, hyper-threading, UpToDate" in words
    assert words.partition("did you mean ")[2] == ("" if meant is None else f"{meant!r}?")


@pytest.mark.parametrize(
    ("stated", "written"),
    [("none", '"none"'), (False, "false"), (7, "7"), (("file", "memory"), '["file", "memory"]')],
)
def test_a_setting_is_accepted_by_the_line_that_is_shown(tdx, stated, written):
    """As TOML writes it; and nothing accepts what is not stated."""
    channel = dataclasses.replace(GOOD_CHANNEL, settings={"sandbox": stated})
    text = MINIMAL + "[require]\nsandbox = {}\n"
    (check,) = settings_of(judged(text.format("true"), claims_of(tdx), channel))
    assert check.accepted_by.endswith(f"sandbox = {written}")
    (check,) = settings_of(judged(text.format(written), claims_of(tdx), channel))
    assert check.outcome is Outcome.PASS
    (check,) = settings_of(
        judged(text.format("true"), claims_of(tdx), dataclasses.replace(channel, settings={}))
    )
    assert (check.outcome, check.accepted_by) == (Outcome.FAIL, "")


def settings_of(verdict):
    return [check for check in verdict.checks if check.claim == "settings.sandbox"]
