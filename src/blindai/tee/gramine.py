"""Quotes of an SGX enclave, as Gramine hands them to the code inside ("Attestation and Secret Provisioning").

1. `attestation_type` says how the enclave was configured; there is a `quote` only if that is not "none"
2. what is written into `user_report_data` goes into the next quote
3. opening `quote` makes one: a round trip to Intel's quoting enclave, through the host

The folder proves nothing: gramine-direct, which has no enclave, shows it too.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from blindai.attestation.intel import quote as layout
from blindai.attestation.intel.quote import Quote
from blindai.attestation.types import MAX_EVIDENCE_BYTES, SGX_QUOTE, Evidence
from blindai.errors import EvidenceMalformed, TeeError, TeeFault
from blindai.tee.probe import Finding, Presence

INTERFACE = "gramine"
REPORT_DATA_BYTES = 64
_REPORT_DATA_AT = 48 + 320  # behind the header of a quote, in the enclave's report
_MAX_TYPE_BYTES = 64
_TRIES = 3
_DCAP = 'write sgx.remote_attestation = "dcap" into the manifest, and sign it again'

# Gramine keeps one `user_report_data` for the whole process: between our write and our quote no other thread
# may write. Two objects share the files, so the lock is not theirs.
_turn = threading.Lock()


class AttestationFiles(Protocol):
    """What is done to the files. Raises OSError."""

    def read(self, path: Path, max_bytes: int) -> bytes:
        """Open the file once and return what it holds, `max_bytes` of it at most."""

    def write(self, path: Path, data: bytes) -> int:
        """Hand `data` over in one write, and return how many bytes were taken. Creates no file."""


class GramineFiles:
    """The files that Gramine shows."""

    def read(self, path: Path, max_bytes: int) -> bytes:
        with path.open("rb") as file:
            return file.read(max_bytes)

    def write(self, path: Path, data: bytes) -> int:
        # Gramine takes each write for the whole content: a buffer that splits it would lose the first part.
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            return os.write(descriptor, data)
        finally:
            os.close(descriptor)


@dataclass(frozen=True)
class GramineSgx:
    """The enclave around this process (a `blindai.tee.attester.Attester`). `folder` is Gramine's."""

    folder: Path = Path("/dev/attestation")
    files: AttestationFiles = field(default_factory=GramineFiles)
    interface = INTERFACE
    tee = "sgx"
    simulated = False

    def evidence(self, report_data: bytes) -> Evidence:
        """Return a quote that carries these 64 bytes. Raises TeeError."""
        return Evidence(SGX_QUOTE, self._quote(report_data).signed)

    def probe(self) -> Finding:
        """Ask for a quote, and say what came of it."""
        try:
            quote = self._quote(bytes(REPORT_DATA_BYTES))
        except TeeError as exc:
            presence = Presence.ABSENT if exc.fault is TeeFault.ABSENT else Presence.BROKEN
            return Finding(INTERFACE, self.tee, presence, exc.what, exc.hint)
        seen = f"{self.folder} gave a quote of {len(quote.signed)} bytes"
        if quote.debug:
            return Finding(
                INTERFACE,
                self.tee,
                Presence.WORKS,
                f"{seen}; the enclave is in debug mode",
                "clients refuse it: write sgx.debug = false into the manifest, and sign it again",
            )
        return Finding(INTERFACE, self.tee, Presence.WORKS, seen)

    def _quote(self, report_data: bytes) -> Quote:
        if len(report_data) != REPORT_DATA_BYTES:
            raise ValueError(f"report data have {REPORT_DATA_BYTES} bytes")
        with _turn:
            self._check_type()
            for _ in range(_TRIES):
                self._write(report_data)
                raw = self._read("quote", MAX_EVIDENCE_BYTES)
                if raw[_REPORT_DATA_AT : _REPORT_DATA_AT + REPORT_DATA_BYTES] == report_data:
                    return _parsed(raw)
                _parsed(raw)  # what is no quote at all was not raced
        raise TeeError(
            TeeFault.RACED,
            f"{_TRIES} quotes in a row carried other report data than those asked for",
            hint="something else in this enclave uses Gramine's attestation files: let it stop",
        )

    def _check_type(self) -> None:
        kind = self._read("attestation_type", _MAX_TYPE_BYTES).strip()
        if kind == b"none":
            raise TeeError(TeeFault.NOT_CONFIGURED, "this enclave was built without attestation", hint=_DCAP)
        if kind != b"dcap":
            what = (
                "EPID, which Intel has ended" if kind == b"epid" else "a kind that this version does not know"
            )
            raise TeeError(TeeFault.UNSUPPORTED, f"this enclave attests itself with {what}", hint=_DCAP)

    def _write(self, report_data: bytes) -> None:
        path = self.folder / "user_report_data"
        with _translated(path):
            taken = self.files.write(path, report_data)
        if taken != len(report_data):
            raise TeeError(TeeFault.FAILED, f"{path} took {taken} of {len(report_data)} bytes")

    def _read(self, name: str, max_bytes: int) -> bytes:
        path = self.folder / name
        with _translated(path):
            content = self.files.read(path, max_bytes + 1)
        if len(content) > max_bytes:
            raise TeeError(TeeFault.TOO_LARGE, f"{path} holds more than {max_bytes} bytes")
        return content


def _parsed(raw: bytes) -> Quote:
    try:
        return layout.parse_sgx(raw)
    except EvidenceMalformed as exc:
        raise TeeError(
            TeeFault.MALFORMED,
            "what Gramine gave is not a quote that clients can verify",
            hint="the host's quote provider must give ECDSA quotes that carry the PCK certificate chain",
        ) from exc


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Turn the OSError of a step on `path` into a TeeError."""
    try:
        yield
    except OSError as exc:
        if exc.errno in (errno.ENOENT, errno.ENOTDIR):
            raise TeeError(
                TeeFault.ABSENT,
                f"there is no {path}",
                hint="it exists in an SGX enclave made by Gramine; gramine-direct has no enclave",
            ) from exc
        if exc.errno == errno.EACCES and path.name == "quote":
            # Whatever goes wrong on the way to the quoting enclave, Gramine has this one word for it.
            raise TeeError(
                TeeFault.FAILED,
                "Gramine got no quote from the host",
                hint="aesmd must run on the host, its socket be visible where Gramine was started, and the "
                "quote provider reach a PCCS; Gramine's log says more",
            ) from exc
        fault, hint = _FAULTS.get(exc.errno or 0, (TeeFault.FAILED, "Gramine's log may say more"))
        raise TeeError(fault, f"{path} cannot be used: {exc.strerror}", hint=hint) from exc


_LATER = "the host's quoting service is slow or busy: the next try may work"
_FAULTS = {
    errno.EACCES: (TeeFault.NOT_ALLOWED, "the files belong to the user of loader.uid in the manifest"),
    errno.EPERM: (TeeFault.NOT_ALLOWED, "the files belong to the user of loader.uid in the manifest"),
    errno.EBUSY: (TeeFault.BUSY, _LATER),
    errno.EAGAIN: (TeeFault.BUSY, _LATER),
    errno.ETIMEDOUT: (TeeFault.TIMEOUT, _LATER),
}
