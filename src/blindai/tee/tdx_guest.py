"""/dev/tdx_guest: a sign of a TDX guest, and no way to evidence.

Its reports are authenticated by a key of this one processor; what others can verify, a quote, comes through
configfs-tsm.
"""

from __future__ import annotations

from pathlib import Path

from blindai.attestation.types import Evidence
from blindai.errors import TeeError, TeeFault
from blindai.tee.probe import Finding, Presence

INTERFACE = "tdx-guest"
_NO_QUOTES = "it gives reports that only this machine can check: evidence needs configfs-tsm"
_HINT = (
    "use Linux 6.7 or newer; modprobe tdx_guest (it brings in tsm); "
    "mount -t configfs none /sys/kernel/config; then {reports} appears"
)


class TdxGuest:
    """The device of kernels before 6.7, beside configfs-tsm from then on. Never an attester that works."""

    interface = INTERFACE
    tee = "tdx"
    simulated = False

    def __init__(
        self,
        device: Path = Path("/dev/tdx_guest"),
        reports: Path = Path("/sys/kernel/config/tsm/report"),
    ) -> None:
        self._device = device
        self._reports = reports

    def probe(self) -> Finding:
        """Say what stands between this machine and evidence, if the device is all there is."""
        if not _is_there(self._device):
            return Finding(INTERFACE, "", Presence.ABSENT, f"there is no {self._device}")
        if _is_there(self._reports):
            return Finding(
                INTERFACE, "tdx", Presence.ABSENT, f"not needed: {self._reports} is the way to evidence"
            )
        return Finding(
            INTERFACE,
            "tdx",
            Presence.BROKEN,
            f"{self._device} is there, alone: {_NO_QUOTES}",
            _HINT.format(reports=self._reports),
        )

    def evidence(self, report_data: bytes) -> Evidence:
        """Raise TeeError."""
        del report_data
        raise TeeError(TeeFault.UNSUPPORTED, f"{self._device} gives no evidence: {_NO_QUOTES}")


def _is_there(path: Path) -> bool:
    """Return whether it is, also where this process may not look."""
    try:
        path.stat()
    except OSError as exc:
        return not isinstance(exc, FileNotFoundError | NotADirectoryError)
    return True
