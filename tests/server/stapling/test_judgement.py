"""What a server makes of each refusal of its own verifier."""

from __future__ import annotations

import time

import pytest

from blindai.attestation.trust import ProductionTrust, SimulationTrust
from blindai.attestation.types import Evidence
from blindai.errors import Reason
from blindai.server.evidence.stapling.judgement import judged
from blindai.tee.simulated import Window
from blindai.testing import FakeSnp, FakeTdx
from blindai.transport.collateral.adoption import Standing

DAY = 24 * 3600


def judge(machine, *, changes=None, trust=None, sample=None):
    collateral = machine.collateral()
    ((vendor, members),) = collateral.items()
    return judged(
        sample or machine.evidence(bytes(64)),
        {vendor: {**members, **(changes or {})}},
        trust=trust or SimulationTrust([machine.root_sha256]),
        now=int(time.time()),
    )


@pytest.mark.parametrize(
    ("machine", "standing", "why"),
    [
        (FakeTdx, "verified", ""),
        (FakeSnp, "verified", ""),
        (lambda: FakeTdx(tcb_status="OutOfDate"), "verified", ""),
        (lambda: FakeTdx(tcb_status="Revoked"), "refused", Reason.TCB_REVOKED),
        (lambda: FakeTdx(tcb_status=None), "refused", Reason.TCB_UNKNOWN),
        (lambda: FakeTdx(pck_revoked=True), "refused", Reason.CERTIFICATE_REVOKED),
        (lambda: FakeTdx(tcb_signer_revoked=True), "undecided", Reason.ISSUER_REVOKED),
        (lambda: FakeTdx(debug=True), "undecided", ""),
        (lambda: FakeTdx(tcb_info=Window(-60 * DAY, -DAY)), "undecided", Reason.COLLATERAL_EXPIRED),
        (lambda: FakeTdx(tcb_info=Window(DAY, 9 * DAY)), "undecided", Reason.COLLATERAL_NOT_YET_VALID),
        (lambda: FakeSnp(crl=Window(-9 * DAY, -DAY)), "undecided", Reason.CRL_EXPIRED),
        (lambda: FakeSnp(crl_by_stranger=True), "forged", Reason.CRL_FORGED),
    ],
)  # fmt: skip
def test_each_kind_of_refusal(machine, standing, why):
    """Signed bad news is the truth, a date may be our clock's, and what nobody signed is nothing."""
    found = judge(machine())
    assert (found.standing, str(why) in found.why) == (Standing(standing), True)
    assert bool(found.why) is bool(why)


def test_evidence_that_this_version_does_not_read_says_nothing():
    """Of the collateral, at least: it is stapled, and clients may know better."""
    found = judge(FakeTdx(), sample=Evidence("application/of-tomorrow", b"?"))
    assert found.standing is Standing.UNDECIDED


def test_the_root_counts():
    """A simulation's collateral is not genuine on a real machine."""
    assert judge(FakeTdx(), trust=ProductionTrust()).standing is Standing.FORGED


def test_a_member_that_lacks_or_was_changed():
    """Malformed, or signed by nobody."""
    for changes in ({"tcb_info": "{}"}, {"pck_crl": "00"}, {"tcb_info_signature": "00" * 64}):
        assert judge(FakeTdx(), changes=changes).standing is Standing.FORGED
