"""The event log against a reader of its own, written from the format and not from the builder."""

from __future__ import annotations

import hashlib
import json
import struct

import dcap_qvl
import pytest

from blindai.testing import Event, EventLog, FakeTdx
from blindai.testing.event_log import EV_NO_ACTION, SHA256, SHA384
from blindai.wire import base64url

NOW = 1_790_000_000


def sha384(data):
    return hashlib.sha384(data).digest()


def take(data, form):
    size = struct.calcsize(form)
    return struct.unpack(form, data[:size]), data[size:]


def read(data):
    """Return the declared (algorithm, size) pairs, the events as tuples, and what follows them."""
    (register, kind, digest, size), data = take(data, "<II20sI")
    assert (register, kind, digest) == (0, 3, bytes(20))
    spec, data = data[:size], data[size:]
    (signature, *versions, count), spec = take(spec, "<16sIBBBBI")
    assert (signature, versions) == (b"Spec ID Event03\0", [0, 0, 2, 0, 2])
    declared = [struct.unpack_from("<HH", spec, 4 * number) for number in range(count)]
    assert spec[4 * count :] == b"\0"
    sizes, events = dict(declared), []
    while data and data[:4] != b"\xff" * 4:
        (register, kind, count), data = take(data, "<III")
        digests = []
        for _ in range(count):
            (algorithm,), data = take(data, "<H")
            digests.append((algorithm, data[: sizes[algorithm]]))
            data = data[sizes[algorithm] :]
        (size,), data = take(data, "<I")
        events.append((register, kind, digests, data[:size]))
        data = data[size:]
    return declared, events, data


def test_an_empty_log_is_its_first_event():
    """A log without events declares SHA-384 and replays to registers that nothing extended."""
    log = EventLog()
    assert read(log.encode()) == ([(SHA384, 48)], [], b"")
    assert len(log.encode()) == 32 + 33
    assert [log.rtmr(number) for number in range(4)] == [bytes(48)] * 4


def test_an_event_is_written_under_its_register_plus_one():
    """RTMRn is register n + 1; the digest is that of the data unless another one is given."""
    log = EventLog().add(1, b"kernel").add(0, b"variable", event_type=0x80000001, digest=b"\1" * 48)
    assert read(log.encode())[1] == [
        (2, 0x0D, [(SHA384, sha384(b"kernel"))], b"kernel"),
        (1, 0x80000001, [(SHA384, b"\1" * 48)], b"variable"),
    ]


def test_the_unused_rest_is_filled_with_ones():
    """Padding follows the last event and changes nothing before it."""
    log = EventLog().add(2, b"x")
    assert read(log.encode(padding=100))[2] == b"\xff" * 100
    assert log.encode(padding=100)[:-100] == log.encode()


def test_a_register_is_the_chain_of_its_events():
    """Each event extends its own register, in order, from 48 zero bytes."""
    log = EventLog().add(1, b"kernel").add(2, b"initrd").add(1, b"command line")
    first = sha384(bytes(48) + sha384(b"kernel"))
    assert log.rtmr(1) == sha384(first + sha384(b"command line"))
    assert log.rtmr(2) == sha384(bytes(48) + sha384(b"initrd"))
    assert log.rtmr(0) == log.rtmr(3) == bytes(48)


def test_no_action_extends_nothing():
    """EV_NO_ACTION informs; it is in the log and not in the register."""
    log = EventLog().add(0, b"locality", event_type=EV_NO_ACTION)
    assert len(read(log.encode())[1]) == 1
    assert log.rtmr(0) == bytes(48)


def test_a_log_can_hold_what_no_boot_writes():
    """`append` takes MRTD's register, other algorithms and any digest; RTMRs take SHA-384's only."""
    log = EventLog([(SHA256, 32), (SHA384, 48)])
    log.append(Event(0, 1, ((SHA384, b"\1" * 48),), b"an event of MRTD"))
    log.append(Event(4, 1, ((SHA256, b"\2" * 32), (SHA384, b"\3" * 48)), b"two digests"))
    declared, events, _ = read(log.encode())
    assert declared == [(SHA256, 32), (SHA384, 48)]
    assert events[0][0] == 0
    assert events[1][2] == [(SHA256, b"\2" * 32), (SHA384, b"\3" * 48)]
    assert log.rtmr(3) == sha384(bytes(48) + b"\3" * 48)
    assert [log.rtmr(number) for number in range(3)] == [bytes(48)] * 3


@pytest.mark.parametrize("number", [-1, 4])
def test_there_are_four_rtmrs(number):
    """A register that a TDX machine does not have is an error of the caller."""
    with pytest.raises(ValueError, match="0 to 3"):
        EventLog().add(number, b"")


def test_a_machine_has_the_measurements_of_its_log():
    """`measured` replaces the RTMRs and keeps MRTD; the library finds them in the quote."""
    log = EventLog().add(0, b"variables").add(1, b"kernel").add(2, b"initrd")
    plain = FakeTdx(now=NOW).measurements
    tdx = FakeTdx(now=NOW, measurements=log.measured(plain), event_log=log.encode())
    claims = dcap_qvl.QuoteVerifier(tdx.root_der).verify_with_policy(
        tdx.evidence(bytes(64)).value,
        dcap_qvl.QuoteCollateralV3.from_json(json.dumps(tdx.collateral()["intel"])),
        NOW,
        dcap_qvl.QuotePolicy.strict(NOW),
    )
    report = json.loads(claims.to_json())["report"]["TD10"]
    assert bytes.fromhex(report["mr_td"]) == plain.mrtd
    assert [bytes.fromhex(report[f"rt_mr{number}"]) for number in range(4)] == [
        log.rtmr(number) for number in range(4)
    ]


def test_the_event_log_is_a_tenth_member_of_the_collateral():
    """A fake without a log staples nine members; with one, its base64url text besides."""
    log = EventLog().add(1, b"kernel").encode(padding=8)
    with_log = FakeTdx(now=NOW, event_log=log).collateral()["intel"]
    assert base64url.decode(with_log.pop("event_log")) == log
    assert with_log.keys() == FakeTdx(now=NOW).collateral()["intel"].keys()
    assert len(with_log) == 9
