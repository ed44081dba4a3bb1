"""The fake /dev/sev-guest does what the kernel and the firmware do, also where it signs with a `FakeSnp`."""

from __future__ import annotations

import errno
import os

import pytest

from blindai.devices.sev_guest import MAX_CERTIFICATE_BYTES, RequestRefused, SevGuestChannel
from blindai.store.keys.snp import SnpKey
from blindai.testing import FakeSnp
from blindai.testing.sev_guest import FakeSevGuest

NOW = 1_790_000_000
REPORT_DATA = bytes(range(64))
SNP = FakeSnp(now=NOW)


@pytest.fixture
def descriptor():
    opened = FakeSevGuest().opener()
    yield opened
    os.close(opened)


def key_of(machine: FakeSnp) -> bytes:
    guest = FakeSevGuest(machine=machine)
    return SnpKey(guest.opener, guest.ioctl).sealing_key()


def test_reports_are_the_machines(descriptor):
    """Field by field, at the level asked for; the machine itself is not changed."""
    report = SevGuestChannel(descriptor, FakeSevGuest(machine=SNP).ioctl).report(REPORT_DATA, vmpl=1)
    own = SNP.evidence(REPORT_DATA).value
    assert (report[0x30], own[0x30]) == (1, 0)
    assert report[:0x30] == own[:0x30]
    assert report[0x34:0x2A0] == own[0x34:0x2A0]


def test_keys_are_the_guests():
    """The same guest on the same chip has the same key; another has another."""
    assert key_of(SNP) == key_of(FakeSnp(now=NOW))
    others = [{"chip_id": b"\x07" * 64}, {"measurement": bytes(48)}, {"debug": True}, {"guest_svn": 1}]
    assert len({key_of(FakeSnp(now=NOW, **other)) for other in others} | {key_of(SNP)}) == 5


@pytest.mark.parametrize("room", [1, 4095, MAX_CERTIFICATE_BYTES + 4096])
def test_room_is_given_in_pages(descriptor, room):
    """And not without end."""
    with pytest.raises(RequestRefused) as caught:
        SevGuestChannel(descriptor, FakeSevGuest().ioctl).extended_report(REPORT_DATA, vmpl=0, room=room)
    assert caught.value.errno == errno.EINVAL


@pytest.mark.parametrize(
    ("argument", "number"), [(bytearray(31), errno.EFAULT), (bytearray(32), errno.EINVAL)]
)
def test_an_argument_that_is_none(descriptor, argument, number):
    """Of another size, or without a message version."""
    with pytest.raises(OSError) as caught:  # noqa: PT011 - the number is what matters
        FakeSevGuest().ioctl(descriptor, 0xC0205300, argument)
    assert caught.value.errno == number


def test_a_request_that_does_not_exist(descriptor):
    """As of any device."""
    argument = bytearray(b"\1".ljust(32, b"\0"))
    with pytest.raises(OSError) as caught:  # noqa: PT011 - the number is what matters
        FakeSevGuest().ioctl(descriptor, 0xC0205303, argument)
    assert caught.value.errno == errno.ENOTTY


def test_a_closed_device():
    """Answers nothing."""
    guest = FakeSevGuest()
    descriptor = guest.opener()
    os.close(descriptor)
    with pytest.raises(OSError, match="Bad file descriptor"):
        SevGuestChannel(descriptor, guest.ioctl).report(REPORT_DATA, vmpl=0)
