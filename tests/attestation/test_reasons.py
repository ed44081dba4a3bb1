"""Every way to refuse a server ends in the reason that names it."""

from __future__ import annotations

import pytest

from blindai.errors import EvidenceRejected, Reason
from blindai.testing import FakeTdx
from tests.attestation.lies import HOUR, JUDGED, LIES, OF_THE_FRAMING, requiring, told
from tests.attestation.scene import NOW, TLS, Client, attest, refusal


@pytest.mark.parametrize("lie", LIES, ids=str)
def test_a_lie_is_refused_for_what_it_is(lie):
    """The reason is the one that names the lie, and the class says whose fault it is."""
    tdx, client, lies = told(lie)
    error = refusal(lambda: attest(tdx, client, **lies))
    assert (error.reason, type(error)) == (lie.reason, lie.kind)
    assert f"[{lie.reason}]" in str(error)


@pytest.mark.parametrize("lie", JUDGED, ids=str)
def test_a_policy_refusal_carries_the_verdict(lie):
    """Where everything was verified and then judged, the error lists every claim."""
    tdx, client, lies = told(lie)
    error = refusal(lambda: attest(tdx, client, **lies))
    assert error.verdict is not None
    assert not error.verdict.accepted
    assert lie.reason in error.verdict.reasons
    assert str(lie.reason) in str(error.verdict)


def test_the_truth_is_accepted(tdx):
    """Without a lie the same machine, answer and client end in a proof."""
    attested = attest(tdx)
    assert attested.verdict.accepted
    assert attested.verdict.simulated
    assert attested.tls_spki_sha256 == TLS.spki_sha256
    assert attested.not_after == NOW + HOUR


def test_every_reason_has_a_lie():
    """No code exists that nothing can end in, and none is untested."""
    assert {lie.reason for lie in LIES} | OF_THE_FRAMING == set(Reason)


def test_all_mismatches_are_gathered():
    """A server that fails five demands is refused once, with all five."""
    tdx = FakeTdx(now=NOW, smt=True, tcb_status="OutOfDate", advisories=("INTEL-SA-00001",))
    client = Client(policy=requiring(tdx))
    error = refusal(lambda: attest(tdx, client, names=("elsewhere.example",)))
    assert set(error.verdict.reasons) == {
        Reason.TCB_STATUS,
        Reason.TCB_ADVISORY,
        Reason.PLATFORM_CONFIGURATION,
        Reason.NAME_MISMATCH,
        Reason.SETTING_MISMATCH,
    }


@pytest.mark.parametrize(
    ("fields", "accepted"),
    [
        ({"not_before": NOW + 300, "not_after": NOW + HOUR}, True),
        ({"not_before": NOW, "not_after": NOW + 48 * HOUR}, True),
        ({"not_before": NOW - 47 * HOUR, "not_after": NOW + 1}, True),
        ({"not_before": NOW - 47 * HOUR, "not_after": NOW}, False),
        ({"not_before": NOW, "not_after": NOW}, False),
    ],
)
def test_the_edges_of_a_keysets_life(tdx, fields, accepted):
    """Five minutes of clock skew, 48 hours of life, and the end is outside."""
    if accepted:
        assert attest(tdx, **fields).not_after <= fields["not_after"]
    else:
        assert isinstance(refusal(lambda: attest(tdx, **fields)), EvidenceRejected)
