"""The boot log of a trust domain: what it lists counts only if it replays to what the hardware signed."""

from __future__ import annotations

import contextlib
import hashlib
import time

import pytest

from blindai.attestation.intel import event_log
from blindai.errors import EvidenceForged, EvidenceMalformed, Reason
from blindai.tee.measurement import simulated_measurements
from blindai.testing import Event, EventLog, FakeTdx
from blindai.testing.event_log import EV_NO_ACTION, SHA256, SHA384
from tests.attestation.judging import claims_of, failed, with_lines, without
from tests.attestation.scene import NOW, assert_refused, attest, policy_text, refusal

LOG = (
    EventLog().add(0, b"table").add(1, b"kernel").add(1, b"command line").add(2, b"initrd").add(1, b"kernel")
)
REMARK = Event(0, EV_NO_ACTION, ((SHA384, bytes(48)),), b"")
KERNEL, COMMAND_LINE = (hashlib.sha384(data).digest() for data in (b"kernel", b"command line"))
LARGEST = 256 * 1024


def signed_by(log: EventLog) -> dict[str, bytes]:
    return {f"rtmr{number}": log.rtmr(number) for number in range(4)}


def booted(log: EventLog, stapled: bytes | None = None) -> FakeTdx:
    """Return a machine that booted as this log says, and staples it, or something else."""
    measurements = log.measured(simulated_measurements("00" * 32))
    return FakeTdx(now=NOW, measurements=measurements, event_log=log.encode() if stapled is None else stapled)


def assert_malformed(raw):
    assert_refused(lambda: event_log.parse(raw), Reason.EVENT_LOG_MALFORMED, EvidenceMalformed)


def test_a_log_replays_to_the_registers_of_its_boot():
    """Register by register, in order, repetitions included; a register without events is zero."""
    events = event_log.parse(LOG.encode())
    assert [event.register for event in events] == ["rtmr0", "rtmr1", "rtmr1", "rtmr2", "rtmr1"]
    assert event_log.replay(events) == signed_by(LOG)
    assert event_log.replay(()) == dict.fromkeys(event_log.REGISTERS, bytes(48))
    assert event_log.measured(LOG.encode(), signed_by(LOG))["rtmr1"] == {KERNEL, COMMAND_LINE}


@pytest.mark.parametrize("number", range(4))
def test_a_register_that_differs_is_named(number):
    """One event more in any register tells of another boot."""
    signed = signed_by(LOG) | {f"rtmr{number}": hashlib.sha384(LOG.rtmr(number)).digest()}
    error = refusal(lambda: event_log.measured(LOG.encode(), signed))
    assert (error.reason, type(error)) == (Reason.EVENT_LOG_MISMATCH, EvidenceForged)
    assert f"signed rtmr{number}:" in str(error)


def test_an_event_in_the_wrong_register_is_another_boot():
    """The same digests, one of them measured elsewhere; and the same ones in another order."""
    moved = EventLog().add(1, b"kernel").add(2, b"command line")
    turned = EventLog().add(1, b"command line").add(1, b"kernel")
    right = EventLog().add(1, b"kernel").add(1, b"command line")
    for log in (moved, turned):
        machine = booted(right, log.encode())
        assert refusal(lambda machine=machine: attest(machine)).reason == Reason.EVENT_LOG_MISMATCH


def test_a_log_that_breaks_off_is_malformed_or_another_boot():
    """At every byte: between two events it is a shorter log, which does not replay."""
    raw, signed = LOG.encode(), signed_by(LOG)
    whole = {len(EventLog().encode())}
    for count in range(1, len(LOG.events)):
        shorter = EventLog()
        shorter.events = LOG.events[:count]
        whole.add(len(shorter.encode()))
    for length in range(len(raw)):
        error = refusal(lambda length=length: event_log.measured(raw[:length], signed))
        expected = Reason.EVENT_LOG_MISMATCH if length in whole else Reason.EVENT_LOG_MALFORMED
        assert error.reason == expected, length


@pytest.mark.parametrize("filler", [b"\xff", b"\0"], ids=["ones", "zeros"])
@pytest.mark.parametrize("count", [4, 5, 4096])
def test_the_unused_rest_of_the_area_is_no_event(filler, count):
    """Firmware fills it with ones, some with zeros; anything else there is neither padding nor an event."""
    raw = LOG.encode() + filler * count
    assert event_log.parse(raw) == event_log.parse(LOG.encode())
    for strange in (
        raw + b"\1",
        raw + b"\xff\0",
        LOG.encode() + filler * count + bytes([0xFF - filler[0]]) * 9,
    ):
        assert_malformed(strange)


def test_no_log_is_malformed():
    """Nothing, and padding alone, do not even say which digests they would hold."""
    for raw in (b"", bytes(64), b"\xff" * 64):
        assert_malformed(raw)


@pytest.mark.parametrize(
    "algorithms",
    [(), ((SHA256, 32),), ((SHA384, 48), (SHA256, 32)), ((SHA384, 32),), ((SHA384, 48), (SHA384, 48))],
    ids=str,
)
def test_only_sha384_is_declared(algorithms):
    """Registers are extended with nothing else: another digest would be one that no register vouches for."""
    assert_malformed(EventLog(algorithms).encode())


