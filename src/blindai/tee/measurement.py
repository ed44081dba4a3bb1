"""What a simulated machine measures: the sources of this package, and labels for what it does not have.

The hash covers what the disk holds when it is computed. It proves nothing by itself: not what an already
running interpreter loaded, not its dependencies, not byte code that someone planted in a cache folder. A
real TEE measures the whole image instead.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from blindai.attestation.trust import SIMULATION_MARK
from blindai.errors import UsageError

DIGEST_BYTES = 48
SOURCE_LABEL = b"blindai-source-v1\0"
SIMULATION_LABEL = f"{SIMULATION_MARK}: ".encode("ascii")
_CACHE_FOLDER = "__pycache__"


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
    """Return what the simulated machine measures when it runs the sources with this hash."""
    return Measurements(
        mrtd=_labelled(b"firmware"),
        rtmr0=_labelled(b"configuration"),
        rtmr1=_labelled(b"kernel"),
        rtmr2=_labelled(b"sources " + bytes.fromhex(source_sha256)),
        rtmr3=bytes(DIGEST_BYTES),
    )


def policy_toml(measurements: Measurements) -> str:
    """Return the text of a policy that accepts exactly these simulated measurements."""
    return (
        f"# {SIMULATION_MARK}: measurements of simulated hardware. They say which sources of blindai\n"
        "# a server runs, as that server tells it; no hardware vouches for them.\n"
        "version = 1\n"
        "\n"
        "[[accept]]\n"
        'tee = "tdx"\n'
        f'mrtd = "{measurements.mrtd.hex()}"\n'
        f'rtmr1 = "{measurements.rtmr1.hex()}"\n'
        f'rtmr2 = "{measurements.rtmr2.hex()}"\n'
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
