"""The packages that a server needs beside a client's. None is imported: onnxruntime would phone home."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable

from blindai.server.doctor.report import Check, Status

REQUIRED = ("httptools", "joserfc", "onnxruntime", "prometheus-client", "uvicorn")
OPTIONAL = ("uvloop",)
_INSTALL = "install this package again with its [server] extra"


def installed_version(package: str) -> str | None:
    """Return the version of an installed package, None if it is not."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def checks(version_of: Callable[[str], str | None]) -> tuple[Check, ...]:
    """Return which are installed."""
    return (
        *(_package(name, version_of(name), Status.FAILED) for name in REQUIRED),
        *(_package(name, version_of(name), Status.MISSING) for name in OPTIONAL),
    )


def _package(name: str, version: str | None, otherwise: Status) -> Check:
    if version is not None:
        return Check(name, Status.OK, version)
    slower = "; a server runs without it, more slowly" if otherwise is Status.MISSING else ""
    return Check(name, otherwise, f"not installed{slower}", _INSTALL)
