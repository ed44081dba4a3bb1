"""What the hardware signs, computed here a second time, from the specification alone."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blindai.attestation.binding import report_data
from blindai.attestation.types import Evidence

KEYSET = hashlib.sha256(b"keyset").digest()
ROOT = hashlib.sha256(b"root").digest()
FIRST = Evidence("application/first", b"1")
SECOND = Evidence("application/second", b"22")


def sha256(data):
    return hashlib.sha256(data).digest()


def test_the_golden_vector():
    """One value, written down: a change of the formula breaks every deployed client and must show."""
    bound = report_data(keyset_sha256=KEYSET, challenge_root=ROOT, others=[FIRST, SECOND])
    assert bound.hex() == (
        "ad12076e1dfbf25eb63f643367c774b158ebf62d4cc30f9851b2e04b675ea124"
        "131a87a1097438415c68ec76f699a7a2960636c3619de16e0c2a88e4c1a82f62"
    )


@pytest.mark.parametrize("others", [[], [FIRST], [FIRST, SECOND]])
def test_the_formula(others):
    """SHA-512 over label, keyset digest, challenge root and the digest of all other evidence."""
    digests = b"".join(sha256(piece.media_type.encode()) + sha256(piece.value) for piece in others)
    text = b"blindai-attestation-v1\x00" + KEYSET + ROOT + sha256(digests)
    assert report_data(keyset_sha256=KEYSET, challenge_root=ROOT, others=others) == sha512(text)


def sha512(data):
    return hashlib.sha512(data).digest()


CHANGED = {
    "keyset": (sha256(b"another"), ROOT, [FIRST, SECOND]),
    "root": (KEYSET, sha256(b"another"), [FIRST, SECOND]),
    "keyset and root swapped": (ROOT, KEYSET, [FIRST, SECOND]),
    "order": (KEYSET, ROOT, [SECOND, FIRST]),
    "piece dropped": (KEYSET, ROOT, [FIRST]),
    "piece added": (KEYSET, ROOT, [FIRST, SECOND, SECOND]),
    "media type": (KEYSET, ROOT, [Evidence("application/other", FIRST.value), SECOND]),
    "value": (KEYSET, ROOT, [FIRST, Evidence(SECOND.media_type, b"23")]),
    "byte moved from type to value": (KEYSET, ROOT, [Evidence("application/firs", b"t1"), SECOND]),
    "nothing": (KEYSET, ROOT, []),
}


@pytest.mark.parametrize("name", CHANGED)
def test_any_change_changes_it(name):
    """Nothing that goes in can be exchanged without new evidence."""
    keyset, root, others = CHANGED[name]
    truth = report_data(keyset_sha256=KEYSET, challenge_root=ROOT, others=[FIRST, SECOND])
    assert report_data(keyset_sha256=keyset, challenge_root=root, others=others) != truth


@pytest.mark.parametrize(("keyset", "root"), [(b"", ROOT), (KEYSET, b"r" * 31), (KEYSET + ROOT, b"")])
def test_parts_have_a_fixed_length(keyset, root):
    """A digest of another length would let bytes move between the parts."""
    with pytest.raises(ValueError, match="32 bytes"):
        report_data(keyset_sha256=keyset, challenge_root=root, others=[])


pieces = st.lists(
    st.builds(Evidence, st.text(max_size=4).filter(str.isascii), st.binary(max_size=4)), max_size=3
)


@settings(deadline=None, derandomize=True)
@given(pieces, pieces)
def test_different_evidence_is_bound_differently(one, other):
    """Two lists give one value only if they are the same list."""
    bound = [report_data(keyset_sha256=KEYSET, challenge_root=ROOT, others=each) for each in (one, other)]
    assert (bound[0] == bound[1]) == (one == other)
