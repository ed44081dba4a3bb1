"""Every claim of a verdict is explained: what was checked, what that does not prove, what accepts it."""

from __future__ import annotations

import dataclasses

import pytest

from blindai.attestation import explanations
from blindai.attestation.explanations import explain, meaning
from blindai.attestation.policy import Policy
from blindai.attestation.types import Floor
from blindai.attestation.verdict import Outcome
from blindai.errors import Reason
from blindai.tee.measurement import simulated_measurements
from blindai.testing import EventLog, FakeNitro, FakeSgx, FakeSnp, FakeTdx
from tests.attestation.judging import (
    GOOD_CHANNEL,
    OPERATOR,
    claims_of,
    entry_of,
    failed,
    judged,
    policy_of_entry,
    with_lines,
    without,
)
from tests.attestation.scene import NOW

# `cryptography` mentions the serial number 0 of every VCEK; the package's own filter is not pytest's.
pytestmark = pytest.mark.filterwarnings("ignore:Parsed a serial number")

LOG = EventLog().add(1, b"kernel").add(2, b"initrd")
BOOTED = FakeTdx(
    now=NOW, measurements=LOG.measured(simulated_measurements("00" * 32)), event_log=LOG.encode()
)
MACHINES = {"tdx": BOOTED, "sgx": FakeSgx(now=NOW), "sev-snp": FakeSnp(now=NOW), "nitro": FakeNitro(now=NOW)}
# What each TEE's entry can demand beside what a strict one does.
MORE = {
    "tdx": [f'{name} = "{"00" * 48}"' for name in ("rtmr0", "rtmr3", "mrseam")]
    + [f'{name}_events = ["{"00" * 48}"]' for name in ("rtmr0", "rtmr1", "rtmr2", "rtmr3")],
    "sgx": [f'mr_signer = "{"00" * 32}"', "isv_prod_id = 9", "min_isv_svn = 9"],
    "sev-snp": [f'{name} = "{"11" * 48}"' for name in ("id_key_digest", "author_key_digest")]
    + ["min_guest_svn = 9", 'require_guest_policy = ["cxl_allow"]', 'require_platform_info = ["tsme"]',
       "require_mitigations = [3]"],
    "nitro": [f'pcr{index} = "{"11" * 48}"' for index in range(32)],
}  # fmt: skip
TABLES = (
    f'[operator]\nspki_sha256 = ["{OPERATOR}"]\n[require]\nisolation = "process"\nsandbox = true\n'
    'model_upload = true\nsealing = ["file"]\ntelemetry = "none"\n'
)
TOP = "version = 1\nexpires = 2027-03-01\n"


def verdicts(tee):
    """Return all that can be said of this machine: accepted, refused, for another TEE, without a policy."""
    machine = MACHINES[tee]
    claims = claims_of(machine)
    strict = entry_of(machine)
    everything = Policy.from_toml(TOP + with_lines(strict, *MORE[tee]) + TABLES)
    other = policy_of_entry(entry_of(MACHINES["nitro" if tee != "nitro" else "sgx"]))
    yield judged(TOP + strict, claims)
    yield judged(everything, claims)
    yield judged(everything, claims, dataclasses.replace(GOOD_CHANNEL, names=("other.example",), settings={}))
    yield judged(other, claims)
    yield judged(Policy.for_simulation(), claims)
    yield judged(Policy.for_simulation(), dataclasses.replace(claims, simulated=False), simulated=False)
    yield judged(everything, claims, floor=Floor(99, 99, 99, NOW, NOW))
    if tee == "sev-snp":
        rest = without(strict, "min_tcb", "product")
        yield judged(policy_of_entry(with_lines(rest, "allow_any_tcb = true")), claims)
        bare = FakeSnp(now=NOW, crl=None)
        yield judged(policy_of_entry(strict), claims_of(bare))
        yield judged(policy_of_entry(with_lines(strict, "require_crl = false")), claims_of(bare))


@pytest.mark.parametrize("tee", MACHINES)
def test_every_claim_has_a_meaning_of_its_own(tee):
    """The general words are for nothing that this version can say."""
    checks = [check for verdict in verdicts(tee) for check in verdict.checks]
    assert {check.outcome for check in checks} == set(Outcome)
    general = {check.claim for check in checks if meaning(check.claim) == explanations._OTHER}
    assert general == set()