@pytest.mark.parametrize(
    "digests",
    [
        (),
        ((SHA256, bytes(32)),),
        ((SHA384, bytes(48)), (SHA384, bytes(48))),
        ((SHA384, bytes(48)), (SHA256, bytes(32))),
    ],
    ids=["none", "SHA-256", "two", "SHA-256 beside it"],
)
def test_every_event_has_one_digest_of_sha384(digests):
    """Whatever the first event declared."""
    assert_malformed(EventLog().append(Event(2, 13, digests, b"data")).encode())


@pytest.mark.parametrize("register", [0, 5, 2**31, 2**32 - 1])
def test_an_event_belongs_to_a_register(register):
    """Index 0 would be the firmware's own measurement, which nothing extends."""
    assert_malformed(EventLog().append(Event(register, 13, ((SHA384, bytes(48)),), b"")).encode())


@pytest.mark.parametrize("register", [0, 1, 4, 9])
def test_a_remark_extends_nothing(register):
    """Whatever register it names."""
    remark = Event(register, EV_NO_ACTION, ((SHA384, b"x" * 48),), b"a remark")
    log = EventLog().append(remark).add(1, b"kernel").append(remark)
    assert event_log.measured(log.encode(), signed_by(log))["rtmr1"] == {KERNEL}


@pytest.mark.parametrize(
    ("at", "value"), [(4, 13), (32, ord("s")), (28, 1), (28, 2**32 - 1), (56, 2**32 - 1), (56, 0)]
)
def test_the_first_event_is_the_specification(at, value):
    """Its type, its signature, its size, its count of algorithms."""
    raw = bytearray(LOG.encode())
    size = 1 if at == 32 else 4
    assert raw[at : at + size] != value.to_bytes(size, "little")
    raw[at : at + size] = value.to_bytes(size, "little")
    assert_malformed(bytes(raw))


def test_a_log_has_so_many_events_at_most():
    """The last one that is read, and the first that is not."""
    log = EventLog()
    log.events = [Event(2, 13, ((SHA384, bytes(48)),), b"")] * event_log.MAX_EVENTS
    assert len(event_log.parse(log.encode())) == event_log.MAX_EVENTS
    assert_malformed(log.add(1, b"").encode())


def hostile(tail: bytes) -> bytes:
    """Return a log as long as all collateral may be: remarks, and behind them what looks like padding."""
    head = EventLog().encode() + REMARK.encode() * (LARGEST // 2 // len(REMARK.encode()))
    return head + (tail * LARGEST)[: LARGEST - len(head)]


@pytest.mark.parametrize("tail", [b"\0", b"\xff", REMARK.encode()], ids=["zeros", "ones", "remarks"])
def test_the_work_on_a_hostile_log_is_bounded(tail):
    """Remarks count for nothing, and where padding begins is found once, not at every event."""
    raw = hostile(tail)
    start = time.process_time()
    with contextlib.suppress(EvidenceMalformed):
        event_log.parse(raw)
    assert time.process_time() - start < 0.5


# What a policy says of it.


def entry(log: EventLog, *events: bytes) -> str:
    """Return an entry that lists the digests of RTMR1 instead of its value."""
    measurements = log.measured(simulated_measurements("00" * 32))
    own = without(policy_text(measurements).partition("\n\n")[2], "rtmr1")
    return with_lines(own, f"rtmr1_events = [{', '.join(repr(digest.hex()) for digest in events)}]")


def test_the_exact_set_is_accepted_in_any_order():
    """Order and repetitions do not matter: that is what the list is for."""
    for digests in ((KERNEL, COMMAND_LINE), (COMMAND_LINE, KERNEL, KERNEL)):
        assert failed(entry(LOG, *digests), booted(LOG)) == []


@pytest.mark.parametrize(
    ("digests", "words"),
    [
        ((KERNEL,), f"1 ({COMMAND_LINE.hex()}) not in the policy, 0 not measured"),
        ((KERNEL, COMMAND_LINE, bytes(48)), f"0 not in the policy, 1 ({bytes(48).hex()}) not measured"),
        ((KERNEL, bytes(48)), f"1 ({COMMAND_LINE.hex()}) not in the policy, 1 ({bytes(48).hex()}) not"),
    ],
    ids=["strange", "absent", "both"],
)
def test_a_strange_or_an_absent_digest_is_named(digests, words):
    """Something ran that nobody named, or something did not run that must have."""
    (check,) = failed(entry(LOG, *digests), booted(LOG))
    assert (check.claim, check.reason) == ("rtmr1_events", Reason.EVENT_MISMATCH)
    assert words in check.found


def test_without_a_log_a_list_of_events_accepts_nothing():
    """The register alone does not say what went into it."""
    machine = FakeTdx(now=NOW, measurements=LOG.measured(simulated_measurements("00" * 32)))
    (check,) = failed(entry(LOG, KERNEL, COMMAND_LINE), machine)
    assert check.reason == Reason.EVENT_LOG_MISSING
    assert claims_of(machine).events is None


def test_an_empty_register_is_not_a_list():
    """A list of another register's events is judged by that register."""
    lines = with_lines(entry(LOG, KERNEL, COMMAND_LINE), f'rtmr2_events = ["{KERNEL.hex()}"]')
    assert [check.claim for check in failed(lines, booted(LOG))] == ["rtmr2_events"]
