"""What loaded policies accept: any of the entries, all of an entry, and types kept apart."""

from __future__ import annotations

import dataclasses
import json

import pytest

from blindai.attestation.policy import Policy
from blindai.attestation.verdict import Outcome, Verdict
from blindai.errors import EvidenceRejected, Reason
from blindai.tee.measurement import simulated_measurements
from blindai.testing import FakeTdx
from tests.attestation.judging import GOOD_CHANNEL, claims_of, judged
from tests.attestation.scene import NOW, Client, attest, policy_of, policy_text, refusal


def another_code():
    return simulated_measurements("ff" * 32)


def entry_of(measurements):
    return policy_text(measurements).partition("\n\n")[2]


def test_any_of_the_entries_is_enough(tdx):
    """An upgrade is two entries for a while: either code is accepted, in either order."""
    own, other = policy_text(tdx.measurements), policy_text(another_code())
    for first, second in ((own, other), (other, own)):
        policy = Policy.from_toml(first + second.replace("version = 1\n", ""))
        assert attest(tdx, Client(policy=policy)).verdict.accepted


def test_entries_do_not_add_up(tdx):
    """Half of one entry and half of another is neither."""
    own, other = tdx.measurements, another_code()
    mixed = dataclasses.replace(own, rtmr2=other.rtmr2), dataclasses.replace(other, rtmr2=own.rtmr2)
    text = policy_text(mixed[0]) + policy_text(dataclasses.replace(mixed[1], mrtd=bytes(48))).replace(
        "version = 1\n", ""
    )
    error = refusal(lambda: attest(tdx, Client(policy=Policy.from_toml(text))))
    assert error.reason == Reason.MEASUREMENT_MISMATCH


def test_an_entry_for_another_tee_is_not_asked(tdx):
    """A quote is judged by the entries for its own TEE, and the refusal names the TEEs that there are."""
    (own,) = policy_of(tdx).accept
    elsewhere = dataclasses.replace(own, tee="another")
    (other_code,) = Policy.from_toml(policy_text(another_code())).accept
    policy = dataclasses.replace(policy_of(tdx), accept=(elsewhere, other_code))
    assert refusal(lambda: attest(tdx, Client(policy=policy))).reason == Reason.MEASUREMENT_MISMATCH
    for accept, expected in (((elsewhere,), "another"), ((), "nothing")):
        policy = dataclasses.replace(policy_of(tdx), accept=accept)
        error = refusal(lambda policy=policy: attest(tdx, Client(policy=policy)))
        assert [(check.reason, check.expected) for check in error.verdict.failures] == [
            (Reason.TEE_NOT_ACCEPTED, expected)
        ]


@pytest.mark.parametrize(
    ("demanded", "stated", "accepted"),
    [
        ("true", True, True),
        ("true", 1, False),
        ("1", True, False),
        ("1", 1, True),
        ("0", False, False),
        ("false", False, True),
        ('"process"', "process", True),
        ('"process"', "Process", False),
        ('"1"', 1, False),
        ('"process"', ("process",), False),
        ('["process"]', "process", False),
        ('["file", "memory"]', ("file", "memory"), True),
        ('["file", "memory"]', ("memory", "file"), False),
        ('["file"]', ("file", "memory"), False),
        ("true", None, False),
        ('"none"', None, False),
    ],
)
def test_settings_are_compared_with_their_types(tdx, demanded, stated, accepted):
    """true is not 1, a word is not a list, an order is an order, and what is not stated is not satisfied."""
    client = Client(policy=policy_of(tdx, tables=f"[require]\nsandbox = {demanded}"))
    settings = {} if stated is None else {"sandbox": stated}
    if accepted:
        assert attest(tdx, client, settings=settings).verdict.accepted
    else:
        assert refusal(lambda: attest(tdx, client, settings=settings)).reason == Reason.SETTING_MISMATCH


@pytest.mark.parametrize(
    ("named", "dialled", "stated", "accepted"),
    [
        ([], "a.example", ["a.example"], True),
        ([], "a.example", ["b.example", "a.example"], True),
        ([], "a.example", ["b.example"], False),
        ([], "a.example", ["a.example."], False),
        ([], "a.example", ["xa.example"], False),
        (["b.example"], "a.example", ["b.example"], True),
        (["b.example"], "a.example", ["a.example"], False),
        (["b.example", "c.example"], "a.example", ["c.example"], True),
    ],
)
def test_names(tdx, named, dialled, stated, accepted):
    """The keyset must state the name that was dialled, or one of those that the policy gives instead."""
    policy = policy_of(tdx, top=f"names = {json.dumps(named)}" if named else "")
    client = Client(policy=policy, peer=dataclasses.replace(Client().peer, dialled=dialled))
    if accepted:
        assert attest(tdx, client, names=stated).verdict.accepted
    else:
        assert refusal(lambda: attest(tdx, client, names=stated)).reason == Reason.NAME_MISMATCH


