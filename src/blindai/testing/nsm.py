"""The security module of a fake Nitro enclave: the driver's ioctl, and the CBOR that is spoken through it."""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from blindai.testing import cbor
from blindai.testing.nitro import FakeNitro
from blindai.wire import strict_cbor

_IOCTL_RAW = 0xC0200A00
_RAW = struct.Struct("=QQQQ")
_REQUEST_BYTES, _RESPONSE_BYTES, _FIELD_BYTES = 0x1000, 0x3000, 1024


@dataclass
class FakeNsm:
    """/dev/nsm of one enclave; `machine` signs the documents.

    >>> Nsm(fake.opener, fake.ioctl).evidence(report_data)  # doctest: +SKIP

    Each field turns one thing wrong; all may change between two calls.
    """

    machine: FakeNitro = field(default_factory=FakeNitro)
    open_error: int = 0  # errno
    ioctl_error: int = 0  # errno
    error: str = ""  # what the module answers an attestation with: {"Error": ...}
    digest: str = "SHA384"  # that it describes itself with
    answer: Any = None  # instead of the whole answer to an attestation: a value to encode, or `cbor.Raw`
    user_data: bytes | None = None  # that is signed instead of what was asked for
    length: int | None = None  # what the driver says of the answer instead of its length
    edit_document: Callable[[bytes], bytes] | None = None
    seconds: float = 0  # that an attestation takes
    hang: threading.Event | None = None  # an attestation waits until it is set

    requests: list[Any] = field(default_factory=list)  # all that were asked, decoded

    def opener(self) -> int:
        """Return a descriptor that can be closed; nothing is read from it."""
        if self.open_error:
            raise _failure(self.open_error)
        return os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)

    def ioctl(self, descriptor: int, request: int, argument: bytearray) -> int:
        """Do as the driver does: take the request from its address, cut the answer to the room for it."""
        os.fstat(descriptor)  # OSError if it was closed
        if request != _IOCTL_RAW:
            raise _failure(errno.EINVAL)
        if len(argument) != _RAW.size:
            raise _failure(errno.EFAULT)
        request_at, request_bytes, response_at, room = _RAW.unpack(argument)
        if request_bytes > _REQUEST_BYTES:
            raise _failure(errno.EMSGSIZE)
        if self.ioctl_error:
            raise _failure(self.ioctl_error)
        answer = self._answer(ctypes.string_at(request_at, request_bytes))[: min(room, _RESPONSE_BYTES)]
        ctypes.memmove(response_at, answer, len(answer))
        said = len(answer) if self.length is None else self.length
        _RAW.pack_into(argument, 0, request_at, request_bytes, response_at, said)
        return 0

    def _answer(self, request: bytes) -> bytes:
        try:
            asked = strict_cbor.decode(request, max_bytes=_REQUEST_BYTES)
        except ValueError:
            return _error("InvalidOperation")
        self.requests.append(asked)
        if asked == "DescribeNSM":
            return cbor.encode({"DescribeNSM": self._description()})
        if not isinstance(asked, dict) or list(asked) != ["Attestation"]:
            return _error("InvalidOperation")
        return self._attestation(asked["Attestation"])

    def _description(self) -> dict[str, Any]:
        return {
            "version_major": 1,
            "version_minor": 0,
            "version_patch": 0,
            "module_id": self.machine.enclave.module_id,
            "max_pcrs": 32,
            "locked_pcrs": list(range(16)),
            "digest": self.digest,
        }

    def _attestation(self, fields: Any) -> bytes:
        if not isinstance(fields, dict) or set(fields) != {"user_data", "nonce", "public_key"}:
            return _error("InvalidArgument")
        user_data = fields["user_data"]
        # A genuine module signs nonce and key too. Ours must not ask for it: that means another protocol.
        if (
            not isinstance(user_data, bytes)
            or fields["nonce"] is not None
            or fields["public_key"] is not None
        ):
            return _error("InvalidArgument")
        if len(user_data) > _FIELD_BYTES:
            return _error("InputTooLarge")
        time.sleep(self.seconds)
        if self.hang is not None:
            self.hang.wait()
        if self.error:
            return _error(self.error)
        if self.answer is not None:
            return cbor.encode(self.answer)
        document = self.machine.evidence(user_data if self.user_data is None else self.user_data).value
        if self.edit_document is not None:
            document = self.edit_document(document)
        return cbor.encode({"Attestation": {"document": document}})


def _error(word: str) -> bytes:
    return cbor.encode({"Error": word})


def _failure(number: int) -> OSError:
    return OSError(number, os.strerror(number))
