"""Attestation documents of an AWS Nitro enclave, from its security module (linux/nsm.h; AWS's NSM API).

One ioctl carries a request in CBOR to the hypervisor and its answer back: `DescribeNSM`, `Attestation`. The
driver has one message in flight; who comes second waits in the kernel.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from blindai.attestation.aws import document
from blindai.attestation.aws.document import Document
from blindai.attestation.types import NITRO_DOCUMENT, Evidence
from blindai.errors import EvidenceMalformed, TeeError, TeeFault
from blindai.tee.probe import Finding, Presence
from blindai.wire import strict_cbor

INTERFACE = "nsm"
REPORT_DATA_BYTES = 64
# _IOWR(0x0A, 0, struct nsm_raw): address and length of the request, then of the room for the answer
NSM_IOCTL_RAW = 0xC0200A00
RAW = struct.Struct("=QQQQ")
RESPONSE_BYTES = 0x3000
_DEVICE = "/dev/nsm"
_DESCRIBE = b"\x6bDescribeNSM"
# {"Attestation": {"user_data": 64 bytes, "nonce": null, "public_key": null}}
_ATTEST = b"\xa1\x6bAttestation\xa3\x69user_data\x58\x40%b\x65nonce\xf6\x6apublic_key\xf6"
# A debug enclave has zeros in the registers of its image, its kernel and its application.
_DEBUG_PCRS = (0, 1, 2)

Ioctl = Callable[[int, int, bytearray], int]


def _open_device() -> int:
    return os.open(_DEVICE, os.O_RDWR | os.O_CLOEXEC)


def _ioctl(descriptor: int, request: int, argument: bytearray) -> int:
    answer: int = fcntl.ioctl(descriptor, request, argument, True)  # changes the argument in place
    return answer


@dataclass(frozen=True)
class Nsm:
    """The enclave around us (a `blindai.tee.attester.Attester`). `opener` and `ioctl` are the device's."""

    opener: Callable[[], int] = _open_device
    ioctl: Ioctl = _ioctl
    interface = INTERFACE
    tee = "nitro"
    simulated = False

    def evidence(self, report_data: bytes) -> Evidence:
        """Return a document whose user data are these 64 bytes. Raises TeeError."""
        return Evidence(NITRO_DOCUMENT, self._attested(report_data)[0])

    def probe(self) -> Finding:
        """Ask the module to describe itself, and for a document; say what came of it."""
        try:
            self._describe()
            raw, parsed = self._attested(bytes(REPORT_DATA_BYTES))
        except TeeError as exc:
            presence = Presence.ABSENT if exc.fault is TeeFault.ABSENT else Presence.BROKEN
            return Finding(INTERFACE, self.tee, presence, exc.what, exc.hint)
        seen = f"{_DEVICE} gave a document of {len(raw)} bytes"
        if not any(any(parsed.pcrs[index]) for index in _DEBUG_PCRS):
            return Finding(
                INTERFACE,
                self.tee,
                Presence.WORKS,
                f"{seen}; the enclave is in debug mode",
                "clients refuse it: start the enclave without --debug-mode and --attach-console",
            )
        return Finding(INTERFACE, self.tee, Presence.WORKS, seen)

    def _describe(self) -> None:
        described = self._asked("DescribeNSM", _DESCRIBE)
        if described.get("digest") != "SHA384":
            raise TeeError(
                TeeFault.UNSUPPORTED,
                f"{_DEVICE} measures with another hash than SHA-384",
                hint="a newer blindai may know it",
            )

    def _attested(self, report_data: bytes) -> tuple[bytes, Document]:
        if len(report_data) != REPORT_DATA_BYTES:
            raise ValueError(f"report data have {REPORT_DATA_BYTES} bytes")
        raw = self._asked("Attestation", _ATTEST % report_data).get("document")
        if not isinstance(raw, bytes):
            raise _malformed("an attestation without a document")
        try:
            parsed = document.parse(raw)
        except EvidenceMalformed as exc:
            raise _malformed("a document that clients cannot read") from exc
        # A nonce or a key beside them would be signed for another protocol: clients refuse such a document.
        if (parsed.user_data, parsed.nonce, parsed.public_key) != (report_data, None, None):
            raise _malformed("a document about other data than asked for")
        return raw, parsed

    def _asked(self, name: str, request: bytes) -> dict[Any, Any]:
        """Return the fields of the answer called `name`."""
        try:
            reply = strict_cbor.decode(self._exchange(request), max_bytes=RESPONSE_BYTES)
        except ValueError as exc:
            raise _malformed("bytes that are not the CBOR it speaks") from exc
        if not isinstance(reply, dict) or len(reply) != 1:
            raise _malformed("an answer of no known kind")
        if "Error" in reply:
            raise _error(reply["Error"])
        fields = reply.get(name)
        if not isinstance(fields, dict):
            raise _malformed("the answer to another question")
        return fields

    def _exchange(self, request: bytes) -> bytes:
        try:
            descriptor = self.opener()
        except OSError as exc:
            raise _no_device(exc) from exc
        sent = ctypes.create_string_buffer(request, len(request))
        received = ctypes.create_string_buffer(RESPONSE_BYTES)
        argument = bytearray(
            RAW.pack(ctypes.addressof(sent), len(request), ctypes.addressof(received), RESPONSE_BYTES)
        )
        try:
            self.ioctl(descriptor, NSM_IOCTL_RAW, argument)
        except OSError as exc:
            raise _refused(exc) from exc
        finally:
            os.close(descriptor)
        length = RAW.unpack(argument)[3]
        # The driver says how much it wrote. Beyond our own buffer lies memory that nobody wrote.
        if not 0 < length <= RESPONSE_BYTES:
            raise _malformed("an answer without a length that can be")
        return received.raw[:length]


