"""The folder of a sealed store: the only file of the store that touches a disk.

Every operation is a method, so that a test can record them all and replay a crash after each. Nothing is
written in place: a file is made under a new name, synced, and then renamed. Links are never followed.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Self

from blindai.errors import StoreError, StoreFault
from blindai.store.faults import translated

_AHEAD_BYTES = 8 * 1024 * 1024


class OpenFile(NamedTuple):
    """A file of the folder, open for reading or, while it is made, for writing."""

    name: str
    descriptor: int


class Folder:
    """One locked folder. Raises StoreError, and nothing of the operating system's."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    @classmethod
    def open(cls, path: Path) -> Self:
        """Make the folder if it is not there, and lock it for this process (in-use)."""
        with translated("open the store", str(path)):
            _make(path)
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
            try:
                # On the folder, which needs no file to be written: a read-only store is locked too.
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as exc:
                os.close(descriptor)
                raise StoreError(
                    StoreFault.IN_USE,
                    f"another process uses the store {path}",
                    hint="stop that server first, or give each server a store of its own",
                ) from exc
            except BaseException:
                os.close(descriptor)
                raise
        return cls(path, descriptor)

    def close(self) -> None:
        """Unlock. What is asked for afterwards fails, and never meets a folder that reuses the number."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            with suppress(OSError):  # nothing was written to it
                os.close(descriptor)

    def names(self) -> frozenset[str]:
        with translated("list", str(self.path)):
            return frozenset(os.listdir(self._at(str(self.path))))  # noqa: PTH208  no path: a descriptor

    def create(self, name: str) -> OpenFile:
        """Make a file that is not there, for this user alone."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with translated("create", name):
            return OpenFile(name, os.open(name, flags, 0o600, dir_fd=self._at(name)))

    def write_at(self, file: OpenFile, data: bytes | bytearray | memoryview, offset: int) -> None:
        view = memoryview(data)
        with translated("write", file.name):
            while view:
                written = os.pwrite(file.descriptor, view, offset)
                view, offset = view[written:], offset + written

    def sync_file(self, file: OpenFile) -> None:
        with translated("sync", file.name):
            os.fsync(file.descriptor)

    def close_file(self, file: OpenFile) -> None:
        with translated("close", file.name):
            os.close(file.descriptor)

    def rename(self, old: str, new: str) -> None:
        with translated("rename", old):
            os.rename(old, new, src_dir_fd=self._at(old), dst_dir_fd=self._at(new))

    def unlink(self, name: str) -> None:
        with translated("remove", name):
            os.unlink(name, dir_fd=self._at(name))

    def sync(self) -> None:
        """Make what was created, renamed and removed here outlast a power cut."""
        with translated("sync", str(self.path)):
            os.fsync(self._at(str(self.path)))

    def open_file(self, name: str) -> OpenFile:
        """Open a plain file for reading; a link is malformed, and a pipe neither blocks nor is read."""
        with translated("open", name):
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
            file = OpenFile(name, os.open(name, flags, dir_fd=self._at(name)))
            try:
                if not stat.S_ISREG(os.fstat(file.descriptor).st_mode):
                    raise OSError(errno.ELOOP, "not a plain file")
            except BaseException:
                os.close(file.descriptor)
                raise
        return file

    def size(self, file: OpenFile) -> int:
        with translated("read", file.name):
            return os.fstat(file.descriptor).st_size

    def read_at(self, file: OpenFile, buffer: memoryview, offset: int) -> int:
        """Fill `buffer`, or as much of it as the file has from `offset` on."""
        filled = 0
        with translated("read", file.name):
            while filled < len(buffer):
                count = os.preadv(file.descriptor, [buffer[filled:]], offset + filled)
                if not count:
                    break
                filled += count
            # The disk goes on reading while what came is opened: a large model loads twice as fast.
            os.posix_fadvise(file.descriptor, offset + filled, _AHEAD_BYTES, os.POSIX_FADV_WILLNEED)
        return filled

    def _at(self, name: str) -> int:
        if self._descriptor < 0:
            raise StoreError(StoreFault.UNAVAILABLE, f"the store was closed before {name} was reached")
        return self._descriptor


def _make(path: Path) -> None:
    """Make a folder and its missing parents, each known to its parent after a power cut too."""
    if path.is_dir():
        return
    _make(path.parent)
    path.mkdir(mode=0o700, exist_ok=True)
    parent = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(parent)
    finally:
        os.close(parent)
