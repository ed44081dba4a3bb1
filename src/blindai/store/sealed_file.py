"""Sealed files of a folder: one that is being made, and one that is being read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Self

from blindai.errors import StoreError, StoreFault
from blindai.store.folder import Folder, OpenFile
from blindai.store.seal import SALT_BYTES, Buffer, Key, Opener, Place, Sealer

Random = Callable[[int], bytes]
NEW_SUFFIX = ".new"  # unfinished: whatever bears it is removed when the store is opened


class NewFile:
    """A file in the making, under a name that means nothing until `put`. A failure removes it."""

    def __init__(self, folder: Folder, key: Key, place: Place, random: Random) -> None:
        self.place = place
        self.name = random(16).hex() + NEW_SUFFIX
        self._folder = folder
        self.settled = False  # put in place or removed
        self._file: OpenFile | None = folder.create(self.name)
        self._sealer = Sealer(key, place, random(SALT_BYTES), self._write_at)

    def write(self, data: Buffer) -> None:
        with self._removed_on_failure():
            self._sealer.write(data)

    def finish(self) -> None:
        """Seal the end and sync: the whole file is on the disk, though nothing refers to it yet."""
        with self._removed_on_failure():
            self._sealer.finish()
            self._folder.sync_file(self._opened())
            self._close()

    def put(self) -> None:
        """Give the file its name, in the place of what bears it. Lasts once the folder was synced."""
        if self.settled:
            raise StoreError(StoreFault.UNAVAILABLE, f"{self.name} was put in place or removed before")
        with self._removed_on_failure():
            self._folder.rename(self.name, self.place.name)
        self.settled = True

    def discard(self) -> None:
        """Remove the file unless it was put in place, as far as the disk lets us: what is left is removed
        at the next opening."""
        if self.settled:
            return
        self.settled = True
        with suppress(StoreError):
            self._close()
        with suppress(StoreError):
            self._folder.unlink(self.name)

    def _write_at(self, data: Buffer, offset: int) -> None:
        self._folder.write_at(self._opened(), data, offset)

    def _opened(self) -> OpenFile:
        if self._file is None:
            raise StoreError(StoreFault.UNAVAILABLE, f"{self.name} was finished or removed before")
        return self._file

    def _close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            self._folder.close_file(file)

    @contextmanager
    def _removed_on_failure(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self.discard()
            raise


class Blob:
    """The bytes of a sealed file, opened chunk by chunk. Its header was checked; each chunk is when read."""

    def __init__(
        self,
        folder: Folder,
        name: str,
        keys: Iterable[Key],
        place: Place,
        *,
        unknown: StoreFault = StoreFault.FOREIGN,
    ) -> None:
        self._folder = folder
        self._file: OpenFile | None = folder.open_file(name)
        try:
            self._opener = Opener(self, keys, place, unknown=unknown)
        except BaseException:
            self.close()
            raise
        self.key = self._opener.key
        self.size_bytes = self._opener.size_bytes

    def readinto(self, buffer: memoryview) -> int:
        """Fill `buffer`, or as much of it as there is; 0 at the end. Raises StoreError."""
        return self._opener.readinto(buffer)

    def pieces(self, size: int) -> Iterator[memoryview]:
        """Yield what is left in pieces of `size`, all in the same memory."""
        buffer = memoryview(bytearray(size))
        while count := self.readinto(buffer):
            yield buffer[:count]

    def close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with suppress(StoreError):  # nothing was written
                self._folder.close_file(file)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # What the opener reads from.

    @property
    def size(self) -> int:
        return self._folder.size(self._opened())

    def read_at(self, buffer: memoryview, offset: int) -> int:
        return self._folder.read_at(self._opened(), buffer, offset)

    def _opened(self) -> OpenFile:
        if self._file is None:
            raise StoreError(StoreFault.UNAVAILABLE, "a file of the store was closed before it was read")
        return self._file
