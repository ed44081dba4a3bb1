"""The attestation files of a fake SGX enclave under Gramine: they answer and fail as Gramine's do."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from blindai.testing.sgx import FakeSgx

REPORT_DATA_BYTES = 64


@dataclass
class FakeGramine:
    """What stands below /dev/attestation (`blindai.tee.gramine.AttestationFiles`); `machine` quotes.

    >>> GramineSgx(fake.folder, fake).evidence(report_data)  # doctest: +SKIP

    `folder` is a name: nothing is written there. Each field turns one thing wrong; all may change between
    two calls. Report data are the process's, as in Gramine: what is written last goes into the next quote.
    """

    folder: Path = Path("/dev/attestation")
    machine: FakeSgx = field(default_factory=FakeSgx)
    attestation_type: bytes = b"dcap"  # sgx.remote_attestation of the manifest
    direct: bool = False  # gramine-direct: the folder is there, without these files
    errors: Mapping[str, int] = field(default_factory=dict)  # errno of opening or writing, by file
    raced: int = 0  # so many quotes to come are made after another thread has written its own report data
    taken: int | None = None  # bytes that a write takes instead of all
    edit_quote: Callable[[bytes], bytes] | None = None
    seconds: float = 0  # that a quote takes
    hang: threading.Event | None = None  # a quote waits until it is set

    written: list[bytes] = field(default_factory=list)  # all report data, in order
    quotes: int = 0
    _report_data: bytes = bytes(REPORT_DATA_BYTES)

    def read(self, path: Path, max_bytes: int) -> bytes:
        """Open a file and read it to its end, or to `max_bytes`."""
        content = {"attestation_type": lambda: self.attestation_type, "quote": self._quote}
        return content[self._opened(path)]()[:max_bytes]

    def write(self, path: Path, data: bytes) -> int:
        """Write once: Gramine pads what is short with zeros, and leaves out what is too much."""
        if self._opened(path) != "user_report_data":
            raise _failure(errno.EACCES)
        self.written.append(data)
        self._report_data = data[:REPORT_DATA_BYTES].ljust(REPORT_DATA_BYTES, b"\0")
        return len(data) if self.taken is None else self.taken

    def _opened(self, path: Path) -> str:
        there = {"attestation_type", "user_report_data"}
        if self.attestation_type != b"none":
            there.add("quote")
        if self.direct or path.parent != self.folder or path.name not in there:
            raise _failure(errno.ENOENT)
        if path.name in self.errors:
            raise _failure(self.errors[path.name])
        return path.name

    def _quote(self) -> bytes:
        self.quotes += 1
        time.sleep(self.seconds)
        if self.hang is not None:
            self.hang.wait()
        if self.raced:
            self.raced -= 1
            self._report_data = b"another thread".ljust(REPORT_DATA_BYTES, b"\0")
        quote = self.machine.evidence(self._report_data).value
        return quote if self.edit_quote is None else self.edit_quote(quote)


def _failure(number: int) -> OSError:
    return OSError(number, os.strerror(number))
