"""What was verified once is remembered by every byte: another byte, root or time is judged anew."""

from __future__ import annotations

import dataclasses

import pytest

from blindai.attestation import vendors
from blindai.attestation.intel import requoted, vetted
from blindai.attestation.intel.memory import Memory
from blindai.attestation.intel.quote import parse_sgx
from blindai.attestation.trust import ProductionTrust, SimulationTrust
from blindai.attestation.types import Evidence
from blindai.errors import AttestationError, EvidenceMalformed, Reason
from blindai.testing import FakeSgx, FakeTdx
from tests.attestation.scene import NOW, assert_refused, refusal, with_intel

MACHINES = {
    "TDX v4": lambda **knobs: FakeTdx(now=NOW, **knobs),
    "TDX v5": lambda **knobs: FakeTdx(now=NOW, quote_version=5, body_type=3, **knobs),
    "SGX": lambda **knobs: FakeSgx(now=NOW, **knobs),
}
MEMBERS = sorted(vetted.intel_collateral.MEMBERS)
DAY = 24 * 3600


@pytest.fixture(scope="module", params=MACHINES)
def machine(request):
    return MACHINES[request.param]()


@pytest.fixture(autouse=True)
def nothing_met():
    """Each test begins as a process does, and leaves nothing to the next."""
    forget()
    yield
    forget()


def forget():
    vetted.forget()
    requoted.forget()


def verify(machine, *, value=None, data=bytes(64), collateral=None, trust=None, now=NOW):
    evidence = machine.evidence(data)
    if value is not None:
        evidence = Evidence(evidence.media_type, value)
    return vendors.verify(
        evidence,
        machine.collateral() if collateral is None else collateral,
        trust=trust or SimulationTrust([machine.root_sha256]),
        now=now,
    )


def outcome(judge):
    """Return how a verification ends: what it says, or why it refuses, in its own words."""
    try:
        return judge()
    except AttestationError as error:
        return error.reason, type(error), str(error)


def assert_the_same_as_a_stranger(machine, judge):
    """Assert that `judge` ends as it does in a process that met nothing, and that this is a refusal."""
    forget()
    cold = outcome(judge)
    forget()
    verify(machine)
    assert outcome(judge) == cold
    assert isinstance(cold, tuple)


def flipped(data, position):
    return data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]


def test_the_second_quote_says_what_it_says_itself(machine):
    """Report data are each quote's own, and what the first said does not change."""
    first = verify(machine, data=b"\1" * 64)
    second = verify(machine, data=b"\2" * 64)
    assert (first.report_data, second.report_data) == (b"\1" * 64, b"\2" * 64)
    assert dataclasses.replace(second, report_data=first.report_data) == first
    forget()
    assert verify(machine, data=b"\2" * 64) == second


def test_neither_parser_nor_library_is_asked_again(machine, monkeypatch):
    """Otherwise nothing below would show anything: here both are gone, and the second quote verifies."""
    verify(machine)
    monkeypatch.delattr(vetted.intel_collateral, "parse")
    monkeypatch.delattr(requoted.dcap, "verify")
    assert verify(machine, data=b"\3" * 64).report_data == b"\3" * 64


