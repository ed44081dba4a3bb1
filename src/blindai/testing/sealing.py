"""Fakes of the hardware that gives out sealing keys: the same bytes, and keys that depend on the same things.

`FakeTpm` is in `blindai.testing.tpm`.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import hmac
import os
import struct
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class FakeGramineKeys:
    """The folder /dev/attestation/keys of an enclave, on a processor with these fuses."""

    folder: Path
    fuses: bytes = b"one processor"
    mrenclave: bytes = b"one enclave"
    mrsigner: bytes = b"one signer"

    def start(self) -> Path:
        """Write the keys as Gramine shows them, 16 bytes each; return the folder."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for kind in ("mrenclave", "mrsigner"):
            key = hmac.digest(self.fuses, kind.encode() + getattr(self, kind), "sha256")[:16]
            (self.folder / f"_sgx_{kind}").write_bytes(key)
        return self.folder


_INVALID_PARAMETERS = 0x16
_INVALID_KEY_SELECTION = 0x27


@dataclass
class FakeSevGuest:
    """/dev/sev-guest of one guest on one chip: reports, and keys derived as the firmware derives them."""

    chip: bytes = b"one chip"
    measurement: bytes = bytes(range(48))
    guest_policy: int = 0x30000
    image_id: bytes = bytes(16)
    family_id: bytes = bytes(16)
    guest_svn: int = 3
    committed_tcb: int = 0xDB18000000000004
    vmpl: int = 0
    selected: int = 0  # the fields that the last key was asked to depend on

    def opener(self) -> int:
        """Return a descriptor that can be closed; nothing is read from it."""
        return os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)

    def ioctl(self, descriptor: int, request: int, argument: bytearray) -> int:
        """Do as the kernel does: read the request at its address, and write the answer at the other."""
        os.fstat(descriptor)  # OSError if it was closed
        if len(argument) != 32:
            raise OSError(errno.EFAULT, os.strerror(errno.EFAULT))
        version, request_at, response_at, _ = struct.unpack("<B7xQQQ", argument)
        if version == 0:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        if request == 0xC0205300:
            answer = self._report(ctypes.string_at(request_at, 96))
        elif request == 0xC0205301:
            answer = self._key(ctypes.string_at(request_at, 32))
        else:
            raise OSError(errno.ENOTTY, os.strerror(errno.ENOTTY))
        ctypes.memmove(response_at, answer, len(answer))
        return 0

    def _report(self, request: bytes) -> bytes:
        user_data, vmpl = struct.unpack_from("<64sI", request)
        if any(request[68:]) or vmpl < self.vmpl:
            return struct.pack("<II", _INVALID_PARAMETERS, 0).ljust(4000, b"\0")
        report = bytearray(0x4A0)
        struct.pack_into("<IIQ", report, 0, 3, self.guest_svn, self.guest_policy)
        report[0x10:0x20], report[0x20:0x30] = self.family_id, self.image_id
        report[0x50:0x90], report[0x90:0xC0] = user_data, self.measurement
        struct.pack_into("<Q", report, 0x1E0, self.committed_tcb)
        return struct.pack("<II24x", 0, len(report)) + bytes(report).ljust(4000 - 32, b"\0")

    def _key(self, request: bytes) -> bytes:
        root, reserved, fields, vmpl, svn, tcb = struct.unpack("<IIQIIQ", request)
        if root != 0:
            return struct.pack("<I", _INVALID_KEY_SELECTION).ljust(64, b"\0")
        too_new = svn > self.guest_svn or any(
            asked > have for asked, have in zip(_levels(tcb), _levels(self.committed_tcb), strict=True)
        )
        if reserved or fields >> 6 or vmpl < self.vmpl or too_new:
            return struct.pack("<I", _INVALID_PARAMETERS).ljust(64, b"\0")
        self.selected = fields
        mixed = [
            struct.pack("<Q", self.guest_policy), self.image_id, self.family_id, self.measurement,
            struct.pack("<I", svn), struct.pack("<Q", tcb),
        ]  # fmt: skip
        chosen = b"".join(data for bit, data in enumerate(mixed) if fields >> bit & 1)
        return bytes(32) + hmac.digest(self.chip, struct.pack("<QI", fields, vmpl) + chosen, hashlib.sha256)


def _levels(tcb: int) -> bytes:
    return tcb.to_bytes(8, "little")
