"""What an entry for Nitro Enclaves may say, and what it accepts: every field at its edge and one beyond."""

from __future__ import annotations

import pytest

from blindai.attestation.policy import Policy
from blindai.errors import Reason
from blindai.testing import FakeNitro
from tests.attestation.judging import (
    Edge,
    assert_edge,
    claims_of,
    entry_of,
    failed,
    policy_of_entry,
    with_lines,
    without,
)
from tests.attestation.policy_texts import DIGEST, NITRO_FULL, assert_wrong_values_are_refused, refused
from tests.attestation.scene import NOW

OTHER = b"x" * 48
DIGESTS = [
    '""',
    f'"{DIGEST}00"',
    f'"{DIGEST[:-1]}"',
    f'"{DIGEST[:-1]}x"',
    "1",
    f'["{DIGEST}"]',
    f'"{"0" * 96}"',
]
WRONG_VALUES = {
    **dict.fromkeys((f"pcr{index}" for index in (0, 1, 2, 3, 8, 31)), DIGESTS),
    "max_age_seconds": ["true", '"60"', "-1", "60.0", "[60]"],
}


def test_the_largest_entry():
    """Any of the 32 registers, and an age."""
    (entry,) = Policy.from_toml(policy_of_entry(NITRO_FULL)).accept
    assert entry.pcrs == dict.fromkeys((0, 1, 2, 3, 8, 31), bytes.fromhex(DIGEST))
    assert entry.max_age_seconds == 60
    every = "".join(f'pcr{index} = "{DIGEST}"\n' for index in range(32))
    assert len(Policy.from_toml(f'version = 1\n[[accept]]\ntee = "nitro"\n{every}').accept[0].pcrs) == 32


@pytest.mark.parametrize("key", WRONG_VALUES)
def test_a_value_of_the_wrong_kind_is_refused(key):
    """A register that nothing was measured into is zero, and so is every one in debug mode: no demand."""
    assert_wrong_values_are_refused(NITRO_FULL, key, WRONG_VALUES[key])


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        (f'pcr32 = "{DIGEST}"', "pcr3"),
        (f'pcr01 = "{DIGEST}"', "pcr"),
        (f'pcr_1 = "{DIGEST}"', "pcr1"),
        (f'PCR4 = "{DIGEST}"', ""),
        ("max_age = 60", "max_age_seconds"),
        ("allow_smt = false", ""),
    ],
)
def test_an_unknown_key_is_refused_where_it_stands(line, meant):
    """With the key that was probably meant."""
    text = policy_of_entry(NITRO_FULL + line + "\n")
    message = refused(text)
    assert f"line {len(text.splitlines())}:" in message
    assert f"{line.partition(' ')[0]} is not a known key" in message
    assert meant in message


@pytest.mark.parametrize(
    ("named", "loads"),
    [
        (["pcr0"], True),
        (["pcr1", "pcr2", "pcr8"], True),
        ([], False),
        (["pcr8"], False),
        (["pcr1", "pcr2"], False),
        (["pcr1", "pcr8"], False),
        (["pcr2", "pcr8"], False),
        (["pcr3", "pcr31"], False),
    ],
)
def test_a_missing_code_identity_is_refused(named, loads):
    """The whole image; or who signed it, with kernel and application. A signer alone signs anything."""
    missing = {"pcr0", "pcr1", "pcr2", "pcr3", "pcr8", "pcr31"} - set(named)
    text = policy_of_entry(without(NITRO_FULL, *missing))
    if loads:
        assert len(Policy.from_toml(text).accept[0].pcrs) == len(named)
    else:
        message = refused(text)
        assert "pcr0 is missing" in message
        assert "line 3:" in message


def test_allow_debug_is_refused():
    """A debug enclave is never acceptable, so the key is not offered, not even to say no."""
    for value in ("true", "false"):
        assert "allow_debug" in refused(policy_of_entry(NITRO_FULL + f"allow_debug = {value}\n"))


MISMATCH = Reason.MEASUREMENT_MISMATCH
EDGES = [
    *(Edge(f"pcr{index}", MISMATCH, {"pcrs": {index: OTHER}}) for index in (0, 1, 2)),
    *(
        Edge(
            f"pcr{index}",
            MISMATCH,
            {"pcrs": {index: OTHER}},
            {"pcrs": {index: bytes.fromhex(DIGEST)}},
            lines=(f'pcr{index} = "{DIGEST}"',),
        )
        for index in (3, 8, 15)
    ),
    # A register that is zero, or is not there at all, cannot be demanded: no line accepts that.
    Edge("pcr8", MISMATCH, {}, {"pcrs": {8: OTHER}}, lines=(f'pcr8 = "{OTHER.hex()}"',), final=True),
    Edge("pcr31", MISMATCH, {}, {"pcrs": {31: OTHER}}, lines=(f'pcr31 = "{OTHER.hex()}"',), final=True),
    Edge("document_age", Reason.EVIDENCE_STALE, {"timestamp_offset": -301}, {"timestamp_offset": -300}),
    Edge(
        "document_age",
        Reason.EVIDENCE_STALE,
        {"timestamp_offset": -1},
        {"timestamp_offset": 0},
        lines=("max_age_seconds = 0",),
    ),
    Edge(
        "document_age",
        Reason.EVIDENCE_STALE,
        {"timestamp_offset": -1001},
        {"timestamp_offset": -1000},
        lines=("max_age_seconds = 1000",),
    ),
    Edge(
        "document_time",
        Reason.EVIDENCE_NOT_YET_VALID,
        {"timestamp_offset": 301},
        {"timestamp_offset": 300},
        final=True,
    ),
]


@pytest.mark.parametrize("edge", EDGES, ids=str)
def test_the_edge_of_each_demand(edge):
    """What just meets it, what just does not, and that the line which would accept it is true."""
    assert_edge("nitro", edge)


def test_a_signed_image_needs_no_digest_of_it():
    """PCR 0 covers what the signer's release notes cannot say in advance."""
    signed = FakeNitro(now=NOW, pcrs={8: b"8" * 48})
    entry = without(entry_of(signed), "pcr0")
    assert failed(entry, FakeNitro(now=NOW, pcrs={0: OTHER, 8: b"8" * 48})) == []
    assert [check.claim for check in failed(entry, FakeNitro(now=NOW, pcrs={2: OTHER, 8: OTHER}))] == [
        "pcr2",
        "pcr8",
    ]


def test_the_entry_that_a_client_is_offered_names_the_code():
    """Image, kernel and application, and the signer where there is one; no role, no instance."""
    assert [line.partition(" ")[0] for line in entry_of(FakeNitro(now=NOW)).splitlines()[1:]] == [
        "tee",
        "pcr0",
        "pcr1",
        "pcr2",
    ]
    assert "pcr8" in entry_of(FakeNitro(now=NOW, pcrs={8: OTHER}))


def test_the_age_is_told_by_the_documents_time_and_this_clock():
    """The same document an hour later is too old, whatever it says of itself."""
    machine = FakeNitro(now=NOW)
    entry = entry_of(machine)
    claims = claims_of(machine)
    assert claims.timestamp == NOW
    assert [check.claim for check in failed(entry, machine, now=NOW + 3600)] == [
        "document_age",
        "keyset_valid",
    ]
    assert failed(with_lines(entry, "max_age_seconds = 3599"), machine, now=NOW + 3599) == []
