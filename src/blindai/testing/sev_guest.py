"""/dev/sev-guest of a fake SEV-SNP guest: reports, certificates from the host, and derived keys."""

from __future__ import annotations

import copy
import ctypes
import dataclasses
import errno
import hashlib
import hmac
import os
import struct
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from blindai.tee.simulated.snp import SnpMint

SNP_GET_REPORT, SNP_GET_DERIVED_KEY, SNP_GET_EXT_REPORT = 0xC0205300, 0xC0205301, 0xC0205302
# What the hypervisor says in `exitinfo2`.
INVALID_LENGTH, BUSY = 1 << 32, 2 << 32
_INVALID_PARAMETERS = 0x16
_INVALID_KEY_SELECTION = 0x27
_REPORT_BYTES, _RESPONSE_BYTES, _KEY_BYTES = 0x4A0, 4000, 64
_PAGE, _MOST_CERTIFICATES = 4096, 0x4000


def at_level(machine: SnpMint, vmpl: int) -> SnpMint:
    """Return the same machine as code at this privilege level sees it."""
    seen = copy.copy(machine)
    seen.machine = dataclasses.replace(machine.machine, vmpl=vmpl)
    return seen


@dataclass
class FakeSevGuest:
    """/dev/sev-guest of one guest on one chip.

    >>> SevGuest(fake.opener, fake.ioctl).evidence(report_data)  # doctest: +SKIP

    With a `machine`, it signs the reports and keys are those of its guest. Without, reports are not signed
    and the fields from `chip` to `committed_tcb` say what they hold: enough for sealing keys. Each of the
    others turns one thing wrong; all may change between two calls.
    """

    chip: bytes = b"one chip"
    measurement: bytes = bytes(range(48))
    guest_policy: int = 0x30000
    image_id: bytes = bytes(16)
    family_id: bytes = bytes(16)
    guest_svn: int = 3
    committed_tcb: int = 0xDB18000000000004
    vmpl: int = 0
    selected: int = 0  # the fields that the last key was asked to depend on

    machine: SnpMint | None = None
    certificates: bytes = b""  # the host's table, b"": it has none
    open_error: int = 0  # errno
    # For each request (SNP_GET_...): errno and exitinfo2 of its first refusals.
    errors: dict[int, Iterable[tuple[int, int]]] = field(default_factory=dict)
    too_little: int = errno.EIO  # errno where the certificates need more room: older kernels say ENOSPC
    certificates_need: int | None = None  # the room that the host says they need, instead of the truth
    report_size: int = _REPORT_BYTES  # that the firmware's answer says
    signed_data: bytes | None = None  # report data that are signed instead of those asked for
    seconds: float = 0  # that a report takes
    hang: threading.Event | None = None  # a report waits until it is set

    requests: list[int] = field(default_factory=list)  # in order
    _refusals: dict[int, Iterator[tuple[int, int]]] = field(default_factory=dict)

    def opener(self) -> int:
        """Return a descriptor that can be closed; nothing is read from it."""
        if self.open_error:
            raise _failure(self.open_error)
        return os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)

    def ioctl(self, descriptor: int, request: int, argument: bytearray) -> int:
        """Do as the kernel does: read the request at its address, and write the answer at the other."""
        os.fstat(descriptor)  # OSError if it was closed
        self.requests.append(request)
        if len(argument) != 32:
            raise _failure(errno.EFAULT)
        version, request_at, response_at, _ = struct.unpack("<B7xQQQ", argument)
        if version == 0:
            raise _failure(errno.EINVAL)
        refusals = self._refusals.setdefault(request, iter(self.errors.get(request, ())))
        number, exitinfo2 = next(refusals, (0, 0))
        struct.pack_into("<Q", argument, 24, exitinfo2)
        if number:
            raise _failure(number)
        if request == SNP_GET_REPORT:
            answer = self._report(ctypes.string_at(request_at, 96))
        elif request == SNP_GET_EXT_REPORT:
            answer = self._extended(request_at, argument)
        elif request == SNP_GET_DERIVED_KEY:
            answer = self._key(ctypes.string_at(request_at, 32))
        else:
            raise _failure(errno.ENOTTY)
        ctypes.memmove(response_at, answer, len(answer))
        return 0

    def _report(self, request: bytes) -> bytes:
        user_data, vmpl = struct.unpack_from("<64sI", request)
        if any(request[68:]) or not self.vmpl <= vmpl <= 3:
            return struct.pack("<II", _INVALID_PARAMETERS, 0).ljust(_RESPONSE_BYTES, b"\0")
        time.sleep(self.seconds)
        if self.hang is not None:
            self.hang.wait()
        report = self._signed(user_data if self.signed_data is None else self.signed_data, vmpl)
        return struct.pack("<II24x", 0, self.report_size) + report.ljust(_RESPONSE_BYTES - 32, b"\0")

    def _signed(self, user_data: bytes, vmpl: int) -> bytes:
        if self.machine is not None:
            return at_level(self.machine, vmpl).evidence(user_data).value
        report = bytearray(_REPORT_BYTES)
        struct.pack_into("<IIQ", report, 0, 3, self.guest_svn, self.guest_policy)
        report[0x10:0x20], report[0x20:0x30] = self.family_id, self.image_id
        report[0x50:0x90], report[0x90:0xC0] = user_data, self.measurement
        struct.pack_into("<Q", report, 0x1E0, self.committed_tcb)
        return bytes(report)

    def _extended(self, request_at: int, argument: bytearray) -> bytes:
        request, address, room = struct.unpack("<96sQI4x", ctypes.string_at(request_at, 112))
        if room > _MOST_CERTIFICATES or room % _PAGE:
            raise _failure(errno.EINVAL)
        needed = -(-len(self.certificates) // _PAGE) * _PAGE
        if needed > room:
            says = needed if self.certificates_need is None else self.certificates_need
            ctypes.memmove(request_at + 104, struct.pack("<I", says), 4)
            struct.pack_into("<Q", argument, 24, INVALID_LENGTH)
            raise _failure(self.too_little)
        answer = self._report(request)
        ctypes.memmove(address, self.certificates, len(self.certificates))
        return answer

    def _key(self, request: bytes) -> bytes:
        root, reserved, fields, vmpl, svn, tcb = struct.unpack("<IIQIIQ", request)
        if root != 0:
            return struct.pack("<I", _INVALID_KEY_SELECTION).ljust(_KEY_BYTES, b"\0")
        own = self._signed(bytes(64), self.vmpl)
        (own_svn,) = struct.unpack_from("<I", own, 4)
        too_new = svn > own_svn or any(
            asked > have for asked, have in zip(tcb.to_bytes(8, "little"), own[0x1E0:0x1E8], strict=True)
        )
        if reserved or fields >> 6 or vmpl < self.vmpl or too_new:
            return struct.pack("<I", _INVALID_PARAMETERS).ljust(_KEY_BYTES, b"\0")
        self.selected = fields
        # The guest's policy, image, family and measurement; then the two that are asked for.
        mixed = [
            own[0x08:0x10], own[0x20:0x30], own[0x10:0x20], own[0x90:0xC0],
            struct.pack("<I", svn), struct.pack("<Q", tcb),
        ]  # fmt: skip
        chosen = b"".join(data for bit, data in enumerate(mixed) if fields >> bit & 1)
        chip = self.chip if self.machine is None else own[0x1A0:0x1E0]
        return bytes(32) + hmac.digest(chip, struct.pack("<QI", fields, vmpl) + chosen, hashlib.sha256)


def _failure(number: int) -> OSError:
    return OSError(number, os.strerror(number))
