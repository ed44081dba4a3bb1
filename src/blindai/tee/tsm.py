"""Evidence of a TDX or SEV-SNP guest through the kernel's configfs-tsm (Linux 6.7 and newer).

For each request, in an entry of its own:

1. `generation` counts what is written into the entry
2. `provider` says whose TEE it is
3. `privlevel`, where there is one, then the report data into `inblob`, in one write
4. `outblob` makes the report; `auxblob`, where there is one, has what the host put beside it
5. `generation` again: more than our own writes means that someone else's went into the report
"""

from __future__ import annotations

import errno
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from blindai.attestation.types import MAX_EVIDENCE_BYTES, SNP_REPORT, TDX_QUOTE, Evidence
from blindai.errors import TeeError, TeeFault
from blindai.tee import readable
from blindai.tee.probe import Finding, Presence
from blindai.tee.tsm_reports import NOT_THE_KERNELS, making, using
from blindai.tee.tsm_reports import ConfigfsReports as ConfigfsReports
from blindai.tee.tsm_reports import TsmReports as TsmReports

INTERFACE = "configfs-tsm"
# Seconds between one try and the next, where others came between or the kernel was busy.
_PAUSES = (0.02, 0.1, 0.5)
_AGAIN = (TeeFault.BUSY, TeeFault.RACED)
_MAX_TEXT_BYTES = 64
_MAX_CERTIFICATES_BYTES = 64 * 1024
# Entries that could not be removed are tried again, so many of them.
_MAX_LEFT = 16


@dataclass(frozen=True)
class _Provider:
    tee: str
    media_type: str
    read: Callable[[bytes], tuple[bytes, bytes]]


_PROVIDERS = {
    b"tdx_guest": _Provider("tdx", TDX_QUOTE, readable.tdx_quote),
    b"sev_guest": _Provider("sev-snp", SNP_REPORT, readable.snp_report),
}
_CONFIGFS = ConfigfsReports()


class Tsm:
    """The guest around this process (an Attester, and Certified). Calls come from one thread."""

    interface = INTERFACE
    simulated = False

    def __init__(
        self, reports: TsmReports = _CONFIGFS, *, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._reports = reports
        self._sleep = sleep
        self._tee = ""
        self._certificates = b""
        self._left: list[str] = []

    @property
    def tee(self) -> str:
        """The TEE's name in policies. The first time, the kernel is asked. Raises TeeError."""
        if not self._tee:
            with self._entry() as entry:
                self._tee = entry.provider().tee
        return self._tee

    @property
    def certificates(self) -> bytes:
        """The certificate table that came with the newest report, unverified; b"" if none did."""
        return self._certificates

    def evidence(self, report_data: bytes) -> Evidence:
        """Return a quote or report that carries these 64 bytes. Raises TeeError."""
        readable.check_report_data(report_data)
        for pause in _PAUSES:
            try:
                return self._asked(report_data)
            except TeeError as exc:
                if exc.fault not in _AGAIN:
                    raise
            self._sleep(pause)
        return self._asked(report_data)

    def probe(self) -> Finding:
        """Ask for a report, and say what came of it: an entry that can be made proves nothing yet."""
        try:
            evidence = self.evidence(bytes(readable.REPORT_DATA_BYTES))
        except TeeError as exc:
            presence = Presence.ABSENT if exc.fault is TeeFault.ABSENT else Presence.BROKEN
            return Finding(INTERFACE, self._tee, presence, exc.what, exc.hint)
        what = "quote" if evidence.media_type == TDX_QUOTE else "report"
        seen = f"the kernel gave a {what} of {len(evidence.value)} bytes"
        return Finding(INTERFACE, self._tee, Presence.WORKS, seen)

    def _asked(self, report_data: bytes) -> Evidence:
        with self._entry() as entry:
            start = entry.number("generation")
            provider = entry.provider()
            self._tee = provider.tee
            entry.put_privilege_level()
            entry.put("inblob", report_data)
            given = entry.get("outblob", MAX_EVIDENCE_BYTES)
            certificates = entry.certificates()
            if entry.number("generation") != start + entry.writes:
                raise _raced()
        value, carried = provider.read(given)
        # Whoever removes an entry and makes another of the same name starts its count anew.
        if carried != report_data:
            raise _raced()
        self._certificates = certificates
        return Evidence(provider.media_type, value)

    @contextmanager
    def _entry(self) -> Iterator[_Entry]:
        """An entry under a name that nobody else has; removed, whatever happens."""
        name = f"blindai-{uuid.uuid4().hex}"
        with making():
            self._reports.make(name)
        try:
            yield _Entry(self._reports, name)
        finally:
            self._left = [left for left in (*self._left, name) if not self._removed(left)][-_MAX_LEFT:]

    def _removed(self, name: str) -> bool:
        # What was asked for is not lost because the folder stays: it is tried again with the next one's.
        try:
            self._reports.remove(name)
        except OSError as exc:
            return exc.errno == errno.ENOENT
        return True


class _Entry:
    """One entry, and how many writes went into it."""

    def __init__(self, reports: TsmReports, name: str) -> None:
        self._reports = reports
        self._name = name
        self.writes = 0

    def get(self, attribute: str, max_bytes: int) -> bytes:
        with using(f"show {attribute}"):
            content = self._reports.read(self._name, attribute, max_bytes + 1)
        if len(content) > max_bytes:
            raise TeeError(
                TeeFault.TOO_LARGE,
                f"the kernel's {attribute} has more than {max_bytes} bytes",
                hint=NOT_THE_KERNELS,
            )
        return content

    def put(self, attribute: str, value: bytes) -> None:
        with using(f"take {attribute}"):
            taken = self._reports.write(self._name, attribute, value)
        # The rest in a second write would be another input, in the place of the first.
        if taken != len(value):
            raise TeeError(
                TeeFault.FAILED,
                f"the kernel took {taken} of {len(value)} bytes of {attribute}",
                hint=NOT_THE_KERNELS,
            )
        self.writes += 1

    def number(self, attribute: str) -> int:
        text = self.get(attribute, _MAX_TEXT_BYTES).strip()
        if not text.isdigit():
            raise TeeError(
                TeeFault.MALFORMED, f"the kernel's {attribute} is not a number", hint=NOT_THE_KERNELS
            )
        return int(text)

    def provider(self) -> _Provider:
        provider = _PROVIDERS.get(self.get("provider", _MAX_TEXT_BYTES).strip())
        if provider is None:
            raise TeeError(
                TeeFault.UNSUPPORTED,
                "the kernel's reports come from a TEE that this version does not know",
                hint="it knows tdx_guest and sev_guest",
            )
        return provider

    def put_privilege_level(self) -> None:
        """Ask for the most privileged level (VMPL) that the guest may have: others could not vouch for it."""
        try:
            floor = self.number("privlevel_floor")
        except TeeError as exc:
            if isinstance(exc.__cause__, FileNotFoundError):
                return  # a TEE without such levels
            raise
        self.put("privlevel", b"%d" % max(0, floor))

    def certificates(self) -> bytes:
        # Hints: a report without them is as good as one with them, and they can be had elsewhere.
        with suppress(OSError):
            content = self._reports.read(self._name, "auxblob", _MAX_CERTIFICATES_BYTES + 1)
            return content if len(content) <= _MAX_CERTIFICATES_BYTES else b""
        return b""


def _raced() -> TeeError:
    return TeeError(
        TeeFault.RACED,
        "another process wrote into our entry, each time",
        hint="something that may use configfs-tsm writes into entries that are not its own: stop it",
    )