_NITRO_CLI = "dmesg in the enclave may say more; `nitro-cli console` shows it for a debug enclave"
# What the module's own words for an error mean. `Success` is one of them.
_ERRORS = {
    "InvalidArgument": (TeeFault.REFUSED, "refused the request: an argument is invalid"),
    "InvalidIndex": (TeeFault.REFUSED, "refused the request: an index is out of bounds"),
    "ReadOnlyIndex": (TeeFault.REFUSED, "refused the request: a register is locked"),
    "InvalidOperation": (TeeFault.REFUSED, "refused the request: it may not be asked for here"),
    "InvalidResponse": (TeeFault.MALFORMED, "got no answer that belongs to the request"),
    "BufferTooSmall": (TeeFault.TOO_LARGE, "has an answer that does not fit into the room for it"),
    "InputTooLarge": (TeeFault.TOO_LARGE, "found the request too large"),
    "InternalError": (TeeFault.FAILED, "failed inside"),
}


def _error(word: Any) -> TeeError:
    unknown = (TeeFault.FAILED, "answered with an error that this version does not know")
    fault, what = _ERRORS.get(word, unknown) if isinstance(word, str) else unknown
    return TeeError(fault, f"{_DEVICE} {what}", hint=_NITRO_CLI)


def _malformed(what: str) -> TeeError:
    return TeeError(TeeFault.MALFORMED, f"{_DEVICE} gave {what}", hint=_NITRO_CLI)


_RIGHTS = (
    "run as a user who may open it, as root where there is no udev rule; the kernel's header reserves it for "
    "CAP_SYS_ADMIN"
)


def _no_device(exc: OSError) -> TeeError:
    if exc.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENXIO, errno.ENODEV):
        hint = "it exists inside AWS Nitro enclaves only; Linux 6.8 and newer bring the driver: modprobe nsm"
        return TeeError(TeeFault.ABSENT, f"there is no {_DEVICE}", hint=hint)
    return _refused(exc)


_FAULTS = {
    errno.EPERM: (TeeFault.NOT_ALLOWED, _RIGHTS),
    errno.EACCES: (TeeFault.NOT_ALLOWED, _RIGHTS),
    errno.EMSGSIZE: (TeeFault.TOO_LARGE, "the driver takes smaller requests than this version makes"),
    errno.EBUSY: (TeeFault.BUSY, "the next try may work"),
    errno.EAGAIN: (TeeFault.BUSY, "the next try may work"),
    errno.ETIMEDOUT: (TeeFault.TIMEOUT, "the hypervisor did not answer the driver within its two minutes"),
    errno.EINVAL: (TeeFault.REFUSED, f"what is called {_DEVICE} here may be another driver"),
    errno.ENOTTY: (TeeFault.REFUSED, f"what is called {_DEVICE} here may be another driver"),
}


def _refused(exc: OSError) -> TeeError:
    fault, hint = _FAULTS.get(exc.errno or 0, (TeeFault.FAILED, _NITRO_CLI))
    return TeeError(fault, f"{_DEVICE} cannot be used: {exc.strerror}", hint=hint)
