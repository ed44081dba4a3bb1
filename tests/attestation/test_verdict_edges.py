"""A verdict in words and in JSON, character for character: what people and programs read of a refusal."""

from __future__ import annotations

import pytest

from blindai.attestation.verdict import (
    Check,
    Outcome,
    Verdict,
    established,
    fewest_failures,
    judge,
    unknown,
)
from blindai.errors import Reason

PASSED = judge("mrtd", True, Reason.MEASUREMENT_MISMATCH, source="evidence", found="00", expected="00")
FAILED = judge(
    "tcb_status",
    False,
    Reason.TCB_OUT_OF_DATE,
    source="collateral",
    found="OutOfDate",
    expected="UpToDate",
    accepted_by='tcb_status = ["OutOfDate"]',
)
BARE = judge("debug", False, Reason.DEBUG_ENABLED, source="evidence", found="on")
UNKNOWN = unknown("operator", source="channel", found="nobody\x1b[2J")
SHOWN = established("chain", "to the root", source="evidence")


def verdict_of(*checks, simulated=False):
    return Verdict("tdx", simulated=simulated, at=7, policy_sha256="ab", checks=checks)


def test_what_failed_is_told_with_what_would_accept_it():
    """Each claim on its line; the last one ends the tree, and a line that accepts stands below its claim."""
    assert str(verdict_of(SHOWN, FAILED, PASSED, UNKNOWN, BARE)) == (
        "REFUSED: tdx\n"
        "├─ pass    chain: to the root\n"
        "├─ FAIL    tcb_status: OutOfDate, expected UpToDate [tcb-out-of-date]\n"
        '│          accepted by: tcb_status = ["OutOfDate"]\n'
        "├─ pass    mrtd: 00\n"
        "├─ unknown operator: nobody?[2J\n"
        "└─ FAIL    debug: on [debug-enabled]"
    )
    assert str(verdict_of(PASSED, FAILED)).splitlines()[2:] == [
        "└─ FAIL    tcb_status: OutOfDate, expected UpToDate [tcb-out-of-date]",
        '           accepted by: tcb_status = ["OutOfDate"]',
    ]


def test_what_was_accepted_is_told_as_such():
    """A simulation is called one in the first line, whatever follows."""
    assert str(verdict_of(PASSED)) == "accepted: tdx\n└─ pass    mrtd: 00"
    assert str(verdict_of(PASSED, simulated=True)).splitlines()[0] == (
        "accepted: SIMULATED tdx (no hardware protects this server)"
    )
    assert str(verdict_of()) == "REFUSED: tdx"


def test_the_json_of_a_verdict():
    """EAR's names where EAR has one; what a claim does not have is left out."""
    assert verdict_of(FAILED, UNKNOWN, BARE).to_json() == {
        "ear.status": "contraindicated",
        "ear.appraisal-policy-id": "sha256:ab",
        "iat": 7,
        "tee": "tdx",
        "simulated": False,
        "claims": [
            {
                "claim": "tcb_status",
                "outcome": "fail",
                "source": "collateral",
                "found": "OutOfDate",
                "expected": "UpToDate",
                "reason": "tcb-out-of-date",
                "accepted_by": 'tcb_status = ["OutOfDate"]',
            },
            {"claim": "operator", "outcome": "unknown", "source": "channel", "found": "nobody?[2J"},
            {
                "claim": "debug",
                "outcome": "fail",
                "source": "evidence",
                "found": "on",
                "reason": "debug-enabled",
            },
        ],
    }
    assert verdict_of(PASSED, UNKNOWN).to_json()["ear.status"] == "affirming"
    assert verdict_of().to_json()["ear.status"] == "contraindicated"


def test_only_what_failed_has_a_reason():
    """A passed claim keeps neither the reason that it could have failed for nor a line to accept it."""
    passed = judge("a", True, Reason.NAME_MISMATCH, source="keyset", found="b", expected="c", accepted_by="d")
    assert passed == Check("a", Outcome.PASS, "keyset", "b", "c")
    assert verdict_of(PASSED, FAILED, UNKNOWN).failures == (FAILED,)
    assert verdict_of(PASSED, FAILED, BARE).reasons == (Reason.TCB_OUT_OF_DATE, Reason.DEBUG_ENABLED)
    nameless = Check("a", Outcome.FAIL, "keyset")
    assert verdict_of(nameless, BARE).reasons == (Reason.DEBUG_ENABLED,)
    assert not verdict_of(PASSED, nameless).accepted


@pytest.mark.parametrize("checks", [(PASSED,), (UNKNOWN,), (PASSED, UNKNOWN, SHOWN)])
def test_what_nobody_demanded_refuses_nothing(checks):
    """Unknown is not failed."""
    assert verdict_of(*checks).accepted


def test_the_nearest_of_the_candidates_is_told():
    """The one with the fewest failures, however many claims it has; among equals the first."""
    near, far = (BARE, PASSED, PASSED, UNKNOWN), (FAILED, BARE)
    assert fewest_failures([far, near]) == fewest_failures([near, far]) == near
    assert fewest_failures([(FAILED,), (BARE,)]) == (FAILED,)
