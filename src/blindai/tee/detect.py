"""What TEE does this machine have? Looks for the interfaces through which evidence is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from blindai.errors import UsageError


@dataclass(frozen=True)
class Interface:
    """One way to ask for evidence: the paths (relative to the root) that all have to exist."""

    tee: str
    what: str
    paths: tuple[str, ...]


INTERFACES = (
    Interface(
        "sgx", "Gramine's attestation files", ("dev/attestation/quote", "dev/attestation/user_report_data")
    ),
    Interface("tsm", "the kernel's configfs-tsm reports", ("sys/kernel/config/tsm/report",)),
    Interface("tdx", "the TDX guest device", ("dev/tdx_guest",)),
    Interface("sev-snp", "the SEV guest device", ("dev/sev-guest",)),
    Interface("nitro", "the Nitro security module", ("dev/nsm",)),
)


@dataclass(frozen=True)
class Detection:
    """What was looked for below `root`, and what of it is there."""

    root: Path
    looked_for: tuple[Interface, ...]
    found: tuple[Interface, ...]

    def describe(self) -> str:
        """Return one line per interface, each with its paths and whether it is there."""
        return "\n".join(
            f"  {'found' if interface in self.found else 'absent':7}"
            f"{' and '.join(str(self.root / path) for path in interface.paths)} ({interface.what})"
            for interface in self.looked_for
        )


def detect(root: Path = Path("/")) -> Detection:
    """Look for every known interface below `root`. Nothing is opened, nothing is asked for."""
    found = tuple(
        interface for interface in INTERFACES if all((root / path).exists() for path in interface.paths)
    )
    return Detection(root, INTERFACES, found)


def no_attester(detection: Detection) -> UsageError:
    """Return the error to raise where no evidence can be produced without simulation."""
    what = (
        "this version cannot ask it for evidence yet"
        if detection.found
        else "no trusted execution environment was found"
    )
    return UsageError(
        f"{what}; looked for:\n{detection.describe()}",
        hint="start with --simulation to try BlindAI without the protection of hardware",
    )
