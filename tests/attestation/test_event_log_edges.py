"""Boot logs at their edges: how many events, which registers, what is padding."""

from __future__ import annotations

import struct

import pytest

from blindai.attestation.intel import event_log
from blindai.errors import EvidenceMalformed, Reason
from blindai.testing import Event, EventLog
from blindai.testing.event_log import EV_NO_ACTION, SHA384
from tests.attestation.scene import assert_refused


def assert_malformed(raw):
    assert_refused(lambda: event_log.parse(raw), Reason.EVENT_LOG_MALFORMED, EvidenceMalformed)


def test_a_log_of_4096_events_is_read_and_no_longer_one():
    """Remarks count, though they extend nothing: each is work."""
    for kind, read in ((13, 4096), (EV_NO_ACTION, 0)):
        log = EventLog()
        log.events = [Event(2, kind, ((SHA384, bytes(48)),), b"")] * 4096
        raw = log.encode()
        assert len(event_log.parse(raw)) == read
        assert_malformed(raw + log.events[0].encode())


def test_every_register_has_its_number():
    """The log counts from 1, the hardware from 0."""
    for number in range(4):
        log = EventLog().add(number, b"kernel")
        (event,) = event_log.parse(log.encode())
        assert event.register == f"rtmr{number}"
        assert event_log.replay((event,))[f"rtmr{number}"] == log.rtmr(number)


@pytest.mark.parametrize(
    ("at", "form", "value"), [(8, "<I", 0), (8, "<I", 2), (12, "<H", 0x0B), (12, "<H", 0)]
)
def test_an_event_says_itself_that_it_has_one_digest_of_sha384(at, form, value):
    """A count or a kind that does not fit what follows: another reader would read something else there."""
    head = EventLog().encode()
    event = bytearray(EventLog().add(1, b"kernel").encode()[len(head) :])
    assert len(event_log.parse(head + bytes(event))) == 1
    struct.pack_into(form, event, at, value)
    assert_malformed(head + bytes(event))


def test_only_four_bytes_of_ones_are_no_event():
    """A remark may name any register but the one that unused memory looks like."""
    digest = ((SHA384, bytes(48)),)
    for register in (0x00FFFFFF, 0xFFFFFF00, 0xFFFFFFFE):
        log = EventLog().append(Event(register, EV_NO_ACTION, digest, b"")).add(2, b"initrd")
        assert [event.register for event in event_log.parse(log.encode())] == ["rtmr2"]
    assert_malformed(EventLog().append(Event(0xFFFFFFFF, EV_NO_ACTION, digest, b"")).encode())
