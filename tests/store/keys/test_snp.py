from __future__ import annotations

import ctypes
import dataclasses
import errno
import os
import struct
from pathlib import Path

import pytest

from blindai.devices import sev_guest
from blindai.errors import StoreError, StoreFault
from blindai.store.keys.snp import SnpKey
from blindai.testing.sev_guest import FakeSevGuest

GUEST = FakeSevGuest()


def _key(guest: FakeSevGuest) -> bytes:
    return SnpKey(guest.opener, guest.ioctl).sealing_key()


def test_the_same_guest_gets_the_same_key():
    """The same image on the same chip gets the same 32 bytes, and the firmware's own are not those."""
    guest = FakeSevGuest()
    assert _key(guest) == _key(FakeSevGuest())
    assert len(_key(guest)) == 32
    assert guest.selected == 0b111111


@pytest.mark.parametrize(
    "other",
    [
        {"chip": b"another chip"},
        {"measurement": bytes(48)},
        {"guest_policy": GUEST.guest_policy | 1 << 19},  # debugging allowed
        {"image_id": b"i" * 16},
        {"family_id": b"f" * 16},
        {"guest_svn": GUEST.guest_svn - 1},
        {"committed_tcb": GUEST.committed_tcb - 1},
    ],
    ids=lambda other: next(iter(other)),
)
def test_another_guest_gets_another_key(other):
    """Whatever the host may change about a guest, or start beside it, gets another key."""
    assert _key(GUEST) != _key(dataclasses.replace(GUEST, **other))


class _Edited(FakeSevGuest):
    """A device whose answers to one request are changed before they arrive."""

    def __init__(self, request: int, edit) -> None:
        super().__init__()
        self._request, self._edit = request, edit

    def ioctl(self, descriptor: int, request: int, argument: bytearray) -> int:
        result = super().ioctl(descriptor, request, argument)
        if request == self._request:
            at = struct.unpack("<B7xQQQ", argument)[2]
            size = 4000 if request == sev_guest.SNP_GET_REPORT else 64
            answer = bytearray(ctypes.string_at(at, size))
            self._edit(answer)
            ctypes.memmove(at, bytes(answer), size)
        return result


def _put(offset: int, data: bytes):
    def edit(answer: bytearray) -> None:
        answer[offset : offset + len(data)] = data

    return edit


@pytest.mark.parametrize(
    ("request_number", "edit"),
    [
        (sev_guest.SNP_GET_DERIVED_KEY, _put(0, struct.pack("<I", 0x16))),  # refused: invalid parameters
        (sev_guest.SNP_GET_DERIVED_KEY, _put(0, struct.pack("<I", 0x27))),
        (sev_guest.SNP_GET_DERIVED_KEY, _put(4, b"\1")),  # reserved
        (sev_guest.SNP_GET_DERIVED_KEY, _put(31, b"\1")),
        (sev_guest.SNP_GET_DERIVED_KEY, _put(32, bytes(32))),  # never filled in
        (sev_guest.SNP_GET_DERIVED_KEY, _put(0, bytes(64))),
        (sev_guest.SNP_GET_REPORT, _put(0, struct.pack("<I", 0x16))),
        (sev_guest.SNP_GET_REPORT, _put(4, struct.pack("<I", 0x4A0 - 1))),
        (sev_guest.SNP_GET_REPORT, _put(0, bytes(4000))),
        (sev_guest.SNP_GET_REPORT, _put(0, b"\xff" * 4000)),
        (
            sev_guest.SNP_GET_REPORT,
            _put(32 + 4, struct.pack("<I", 4)),
        ),  # a newer version than the guest's own
        (sev_guest.SNP_GET_REPORT, _put(32 + 0x1E0, struct.pack("<Q", 2**64 - 1))),
    ],
)
def test_an_answer_that_is_none_is_refused(request_number, edit):
    """Whatever the device writes: a key, or our own error."""
    with pytest.raises(StoreError) as caught:
        _key(_Edited(request_number, edit))
    assert caught.value.fault is StoreFault.UNAVAILABLE


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOTTY, errno.EBUSY, errno.EINVAL])
def test_a_device_that_refuses(number):
    """The firmware's error is in the message; the descriptor is closed."""
    opened = []

    def opener() -> int:
        opened.append(GUEST.opener())
        return opened[-1]

    def ioctl(_descriptor: int, _request: int, argument: bytearray) -> int:
        argument[24:32] = struct.pack("<Q", 2 << 32)
        raise OSError(number, os.strerror(number))

    with pytest.raises(StoreError, match="0x200000000") as caught:
        SnpKey(opener, ioctl).sealing_key()
    assert caught.value.fault is StoreFault.UNAVAILABLE
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(opened[0])


def test_under_a_paravisor():
    """A guest at VMPL 2 may not have the key of VMPL 0."""
    with pytest.raises(StoreError):
        _key(FakeSevGuest(vmpl=2))


@pytest.mark.skipif(Path("/dev/sev-guest").exists(), reason="this is an SEV-SNP guest")
def test_outside_a_guest():
    """Without the device the error names it."""
    with pytest.raises(StoreError, match="/dev/sev-guest cannot be opened"):
        SnpKey().sealing_key()
