"""Which TEE is here, through which interface, and what stands in the way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from blindai.server.doctor import seen
from blindai.server.doctor.report import Check, Status
from blindai.tee.detect import Detection
from blindai.tee.probe import Finding, Presence

_CPU_FLAGS = ("sgx", "sev", "sev_es", "sev_snp", "tdx_guest", "tdx_host_platform")
_START = (
    "start the server in a guest of a TDX or SEV-SNP host, in an SGX enclave made by Gramine, or in a Nitro "
    "enclave; --simulation tries it without protection"
)
_MEND = "see the hints below; --simulation tries it without protection"


def checks(detection: Detection, root: Path) -> tuple[Check, ...]:
    """Return what works, then each interface, then what people take for a sign of a TEE."""
    interfaces = (_interface(finding, detection) for finding in detection.findings)
    return (_which(detection), *interfaces, *_proves_nothing(root))


def _which(detection: Detection) -> Check:
    if detection.attester is not None:
        return Check("evidence", Status.OK, f"{detection.found[0].tee}, through {detection.interface}")
    if any(finding.presence is Presence.BROKEN for finding in detection.findings):
        return Check("evidence", Status.MISSING, "a TEE seems to be here, and gives no evidence", _MEND)
    return Check("evidence", Status.MISSING, "no TEE works here", _START)


def _interface(finding: Finding, detection: Detection) -> Check:
    match finding.presence:
        case Presence.WORKS:
            # It works, and still has something to mend: a debug enclave, which no policy accepts.
            status = Status.WARNING if finding.hint else Status.OK
        case Presence.BROKEN:
            status = Status.WARNING if detection.attester is not None else Status.FAILED
        case Presence.ABSENT:
            status = Status.MISSING
    hint = "" if finding.presence is Presence.ABSENT else finding.hint
    return Check(finding.interface, status, finding.seen, hint)


def _proves_nothing(root: Path) -> Iterator[Check]:
    """Name what is here and says nothing about memory being protected: people look for it first."""
    if seen.is_there(root / "dev/kvm"):
        yield _nothing("/dev/kvm", "it runs other machines; it protects none, and not this one")
    folder = root / "dev/attestation"
    if seen.is_there(folder) and not seen.is_there(folder / "attestation_type"):
        yield _nothing("/dev/attestation", "the folder is there without what an enclave's has")
    flags = [flag for flag in _CPU_FLAGS if flag in _cpu_flags(root)]
    if flags:
        yield _nothing("CPU flags", f"{', '.join(flags)}: what a processor could do, in the host's words")
    if seen.is_there(root / "sys/class/dmi/id/sys_vendor"):
        yield _nothing("DMI strings", "whoever runs this machine writes them")


def _nothing(name: str, why: str) -> Check:
    return Check(name, Status.OK, f"proves nothing: {why}")


def _cpu_flags(root: Path) -> frozenset[str]:
    lines = seen.text(root / "proc/cpuinfo").splitlines()
    line = next((line for line in lines if line.startswith("flags")), "")
    return frozenset(line.partition(":")[2].split())
