"""The fake security module takes and refuses what the driver (drivers/misc/nsm.c) and the module do."""

from __future__ import annotations

import ctypes
import errno
import os
import struct

import pytest

from blindai.testing import FakeNitro
from blindai.testing.cbor import encode
from blindai.testing.nsm import FakeNsm
from tests.testing.nitro_reference import decode

NUMBER = 0xC0200A00
REQUEST = {"user_data": b"ours", "nonce": None, "public_key": None}


@pytest.fixture(scope="module")
def machine():
    return FakeNitro(now=1_790_000_000)


def asked(fake, request, *, number=NUMBER, room=0x3000, cut=0):
    """Ask as another program would, and return the bytes of the answer."""
    sent, received = ctypes.create_string_buffer(request, len(request)), ctypes.create_string_buffer(room)
    raw = struct.pack("=QQQQ", ctypes.addressof(sent), len(request), ctypes.addressof(received), room)
    argument = bytearray(raw[: len(raw) - cut])
    descriptor = fake.opener()
    try:
        fake.ioctl(descriptor, number, argument)
    finally:
        os.close(descriptor)
    request_at, request_bytes, response_at, length = struct.unpack("=QQQQ", argument)
    assert (request_at, request_bytes, response_at) == struct.unpack("=QQQ", raw[:24])
    return received.raw[:length]


def test_it_describes_itself(machine):
    """The answer is a map of one entry, named like the request."""
    [(name, described)] = decode(asked(FakeNsm(machine), encode("DescribeNSM")))
    assert name == "DescribeNSM"
    assert dict(described)["digest"] == "SHA384"
    assert dict(described)["locked_pcrs"] == list(range(16))


def test_it_signs_what_it_was_asked_for(machine):
    """The document is the machine's, about our user data."""
    [(name, answer)] = decode(asked(FakeNsm(machine), encode({"Attestation": REQUEST})))
    assert name == "Attestation"
    payload = dict(decode(decode(dict(answer)["document"])[2]))
    assert (payload["user_data"], payload["nonce"]) == (b"ours", None)
    assert payload["module_id"] == machine.enclave.module_id


@pytest.mark.parametrize(
    ("request_value", "word"),
    [
        ({"GetRandom": {}}, "InvalidOperation"),
        ("Attestation", "InvalidOperation"),
        ({"Attestation": REQUEST, "DescribeNSM": {}}, "InvalidOperation"),
        ({"Attestation": {"user_data": b"ours"}}, "InvalidArgument"),
        ({"Attestation": []}, "InvalidArgument"),
        ({"Attestation": {**REQUEST, "user_data": "text"}}, "InvalidArgument"),
        ({"Attestation": {**REQUEST, "nonce": b"n"}}, "InvalidArgument"),
        ({"Attestation": {**REQUEST, "user_data": bytes(1025)}}, "InputTooLarge"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_request_that_is_none_gets_an_error(machine, request_value, word):
    """The module answers with one word."""
    assert decode(asked(FakeNsm(machine), encode(request_value))) == [("Error", word)]


def test_bytes_that_are_no_request(machine):
    """What cannot be decoded is not taken for a request, and not remembered as one."""
    fake = FakeNsm(machine)
    assert decode(asked(fake, b"\xa1\x6bAttest")) == [("Error", "InvalidOperation")]
    assert fake.requests == []


@pytest.mark.parametrize(
    ("arguments", "number"),
    [({"number": NUMBER + 1}, errno.EINVAL), ({"cut": 8}, errno.EFAULT), ({"room": 0}, None)],
    ids=str,
)
def test_the_driver_checks_the_call(machine, arguments, number):
    """Another number, another size: an errno; no room: an answer cut to nothing."""
    if number is None:
        assert asked(FakeNsm(machine), encode("DescribeNSM"), **arguments) == b""
        return
    with pytest.raises(OSError, match=r"\[Errno") as caught:
        asked(FakeNsm(machine), encode("DescribeNSM"), **arguments)
    assert caught.value.errno == number


def test_the_driver_takes_4_kib_and_cuts_answers(machine):
    """One byte more than fits is EMSGSIZE; an answer that is longer than the room for it is cut."""
    fake = FakeNsm(machine)
    with pytest.raises(OSError, match=r"\[Errno") as caught:
        asked(fake, bytes(0x1001))
    assert caught.value.errno == errno.EMSGSIZE
    assert asked(fake, bytes(0x1000))
    assert len(asked(fake, encode({"Attestation": REQUEST}), room=100)) == 100


def test_a_closed_device_is_not_answered(machine):
    """A descriptor that was closed is refused, as by the kernel."""
    descriptor = FakeNsm(machine).opener()
    os.close(descriptor)
    with pytest.raises(OSError, match="Bad file descriptor"):
        FakeNsm(machine).ioctl(descriptor, NUMBER, bytearray(32))