@pytest.mark.parametrize("tee", MACHINES)
def test_no_claim_is_told_twice(tee):
    """Two lines for one claim could contradict each other."""
    for verdict in verdicts(tee):
        claims = [check.claim for check in verdict.checks]
        assert len(claims) == len(set(claims))


def test_what_is_refused_is_not_unknown_as_well():
    """Without a policy the code is unknown; what the host chose is refused nevertheless, and once."""
    configured = claims_of(FakeTdx(now=NOW, mr_config_id=b"c" * 48))
    checks = judged(Policy.for_simulation(), configured).checks
    assert [check.outcome for check in checks if check.claim == "mrconfigid"] == [Outcome.FAIL]


def test_a_claim_that_nobody_knows_still_has_words():
    """An explanation never fails for want of one."""
    assert meaning("something-new").checked


@pytest.mark.parametrize("claim", ["mrconfigid", "mrowner", "mrownerconfig", "config_id", "host_data"])
def test_what_the_host_chose_is_not_called_code(claim):
    """Whoever launches the guest sets it: a match says nothing about which code it is."""
    assert meaning(claim) != meaning("mrtd")


@pytest.mark.parametrize("claim", ["mr_signer", "rtmr1_events", "id_key_digest"])
def test_what_is_no_measurement_of_the_code_is_not_called_one(claim):
    """A signer may sign other code, and a list of events says nothing of their order."""
    assert meaning(claim) != meaning("mrtd")


def test_an_explanation_tells_everything_about_each_claim():
    """What was checked, found and expected, what is not proven, and what would accept it."""
    for tee in MACHINES:
        for verdict in verdicts(tee):
            parts = explain(verdict).split("\n\n")
            assert parts[0] == str(verdict).splitlines()[0]
            assert len(parts) == len(verdict.checks) + 1
            for check, part in zip(verdict.checks, parts[1:], strict=True):
                assert part.startswith(f"{check.claim}: {check.outcome}\n")
                assert f"checked:     {meaning(check.claim).checked}" in part
                assert f"found:       {check.found} (in: {check.source})" in part
                assert f"not proven:  {meaning(check.claim).not_proven}" in part
                assert ("expected:" in part) == bool(check.expected)
                assert check.expected in part
                refused = check.outcome is Outcome.FAIL
                assert (f"reason code: {check.reason}" in part) == refused
                assert ("no line of a policy accepts it" in part) == (refused and not check.accepted_by)
                assert check.accepted_by in part


def test_the_line_that_is_shown_accepts():
    """Pasted into the policy, the refused machine is accepted."""
    machine = FakeSgx(now=NOW, tcb_status="SWHardeningNeeded", smt=True)
    entry = entry_of(MACHINES["sgx"])
    verdict = judged(policy_of_entry(entry), claims_of(machine))
    mark = "this line in the policy would accept it: "
    lines = [line.partition(mark)[2] for line in explain(verdict).splitlines() if mark in line]
    assert lines == ['tcb_status = ["SWHardeningNeeded", "UpToDate"]', "allow_smt = true"]
    assert failed(with_lines(entry, *lines), machine) == []
    assert Reason.TCB_HARDENING_NEEDED in verdict.reasons


@pytest.mark.parametrize(
    ("shown", "line"),
    [
        (
            "ef" * 32,
            (
                f'under [operator]: spki_sha256 = ["{"ef" * 32}"], '
                "only if you know that this key is your operator's"
            ),
        ),
        (None, "no [operator] table: then any operator will do"),
    ],
)
def test_another_operator_is_accepted_by_a_line_too(shown, line):
    """With the condition under which anybody should write it."""
    claims, entry = claims_of(MACHINES["sgx"]), entry_of(MACHINES["sgx"])
    channel = dataclasses.replace(GOOD_CHANNEL, operator_spki_sha256=shown)
    pinned = f'[operator]\nspki_sha256 = ["{OPERATOR}"]\n'
    verdict = judged(TOP + entry + pinned, claims, channel)
    assert f"this line in the policy would accept it: {line}" in explain(verdict)
    text, _, _ = line.partition(", only")
    table = text.replace("under [operator]: ", "[operator]\n") if shown else ""
    assert judged(TOP + entry + table, claims, channel).accepted
