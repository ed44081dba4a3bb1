"""The edges of the appraisal: clocks that differ, older lists of revocations, what a refusal says."""

from __future__ import annotations

import dataclasses

import pytest

from blindai.attestation.policy import Policy
from blindai.attestation.types import Floor
from blindai.attestation.verdict import Outcome
from blindai.errors import Reason
from tests.attestation.judging import GOOD_CHANNEL, OPERATOR, claims_of, judged
from tests.attestation.scene import NOW, policy_of

FIVE_MINUTES = 300
SEVEN_DAYS = 604_800


def check_of(verdict, claim):
    """Return the one check of this claim."""
    (check,) = (check for check in verdict.checks if check.claim == claim)
    return check


@pytest.mark.parametrize(("ahead", "failures"), [(FIVE_MINUTES, []), (FIVE_MINUTES + 1, ["keyset_started"])])
def test_a_servers_clock_may_be_five_minutes_ahead(tdx, ahead, failures):
    """A keyset that starts later than that has not started."""
    channel = dataclasses.replace(GOOD_CHANNEL, not_before=NOW + ahead)
    verdict = judged(policy_of(tdx), claims_of(tdx), channel)
    assert [check.claim for check in verdict.failures] == failures


@pytest.mark.parametrize("piece", ["leaf_crl_date", "root_crl_date"])
def test_a_list_of_revocations_may_be_seven_days_older_than_seen_before(tdx, piece):
    """Replicas refresh at different times; one second more is a roll-back."""
    claims = claims_of(tdx)
    date = getattr(claims.freshness, piece)
    for seen, failures in ((date + SEVEN_DAYS, []), (date + SEVEN_DAYS + 1, [f"{piece}_floor"])):
        verdict = judged(policy_of(tdx), claims, floor=Floor(**{piece: seen}))
        assert [check.claim for check in verdict.failures] == failures


def test_what_nobody_has_seen_before_is_not_compared(tdx):
    """The first verdict about a platform does not say that a roll-back was looked for."""
    claims = claims_of(tdx)
    first = {check.claim for check in judged(policy_of(tdx), claims).checks}
    later = {check.claim for check in judged(policy_of(tdx), claims, floor=Floor(tcb_evaluation=1)).checks}
    assert later - first == {
        "tcb_evaluation_floor", "leaf_crl_floor", "root_crl_floor", "leaf_crl_date_floor",
        "root_crl_date_floor",
    }  # fmt: skip


def test_a_measurement_with_a_zero_byte_is_shown(tdx):
    """Only one that is all zeros says nothing; any other is told where no policy names the code."""
    claims = dataclasses.replace(claims_of(tdx), mrtd=bytes(47) + b"\x01", rtmr1=bytes(48))
    verdict = judged(Policy.for_simulation(), claims)
    assert check_of(verdict, "mrtd").outcome is Outcome.UNKNOWN
    assert "rtmr1" not in {check.claim for check in verdict.checks}


def test_a_claim_that_is_judged_without_a_policy_is_not_unknown_as_well(tdx):
    """What the host chose is refused, and told once."""
    claims = dataclasses.replace(claims_of(tdx), mrconfigid=b"\x01" * 48)
    assert check_of(judged(Policy.for_simulation(), claims), "mrconfigid").outcome is Outcome.FAIL


@pytest.mark.parametrize(
    ("shown", "pinned", "outcome", "reason"),
    [
        (OPERATOR, OPERATOR, Outcome.PASS, None),
        ("ef" * 32, OPERATOR, Outcome.FAIL, Reason.OPERATOR_MISMATCH),
        (None, OPERATOR, Outcome.FAIL, Reason.OPERATOR_UNKNOWN),
        (OPERATOR, None, Outcome.UNKNOWN, None),
        (None, None, Outcome.UNKNOWN, None),
    ],
)
def test_the_operator_that_is_shown_and_the_one_that_is_pinned(tdx, shown, pinned, outcome, reason):
    """One that nobody pinned is unknown; one that somebody pinned must be shown."""
    policy = policy_of(tdx, tables=f'[operator]\nspki_sha256 = ["{pinned}"]' if pinned else "")
    channel = dataclasses.replace(GOOD_CHANNEL, operator_spki_sha256=shown)
    check = check_of(judged(policy, claims_of(tdx), channel), "operator")
    assert (check.outcome, check.reason) == (outcome, reason)
    assert check.found == (shown or ("unknown" if pinned else "unknown (no certificate of theirs is pinned)"))
    assert check.expected == (pinned or "")


@pytest.mark.parametrize(
    ("stated", "wanted", "found", "expected"),
    [
        (("file", "Memory"), '["file"]', "[file, Memory]", "[file]"),
        ("Process", '"process"', "Process", "process"),
        (True, "false", "true", "false"),
        (3, "4", "3", "4"),
    ],
)
def test_a_setting_is_shown_as_a_policy_would_write_it(tdx, stated, wanted, found, expected):
    """Lists in brackets, true and false in lower case, words as they are."""
    policy = policy_of(tdx, tables=f"[require]\nsandbox = {wanted}")
    channel = dataclasses.replace(GOOD_CHANNEL, settings={"sandbox": stated})
    check = check_of(judged(policy, claims_of(tdx), channel), "settings.sandbox")
    assert (check.found, check.expected) == (found, expected)
