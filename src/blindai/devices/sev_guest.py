"""How an SEV-SNP guest asks its firmware: /dev/sev-guest (linux/sev-guest.h; AMD's firmware ABI, 56860).

Nothing is retried here. A message carries a sequence number, and the same number under the same key would
break the encryption: the kernel keeps count, and what was refused is asked anew.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass

DEVICE = "/dev/sev-guest"
# _IOWR('S', 0 to 2, struct snp_guest_request_ioctl of 32 bytes)
SNP_GET_REPORT = 0xC0205300
SNP_GET_DERIVED_KEY = 0xC0205301
SNP_GET_EXT_REPORT = 0xC0205302
# struct snp_guest_request_ioctl: msg_version (and padding), req_data, resp_data, exitinfo2
REQUEST = struct.Struct("<B7xQQQ")
# struct snp_report_req: user_data, vmpl, reserved; struct snp_report_resp has 4000 bytes
REPORT_REQUEST = struct.Struct("<64sI28s")
REPORT_RESPONSE_BYTES = 4000
# struct snp_ext_report_req: the former, certs_address, certs_len (and padding)
EXT_REPORT_REQUEST = struct.Struct("<96sQI4x")
# struct snp_derived_key_req: root_key_select, reserved, guest_field_select, vmpl, guest_svn, tcb_version
KEY_REQUEST = struct.Struct("<IIQIIQ")
KEY_RESPONSE_BYTES = 64
REPORT_BYTES = 0x4A0
# SEV_FW_BLOB_MAX_SIZE: the kernel takes no more room for certificates than this, in whole pages.
MAX_CERTIFICATE_BYTES = 0x4000
PAGE_BYTES = 4096
_MESSAGE_VERSION = 1

# The firmware's answers begin alike: status, then for a report its size, then zeros up to byte 32.
_STATUS = struct.Struct("<I")
_REPORT_HEAD = struct.Struct("<II24x")
_KEY_HEAD_BYTES = 32
# The hypervisor's word is the upper half of exitinfo2.
_VMM_SHIFT = 32
_VMM_INVALID_LENGTH = 1
_VMM_BUSY = 2

Ioctl = Callable[[int, int, bytearray], int]


def open_device() -> int:
    return os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC)


def ioctl(descriptor: int, request: int, argument: bytearray) -> int:
    answer: int = fcntl.ioctl(descriptor, request, argument, True)  # changes the argument in place
    return answer


class RequestRefused(OSError):
    """The kernel did not carry a request to the firmware, or the hypervisor beneath it did not.

    `exitinfo2` is what they said beside the errno. `room_needed` is how many bytes the certificates
    take, where too little room for them was the reason.
    """

    def __init__(self, error: OSError, exitinfo2: int, room_needed: int = 0) -> None:
        super().__init__(error.errno, error.strerror)
        self.exitinfo2 = exitinfo2
        self.room_needed = room_needed

    @property
    def busy(self) -> bool:
        """Whether the host throttles this guest."""
        return self.exitinfo2 >> _VMM_SHIFT == _VMM_BUSY


class AnswerRefused(ValueError):
    """The firmware answered with a status, or with what is not an answer. `what` was asked for."""

    def __init__(self, what: str, status: int) -> None:
        super().__init__(f"no {what} (firmware status {status:#x})")
        self.what = what
        self.status = status


@dataclass(frozen=True)
class SevGuestChannel:
    """An open device. Raises RequestRefused and AnswerRefused."""

    descriptor: int
    ioctl: Ioctl = ioctl

    def report(self, user_data: bytes, *, vmpl: int) -> bytes:
        """Return a report of 1184 bytes. Nothing in it is verified."""
        request = ctypes.create_string_buffer(_report_request(user_data, vmpl))
        return _report(self._ask(SNP_GET_REPORT, request, REPORT_RESPONSE_BYTES))

    def extended_report(self, user_data: bytes, *, vmpl: int, room: int) -> tuple[bytes, bytes]:
        """Return a report, and the certificates that the host put beside it into `room` bytes (whole pages).

        With no room it works where the host has no certificates, and says how much it needs where it has.
        """
        certificates = ctypes.create_string_buffer(room)
        request = ctypes.create_string_buffer(
            EXT_REPORT_REQUEST.pack(
                _report_request(user_data, vmpl), ctypes.addressof(certificates) if room else 0, room
            )
        )
        try:
            answer = self._ask(SNP_GET_EXT_REPORT, request, REPORT_RESPONSE_BYTES)
        except RequestRefused as exc:
            # ENOSPC in older kernels, EIO in newer ones: only the hypervisor's word says which error it was.
            if exc.exitinfo2 >> _VMM_SHIFT != _VMM_INVALID_LENGTH:
                raise
            needed: int = EXT_REPORT_REQUEST.unpack_from(request)[2]
            raise RequestRefused(exc, exc.exitinfo2, needed) from exc
        return _report(answer), certificates.raw

    def derived_key(self, *, root_key: int, fields: int, vmpl: int, guest_svn: int, tcb: int) -> bytes:
        """Return 32 bytes that depend on the root key and on the fields that are selected."""
        request = ctypes.create_string_buffer(KEY_REQUEST.pack(root_key, 0, fields, vmpl, guest_svn, tcb))
        answer = self._ask(SNP_GET_DERIVED_KEY, request, KEY_RESPONSE_BYTES)
        head, key = answer[:_KEY_HEAD_BYTES], answer[_KEY_HEAD_BYTES:]
        # Status and reserved bytes are all zeros; a key of zeros is an answer that was never filled in.
        if any(head) or not any(key):
            raise AnswerRefused("the derived key", _STATUS.unpack_from(head)[0])
        return key

    def _ask(self, number: int, request: ctypes.Array[ctypes.c_char], response_bytes: int) -> bytes:
        received = ctypes.create_string_buffer(response_bytes)
        argument = bytearray(
            REQUEST.pack(_MESSAGE_VERSION, ctypes.addressof(request), ctypes.addressof(received), 0)
        )
        try:
            self.ioctl(self.descriptor, number, argument)
        except OSError as exc:
            raise RequestRefused(exc, REQUEST.unpack(argument)[3]) from exc
        answer = received.raw
        ctypes.memset(received, 0, response_bytes)  # it may be a key
        return answer


def _report_request(user_data: bytes, vmpl: int) -> bytes:
    return REPORT_REQUEST.pack(user_data, vmpl, bytes(28))


def _report(answer: bytes) -> bytes:
    status, size = _REPORT_HEAD.unpack_from(answer)
    if status or size != REPORT_BYTES:
        raise AnswerRefused("the report", status)
    return answer[_REPORT_HEAD.size : _REPORT_HEAD.size + REPORT_BYTES]
