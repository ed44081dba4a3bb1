"""The kernel, as far as the way to evidence leads through it."""

from __future__ import annotations

import re
from pathlib import Path

from blindai.server.doctor import seen
from blindai.server.doctor.gramine import NOT_APPLICABLE
from blindai.server.doctor.report import Check, Status

_TSM_SINCE = (6, 7)
_MODULES = ("tsm", "tsm_report", "tdx_guest", "sev_guest", "nsm")
_LOAD = "in a guest of that kind: modprobe tdx_guest, modprobe sev-guest or modprobe nsm"


def checks(root: Path, *, enclave: bool) -> tuple[Check, ...]:
    """Return version, configfs and modules of the kernel below `root`."""
    if enclave:
        return (Check("version", Status.OK, f"{NOT_APPLICABLE}, and makes its version up"),)
    return (_version(root), _configfs(root), _modules(root))


def _version(root: Path) -> Check:
    release = seen.text(root / "proc/sys/kernel/osrelease").strip()
    numbers = re.match(r"(\d{1,4})\.(\d{1,4})", release)
    if numbers is None:
        return Check("version", Status.WARNING, "the kernel does not say its version")
    found = f"Linux {numbers[0]}"
    if (int(numbers[1]), int(numbers[2])) < _TSM_SINCE:
        return Check(
            "version",
            Status.WARNING,
            f"{found}: before 6.7 there is no configfs-tsm, and so no evidence of TDX",
            "boot Linux 6.7 or newer",
        )
    return Check("version", Status.OK, found)


def _configfs(root: Path) -> Check:
    for line in seen.text(root / "proc/mounts").splitlines():
        fields = line.split()
        if len(fields) >= 3 and fields[1:3] == ["/sys/kernel/config", "configfs"]:
            return Check("configfs", Status.OK, "mounted")
    return Check(
        "configfs",
        Status.MISSING,
        "not mounted: TDX and SEV-SNP give evidence through it",
        "in a guest of that kind: mount -t configfs none /sys/kernel/config",
    )


def _modules(root: Path) -> Check:
    found = [name for name in _MODULES if seen.is_there(root / "sys/module" / name)]
    if not found:
        return Check("modules", Status.MISSING, "none that leads to evidence", _LOAD)
    return Check("modules", Status.OK, ", ".join(found))
