"""The verification as a whole: what comes first, what else a refusal says, and when a proof ends."""

from __future__ import annotations

import dataclasses

import pytest

from blindai.attestation import verifier
from blindai.attestation.binding import report_data
from blindai.attestation.trust import ProductionTrust, SimulationTrust, StapledSimulationTrust, unknown_root
from blindai.attestation.types import TDX_QUOTE, Evidence
from blindai.attestation.vendors import verify
from blindai.errors import AttestationError, EvidenceForged, EvidenceMalformed, EvidenceRejected, Reason
from tests.attestation.judging import GOOD_CHANNEL, OPERATOR
from tests.attestation.scene import NOW, policy_of

KEYSET, ROOT, TLS_KEY = bytes([1]) * 32, bytes([2]) * 32, bytes([3]) * 32
CHANNEL = dataclasses.replace(GOOD_CHANNEL, not_after=NOW + 7200)


def signed(tdx, others=()):
    """Return evidence that this machine made for the keyset and root above, and all other pieces."""
    bound = report_data(keyset_sha256=KEYSET, challenge_root=ROOT, others=others)
    return Evidence(TDX_QUOTE, tdx.evidence(bound).value)


def attested(tdx, *evidence, policy=None, channel=CHANNEL):
    return verifier.attest(
        evidence or (signed(tdx),),
        tdx.collateral(),
        keyset_sha256=KEYSET,
        tls_spki_sha256=TLS_KEY,
        challenge_root=ROOT,
        channel=channel,
        policy=policy or policy_of(tdx),
        trust=SimulationTrust([tdx.root_sha256]),
        floors={},
        now=NOW,
    )


def refused(tdx, *evidence, **how):
    with pytest.raises(AttestationError) as caught:
        attested(tdx, *evidence, **how)
    return caught.value


def test_no_second_piece_stands_beside_the_first(tdx):
    """Bound or not, and of whatever type: this version knows none that may."""
    for other in (Evidence("application/x", b"1"), Evidence(TDX_QUOTE, b""), signed(tdx)):
        for pieces in ((signed(tdx, [other]), other), (signed(tdx), other)):
            error = refused(tdx, *pieces)
            assert (error.reason, type(error)) == (Reason.EVIDENCE_UNKNOWN_TYPE, EvidenceMalformed)


def test_the_first_piece_is_the_primary_one(tdx):
    """It is judged first and for itself, however good another piece may be."""
    error = refused(tdx, Evidence(TDX_QUOTE, b"none"), signed(tdx))
    assert error.reason == Reason.QUOTE_MALFORMED


@pytest.mark.parametrize("name", ["keyset_sha256", "challenge_root"])
def test_evidence_for_another_server_or_challenge_is_forged(tdx, name):
    """What the hardware signed is about one keyset and one challenge."""
    parts = {"keyset_sha256": KEYSET, "challenge_root": ROOT, name: bytes(32)}
    error = refused(tdx, Evidence(TDX_QUOTE, tdx.evidence(report_data(**parts, others=[])).value))
    assert (error.reason, type(error)) == (Reason.REPORT_DATA_MISMATCH, EvidenceForged)


@pytest.mark.parametrize("seconds", [1, 3599])
def test_a_proof_ends_with_the_policy(tdx, seconds):
    """A policy that has expired accepts nothing."""
    policy = dataclasses.replace(policy_of(tdx), expires=NOW + seconds)
    assert attested(tdx, policy=policy).not_after == NOW + seconds


@pytest.mark.parametrize(
    ("pinned", "ends", "lasts"),
    [(True, 600, 600), (True, None, 3600), (True, 7200, 3600), (False, 600, 3600), (False, None, 3600)],
)
def test_a_proof_ends_with_the_operators_certificate_that_it_rests_on(tdx, pinned, ends, lasts):
    """Only where the policy pins the operator; and never later than after an hour."""
    policy = policy_of(tdx, tables=f'[operator]\nspki_sha256 = ["{OPERATOR}"]' if pinned else "")
    channel = dataclasses.replace(CHANNEL, operator_not_after=None if ends is None else NOW + ends)
    assert attested(tdx, policy=policy, channel=channel).not_after == NOW + lasts


def test_a_proof_ends_with_the_keyset(tdx):
    """The server promises its key for so long and no longer."""
    channel = dataclasses.replace(CHANNEL, not_after=NOW + 100)
    assert attested(tdx, channel=channel).not_after == NOW + 100


def test_a_refusal_leads_with_its_first_failure(tdx):
    """Reason, words and hint are about the same claim, though others failed after it."""
    policy = policy_of(tdx, tables="[require]\nsandbox = false")
    channel = dataclasses.replace(CHANNEL, names=("other.example",))
    error = refused(tdx, policy=policy, channel=channel)
    assert isinstance(error, EvidenceRejected)
    assert error.verdict.reasons == (Reason.NAME_MISMATCH, Reason.SETTING_MISMATCH)
    assert error.reason == Reason.NAME_MISMATCH
    assert "name is other.example, expected dialled.example (and 1 more)" in str(error)
    assert error.hint.startswith("dial a name that the server lists")


def test_an_unknown_root_is_told_with_what_was_expected():
    """A simulation's root may have changed at its restart; hardware's never does."""
    for trust in (SimulationTrust(["ab" * 32]), StapledSimulationTrust()):
        error = unknown_root("intel", trust)
        assert "the trusted simulation root" in str(error)
        assert "restarted" in error.hint
    error = unknown_root("intel", ProductionTrust())
    assert "intel's root" in str(error)
    assert "if this is a simulation" in error.hint


def test_evidence_of_an_unknown_type_is_malformed(tdx):
    """There is nobody who could read it; a newer version may."""
    with pytest.raises(EvidenceMalformed) as caught:
        verify(Evidence("application/x", b""), {}, trust=ProductionTrust(), now=NOW)
    assert caught.value.reason == Reason.EVIDENCE_UNKNOWN_TYPE
    assert "newer" in caught.value.hint
