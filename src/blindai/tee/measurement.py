"""What a simulated machine measures: the sources of this package, and labels for what it does not have.

The hash covers what the disk holds when it is computed. It proves nothing by itself: not what an already
running interpreter loaded, not its dependencies, not byte code that someone planted in a cache folder. A
real TEE measures the whole image instead.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from blindai.attestation.trust import SIMULATION_MARK
from blindai.errors import UsageError

DIGEST_BYTES = 48
SOURCE_LABEL = b"blindai-source-v1\0"
SIMULATION_LABEL = f"{SIMULATION_MARK}: ".encode("ascii")
_CACHE_FOLDER = "__pycache__"
# The simulated SEV-SNP machine, as a genuine one of its age shows itself: a policy has to name its floor.
SNP_PRODUCT = "Milan"
SNP_TCB = {"bootloader": 4, "tee": 0, "snp": 24, "microcode": 219}


@dataclass(frozen=True)
class Measurements:
    """The five measurements of a trust domain, 48 bytes each (Intel's names)."""

    mrtd: bytes
    rtmr0: bytes
    rtmr1: bytes
    rtmr2: bytes
    rtmr3: bytes

    def __post_init__(self) -> None:
        if any(len(value) != DIGEST_BYTES for value in vars(self).values()):
            raise ValueError(f"a measurement has {DIGEST_BYTES} bytes")


@dataclass(frozen=True)
class Launch:
    """The launch measurement of an SEV-SNP guest (48 bytes), and the product and TCB version it runs on."""

    measurement: bytes
    product: str
    tcb: Mapping[str, int]

    def __post_init__(self) -> None:
        if len(self.measurement) != DIGEST_BYTES:
            raise ValueError(f"a measurement has {DIGEST_BYTES} bytes")


def source_sha256(package: Path | None = None) -> str:
    """Return the SHA-256, in hexadecimal, over every file of `package` (default: the imported `blindai`).

    All that an import could read counts, data files too, byte-code caches not. Raises UsageError if `package`
    is not a package folder on disk: the hash of nothing must not pass for a measurement.
    """
    folder = Path(__file__).resolve().parent.parent if package is None else package
    if not (folder / "__init__.py").is_file():
        raise UsageError(f"{folder} is not a package folder that can be measured")
    digest = hashlib.sha256(SOURCE_LABEL)
    for name, path in sorted(_files(folder)):
        for part in (name.encode("utf-8"), path.read_bytes()):
            # Lengths go in first: otherwise bytes could move between a name, a file and its neighbour.
            digest.update(len(part).to_bytes(8, "big"))
            digest.update(part)
    return digest.hexdigest()


def simulated_measurements(source_sha256: str) -> Measurements:
    """Return what the simulated TDX machine measures when it runs the sources with this hash."""
    return Measurements(
        mrtd=_labelled(b"firmware"),
        rtmr0=_labelled(b"configuration"),
        rtmr1=_labelled(b"kernel"),
        rtmr2=_labelled(b"sources " + bytes.fromhex(source_sha256)),
        rtmr3=bytes(DIGEST_BYTES),
    )


def simulated_launch(source_sha256: str) -> Launch:
    """Return what the simulated SEV-SNP machine measures when it launches the sources with this hash."""
    measurement = _labelled(b"SNP launch of sources " + bytes.fromhex(source_sha256))
    return Launch(measurement, SNP_PRODUCT, SNP_TCB)


def policy_toml(measured: Measurements | Launch) -> str:
    """Return the text of a policy that accepts exactly these simulated measurements."""
    entry = _snp_entry(measured) if isinstance(measured, Launch) else _tdx_entry(measured)
    return (
        f"# {SIMULATION_MARK}: measurements of simulated hardware. They say which sources of blindai\n"
        "# a server runs, as that server tells it; no hardware vouches for them.\n"
        "version = 1\n"
        "\n"
        "[[accept]]\n"
        f"{entry}"
    )


def _tdx_entry(measured: Measurements) -> str:
    return (
        'tee = "tdx"\n'
        f'mrtd = "{measured.mrtd.hex()}"\n'
        f'rtmr1 = "{measured.rtmr1.hex()}"\n'
        f'rtmr2 = "{measured.rtmr2.hex()}"\n'
    )


def _snp_entry(measured: Launch) -> str:
    floor = ", ".join(f"{name} = {number}" for name, number in measured.tcb.items())
    return (
        'tee = "sev-snp"\n'
        f'measurement = "{measured.measurement.hex()}"\n'
        'boot = "direct"\n'
        f'product = "{measured.product}"\n'
        f"min_tcb = {{ {floor} }}\n"
    )


def _files(folder: Path) -> list[tuple[str, Path]]:
    """Return (posix path below `folder`, path). Links are followed, as an import would follow them."""
    found = []
    for parent, folders, names in os.walk(folder, followlinks=True, onerror=_unreadable):
        folders[:] = [name for name in folders if name != _CACHE_FOLDER]
        found += [Path(parent, name) for name in names]
    return [(path.relative_to(folder).as_posix(), path) for path in found]


def _unreadable(error: OSError) -> None:
    # os.walk would skip the folder in silence, and with it the code inside.
    raise error


def _labelled(what: bytes) -> bytes:
    return hashlib.sha384(SIMULATION_LABEL + what).digest()