@pytest.mark.parametrize(("seconds", "accepted"), [(-1, True), (0, False), (1, False)])
def test_a_policy_ends_at_its_expiry(tdx, seconds, accepted):
    """The moment it names is already too late."""
    policy = dataclasses.replace(policy_of(tdx), expires=NOW - seconds)
    if accepted:
        assert attest(tdx, Client(policy=policy)).verdict.accepted
    else:
        assert refusal(lambda: attest(tdx, Client(policy=policy))).reason == Reason.POLICY_EXPIRED


def test_no_measurement_demanded_is_for_simulations_only(tdx):
    """Without a policy a simulation is accepted and shown as unknown; anything else is refused."""
    policy = Policy.for_simulation()
    assert not policy.accept
    verdict = attest(tdx, Client(policy=policy)).verdict
    outcomes = {check.claim: check.outcome for check in verdict.checks}
    assert outcomes["mrtd"] is outcomes["rtmr2"] is Outcome.UNKNOWN
    assert outcomes["mrowner"] is Outcome.PASS  # zeros: nobody set it
    assert "rtmr3" not in outcomes  # zeros: nothing was measured into it
    real = dataclasses.replace(claims_of(tdx), simulated=False)
    assert Reason.MEASUREMENT_MISMATCH in judged(policy, real, simulated=False).reasons


@pytest.mark.parametrize(
    "knobs", [{"smt": True}, {"tcb_status": "OutOfDate"}, {"advisories": ("INTEL-SA-1",)}]
)
def test_a_simulation_without_a_policy_still_has_a_good_platform(knobs):
    """What is not demanded is the code, and nothing else."""
    error = refusal(lambda: attest(FakeTdx(now=NOW, **knobs), Client(policy=Policy.for_simulation())))
    assert isinstance(error, EvidenceRejected)


@pytest.mark.parametrize(
    ("start", "end", "failed"),
    [(0, 1, []), (0, 48 * 3600, []), (10, 10, ["keyset_life"]), (-10, 0, ["keyset_valid"])],
)
def test_each_edge_of_a_keysets_life_is_a_claim_of_its_own(tdx, start, end, failed):
    """A keyset that ends as it starts lives for no time; one that ends now has ended."""
    channel = dataclasses.replace(GOOD_CHANNEL, not_before=NOW + start, not_after=NOW + end)
    verdict = judged(policy_of(tdx), claims_of(tdx), channel)
    assert [check.claim for check in verdict.failures] == failed


def test_a_refusal_says_what_was_found_and_what_was_demanded(tdx):
    """The first mismatch in words, and how many more there are."""
    policy = policy_of(tdx, tables="[require]\nsandbox = true\nisolation = 'process'")
    error = refusal(lambda: attest(tdx, Client(policy=policy), settings={"isolation": "process"}))
    assert "settings.sandbox is not stated, expected true" in str(error)
    assert " more)" not in str(error)
    error = refusal(lambda: attest(tdx, Client(policy=policy), settings={"sandbox": False}))
    assert "settings.sandbox is false, expected true (and 1 more)" in str(error)


def test_the_anchor_is_shown_by_its_name(tdx):
    """The root that ended the chain says what this is."""
    for simulated, name in ((True, "simulation root"), (False, "vendor's root")):
        claims = dataclasses.replace(claims_of(tdx), simulated=simulated)
        anchor = judged(policy_of(tdx), claims, simulated=simulated).checks[0]
        assert anchor.outcome is Outcome.PASS
        assert anchor.found.startswith(name)


def test_an_empty_verdict_accepts_nothing():
    """Nothing checked is nothing shown."""
    assert not Verdict("tdx", simulated=False, at=0, policy_sha256="", checks=()).accepted


def test_a_verdict_as_json_and_as_text_tells_the_same(tdx):
    """Every claim is in both; the JSON has EAR's word for the outcome."""
    verdict = attest(tdx).verdict
    told = json.loads(json.dumps(verdict.to_json()))
    assert told["ear.status"] == "affirming"
    assert [claim["claim"] for claim in told["claims"]] == [check.claim for check in verdict.checks]
    assert all(check.claim in str(verdict) for check in verdict.checks)
