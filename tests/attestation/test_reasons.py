"""Every way to refuse a server ends in the reason that names it."""

from __future__ import annotations

import pytest

from blindai.errors import EvidenceRejected, Reason
from blindai.testing import FakeTdx
from tests.attestation.lies import HOUR, ISOLATED, LIES, TRUTHS, told
from tests.attestation.scene import (
    FAKES,
    NOW,
    TLS,
    Client,
    attest,
    healthy,
    machine_of,
    policy_of,
    refusal,
)

TOLD_TRUE = [(tee, name) for tee, truths in TRUTHS.items() for name in truths]


@pytest.mark.parametrize("lie", LIES, ids=str)
def test_a_lie_is_refused_for_what_it_is(lie):
    """The reason is the one that names the lie, the class says whose fault it is, the verdict says why."""
    machine, client, lies = told(lie)
    error = refusal(lambda: attest(machine, client, **lies))
    assert (error.reason, type(error)) == (lie.reason, lie.kind)
    assert f"[{lie.reason}]" in str(error)
    assert error.verdict is not None
    assert not error.verdict.accepted
    assert set(error.verdict.reasons) == {lie.reason}  # one lie, one word
    assert str(lie.reason) in str(error.verdict)
    assert error.verdict.at == client.now
    assert all(check.claim and check.source and check.found for check in error.verdict.failures)
    assert error.verdict.to_json()["ear.status"] == "contraindicated"


def test_no_lie_has_the_name_of_another():
    """Tests name lies: each name is of one."""
    assert len({str(lie) for lie in LIES}) == len(LIES)


@pytest.mark.parametrize("tee", FAKES)
def test_the_truth_is_accepted(tee):
    """Without a lie the same machine, answer and client end in a proof."""
    attested = attest(healthy(tee))
    assert attested.verdict.accepted
    assert attested.verdict.simulated
    assert attested.verdict.tee == tee
    assert attested.tls_spki_sha256 == TLS.spki_sha256
    assert attested.not_after == NOW + HOUR


@pytest.mark.parametrize(("tee", "name"), TOLD_TRUE)
def test_what_resembles_a_lie_is_accepted(tee, name):
    """A machine or a policy of another kind, which is nothing wrong."""
    knobs, client = TRUTHS[tee][name]
    machine = machine_of(tee, **knobs)
    assert attest(machine, client(machine) if client else Client()).verdict.accepted


def test_all_mismatches_are_gathered():
    """A server that fails five demands is refused once, with all five."""
    tdx = FakeTdx(now=NOW, smt=True, tcb_status="OutOfDate", advisories=("INTEL-SA-00001",))
    client = Client(policy=policy_of(tdx, tables=ISOLATED))
    error = refusal(lambda: attest(tdx, client, names=("elsewhere.example",)))
    assert set(error.verdict.reasons) == {
        Reason.TCB_OUT_OF_DATE,
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
