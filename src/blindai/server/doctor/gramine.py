"""Is Gramine the kernel of this process? Then what is asked of a kernel means little, and a child is none."""

from __future__ import annotations

from pathlib import Path

from blindai.server.doctor.seen import is_there

NOT_APPLICABLE = "not applicable: Gramine is the kernel here"
# gramine-direct, which has no enclave, shows the last alone.
_ITS_FILES = ("user_report_data", "attestation_type", "keys")


def is_gramine(root: Path) -> bool:
    """Return whether Gramine's own files are there. The folder alone proves nothing: anybody can make it."""
    return any(is_there(root / "dev/attestation" / name) for name in _ITS_FILES)
