"""The kernel's configfs-tsm (Documentation/ABI/testing/configfs-tsm-report), and what its errors mean.

An entry is a folder: made with mkdir, filled with attributes by the kernel, gone with rmdir.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from blindai.errors import TeeError, TeeFault

FOLDER = Path("/sys/kernel/config/tsm/report")


class TsmReports(Protocol):
    """What is done to the kernel's report entries. Raises OSError."""

    def make(self, entry: str) -> None:
        """Make an entry. The kernel gives it its attributes."""

    def write(self, entry: str, attribute: str, value: bytes) -> int:
        """Hand `value` over in one write, and return how many bytes were taken. Creates no file."""

    def read(self, entry: str, attribute: str, max_bytes: int) -> bytes:
        """Open the attribute once and return what it holds, `max_bytes` of it at most."""

    def remove(self, entry: str) -> None:
        """Remove an entry and its attributes."""


@dataclass(frozen=True)
class ConfigfsReports:
    """The entries below `folder`, where configfs shows them."""

    folder: Path = FOLDER

    def make(self, entry: str) -> None:
        (self.folder / entry).mkdir()

    def write(self, entry: str, attribute: str, value: bytes) -> int:
        # The kernel takes what was written when the file is closed, and says nothing of an error then: that
        # an input was not taken is seen by the generation, and by the report.
        descriptor = os.open(self.folder / entry / attribute, os.O_WRONLY | os.O_CLOEXEC)
        try:
            return os.write(descriptor, value)
        finally:
            os.close(descriptor)

    def read(self, entry: str, attribute: str, max_bytes: int) -> bytes:
        # The first read makes the report, and takes as long as that takes.
        with (self.folder / entry / attribute).open("rb") as file:
            return file.read(max_bytes)

    def remove(self, entry: str) -> None:
        (self.folder / entry).rmdir()


@contextmanager
def making() -> Iterator[None]:
    """Turn the OSError of `make` into a TeeError."""
    try:
        yield
    except OSError as exc:
        fault, message, hint = _MAKING.get(exc.errno or 0, _make_failed(exc))
        raise TeeError(fault, message, hint=hint) from exc


@contextmanager
def using(what: str) -> Iterator[None]:
    """Turn the OSError of a step on an attribute into a TeeError."""
    try:
        yield
    except OSError as exc:
        fault, hint = _USING.get(exc.errno or 0, (TeeFault.FAILED, _DMESG))
        raise TeeError(fault, f"the kernel did not {what}: {exc.strerror}", hint=hint) from exc


NOT_THE_KERNELS = f"is configfs mounted? What is at {FOLDER} does not behave like the kernel's"
_DMESG = "the kernel's log (dmesg) may say more"
_DRIVER = (
    "modprobe tdx_guest, or sev-guest, in a guest of that kind; on any other machine there is none to load"
)
_RIGHTS = (
    "root may use it, or whom the folder was handed to; a container needs /sys/kernel/config mounted writable"
)
_HOST = (
    "on TDX the host's quoting service (QGS) has to run and be reachable from this machine; on SEV-SNP dmesg "
    "says more"
)
_NEEDS = (
    "a TDX or SEV-SNP guest needs Linux 6.7 or newer, mount -t configfs none /sys/kernel/config, and modprobe"
    " tdx_guest or sev-guest"
)
_NO_TREE = (
    TeeFault.ABSENT,
    f"there is no {FOLDER}",
    _NEEDS,
)
_NO_PROVIDER = (
    TeeFault.NOT_CONFIGURED,
    f"{FOLDER} is there, and no TEE's driver behind it",
    _DRIVER,
)
_FORBIDDEN = (TeeFault.NOT_ALLOWED, f"this process may not make an entry in {FOLDER}", _RIGHTS)
_MAKING = {
    errno.ENOENT: _NO_TREE,
    errno.ENOTDIR: _NO_TREE,
    errno.ENXIO: _NO_PROVIDER,
    errno.ENODEV: _NO_PROVIDER,
    errno.EACCES: _FORBIDDEN,
    errno.EPERM: _FORBIDDEN,
    errno.EROFS: _FORBIDDEN,
    errno.EBUSY: (TeeFault.BUSY, f"{FOLDER} is busy", "others use it: the next try may work"),
}


def _make_failed(exc: OSError) -> tuple[TeeFault, str, str]:
    return TeeFault.FAILED, f"no entry could be made in {FOLDER}: {exc.strerror}", _DMESG


_USING = {
    # mkdir worked and the kernel put nothing inside: a plain folder in the place of configfs.
    errno.ENOENT: (TeeFault.NOT_CONFIGURED, NOT_THE_KERNELS),
    errno.EACCES: (TeeFault.NOT_ALLOWED, _RIGHTS),
    errno.EPERM: (TeeFault.NOT_ALLOWED, _RIGHTS),
    errno.EBUSY: (TeeFault.BUSY, "another request is under way: the next try may work"),
    errno.EAGAIN: (TeeFault.BUSY, "another request is under way: the next try may work"),
    errno.EINVAL: (TeeFault.REFUSED, _DMESG),
    errno.EFBIG: (TeeFault.TOO_LARGE, "the report is larger than this kernel takes: a newer one may take it"),
    errno.ETIMEDOUT: (TeeFault.TIMEOUT, _HOST),
    errno.EIO: (TeeFault.FAILED, _HOST),
}