@pytest.mark.parametrize("member", MEMBERS)
def test_a_changed_character_of_collateral_is_verified_anew(machine, member):
    """In each member, near its start, in its middle and near its end."""
    text = machine.collateral()["intel"][member]
    for position in (40, len(text) // 2, len(text) - 40):
        other = "1" if text[position] == "0" else "0"
        changed = with_intel(machine, **{member: text[:position] + other + text[position + 1 :]})
        assert_the_same_as_a_stranger(machine, lambda changed=changed: verify(machine, collateral=changed))


@pytest.mark.parametrize("member", MEMBERS)
def test_a_missing_member_is_missed(machine, member):
    """Also of collateral that was whole a moment ago."""
    less = {"intel": {name: text for name, text in machine.collateral()["intel"].items() if name != member}}
    assert_the_same_as_a_stranger(machine, lambda: verify(machine, collateral=less))


@pytest.mark.parametrize("more", [{"unknown": "text"}, {"unknown": 1}, {"unknown": []}, {"tcb_info": {}}])
def test_another_member_is_not_looked_past(machine, more):
    """What is remembered is the whole of it: a member beside it, of any kind, is as malformed as before."""
    changed = with_intel(machine, **more)
    assert_the_same_as_a_stranger(machine, lambda: verify(machine, collateral=changed))


@pytest.mark.parametrize("nothing", [None, [], "text", {}])
def test_no_collateral_is_no_collateral(machine, nothing):
    """Nor is any other kind of value, whatever was stapled before."""
    assert_the_same_as_a_stranger(machine, lambda: verify(machine, collateral={"intel": nothing}))


def test_every_part_of_a_quote_is_verified_anew(machine):
    """One bit in every 16th byte: header, report, report data, signature, key, certification, chain."""
    quote = machine.evidence(bytes(64)).value
    verify(machine, value=quote)
    for position in range(0, len(quote), 16):
        value = flipped(quote, position)
        warm = outcome(lambda value=value: verify(machine, value=value))
        forget()
        assert outcome(lambda value=value: verify(machine, value=value)) == warm
        assert isinstance(warm, tuple), position
        verify(machine, value=quote)


def test_report_data_without_their_signature_are_refused(machine):
    """The one thing that may differ is what the signature is for: another quote's does not carry over."""
    one, other = (machine.evidence(data).value for data in (b"\1" * 64, b"\2" * 64))
    verify(machine, value=one)
    assert one.count(b"\1" * 64) == 1
    swapped = one.replace(b"\1" * 64, b"\2" * 64)
    assert swapped != other
    assert_refused(lambda: verify(machine, value=swapped), Reason.SIGNATURE_INVALID)


def test_trust_is_asked_every_time(machine):
    """Whoever does not trust the root is not told that somebody else did."""
    verify(machine)
    for trust in (ProductionTrust(), SimulationTrust(["00" * 32])):
        assert_refused(lambda trust=trust: verify(machine, trust=trust), Reason.ROOT_UNKNOWN)


def test_time_is_asked_every_time(machine):
    """Collateral that held a moment ago has ended, or not begun, at another time."""
    verify(machine)
    assert_refused(lambda: verify(machine, now=NOW + 31 * DAY), Reason.COLLATERAL_EXPIRED)
    early = refusal(lambda: verify(machine, now=NOW - 400 * DAY))
    assert early.reason in (Reason.COLLATERAL_NOT_YET_VALID, Reason.CERTIFICATE_NOT_YET_VALID)
    for now in (NOW + 31 * DAY, NOW - 400 * DAY):
        assert_the_same_as_a_stranger(machine, lambda now=now: verify(machine, now=now))


def test_collateral_of_another_tee_is_not_confused():
    """Met with an SGX quote, the same bytes are still the wrong ones for a quote of TDX."""
    machine = MACHINES["SGX"]()
    pem = parse_sgx(machine.evidence(bytes(64)).value).pck_chain_pem.removesuffix(b"\0")
    stapled, trust = machine.collateral()["intel"], SimulationTrust([machine.root_sha256])
    vetted.vet(stapled, pem, tee="sgx", trust=trust, now=NOW)
    assert_refused(
        lambda: vetted.vet(stapled, pem, tee="tdx", trust=trust, now=NOW), Reason.COLLATERAL_OTHER_TEE
    )


def test_what_does_not_hold_is_not_remembered():
    """A revoked platform is refused the second time as well, and the third."""
    machine = FakeTdx(now=NOW, pck_revoked=True)
    for _ in range(3):
        assert_refused(lambda: verify(machine), Reason.CERTIFICATE_REVOKED)


def test_debug_is_refused_of_a_platform_that_was_met(machine):
    """The bit is in the report: another report is another quote."""
    verify(machine)
    debugged = type(machine)(now=NOW, debug=True)
    for _ in range(2):
        assert_refused(
            lambda: verify(debugged, trust=SimulationTrust([debugged.root_sha256])), Reason.DEBUG_ENABLED
        )


def test_other_code_on_the_same_platform_is_another_quote():
    """By the same attestation key, too: measurements are not remembered from the quote before."""
    machine = FakeTdx(now=NOW)
    for register in ("mrtd", "rtmr0", "rtmr3"):
        before = verify(machine)
        machine.measurements = dataclasses.replace(machine.measurements, **{register: b"\7" * 48})
        after = verify(machine)
        assert dataclasses.replace(before, **{register: b"\7" * 48}) == after


def test_a_key_that_is_no_text_is_malformed(machine):
    """Members are named by text; JSON has no others, and nothing here relies on that."""
    stapled = {"intel": {**machine.collateral()["intel"], 1: "text"}}
    assert_refused(
        lambda: verify(machine, collateral=stapled), Reason.COLLATERAL_MALFORMED, EvidenceMalformed
    )


def test_memory_is_bounded():
    """The oldest goes first, and one that is kept again is the newest."""
    memory: Memory[int, str] = Memory(2)
    for number in (1, 2, 1, 3):
        memory.keep(number, str(number))
    assert [memory.get(number) for number in (1, 2, 3)] == ["1", None, "3"]
    memory.forget()
    assert memory.get(3) is None
