"""The bytes of one model on their way into the engine, in memory that goes back to the system piece by piece.

A `bytes` object of gigabytes is held until its last reader has gone, and lists of chunks become one by being
copied. This is one private mapping: it is filled in place, it grows without being copied, and the engine,
which keeps the model in a form of its own, empties it while it reads.
"""

from __future__ import annotations

import contextlib
import mmap
from collections.abc import Iterator
from typing import Final

DRAIN_BYTES: Final = 2 * 1024 * 1024  # a multiple of every page size, huge pages included

# In no core dump, and not in the memory of a child process. Advice: not every system knows it.
_ADVICE = ("MADV_DONTDUMP", "MADV_DONTFORK")


class ModelBytes:
    """A model's bytes. Not for several threads at once.

    Memory follows what has been written: room that is only allocated costs none.
    """

    def __init__(self, size_bytes: int) -> None:
        self._mapping = _mapping(size_bytes)
        self._size = size_bytes

    @classmethod
    def allocate(cls, size_bytes: int) -> ModelBytes:
        """Return `size_bytes` zeros, to be filled through `view`; or nothing, to be filled by `append`."""
        return cls(size_bytes)

    @property
    def size_bytes(self) -> int:
        return self._size

    @property
    def view(self) -> memoryview:
        """All of the bytes, writable. Let go of it before `append`, which may move them."""
        return memoryview(self._mapping)[: self._size]

    def append(self, data: bytes | bytearray | memoryview) -> None:
        """Add bytes at the end."""
        end = self._size + len(data)
        if end > len(self._mapping):
            self._grow(end + end // 2)
        self._mapping[self._size : end] = data
        self._size = end

    def drain(self) -> Iterator[memoryview]:
        """Yield the bytes in pieces; each is gone, and its memory free, when the next is asked for."""
        view = self.view.toreadonly()
        for start in range(0, self._size, DRAIN_BYTES):
            yield view[start : start + DRAIN_BYTES]
            self._free(start, DRAIN_BYTES)

    def close(self) -> None:
        """Free the memory, also that of views that somebody still holds: they read zeros from here on."""
        if self._mapping.closed:
            return
        self._free(0, len(self._mapping))
        with contextlib.suppress(BufferError):  # a view is held: the empty room ends with it
            self._mapping.close()

    def __len__(self) -> int:
        return self._size

    def __repr__(self) -> str:
        return f"<ModelBytes of {self._size} bytes>"

    def _grow(self, room: int) -> None:
        try:
            self._mapping.resize(_whole_pages(room))
        except (OSError, SystemError):  # no mremap here, as in some enclaves: then it takes a copy
            grown = _mapping(room)
            with memoryview(self._mapping) as view:
                grown[: self._size] = view[: self._size]
            self._mapping.close()
            self._mapping = grown

    def _free(self, start: int, length: int) -> None:
        self._mapping.madvise(mmap.MADV_DONTNEED, start, min(length, len(self._mapping) - start))


def _mapping(size_bytes: int) -> mmap.mmap:
    # Private: the pages of a shared mapping stay until all of it is closed.
    room = mmap.mmap(-1, _whole_pages(size_bytes), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for name in _ADVICE:
        with contextlib.suppress(AttributeError, OSError):
            room.madvise(getattr(mmap, name))
    return room


def _whole_pages(size_bytes: int) -> int:
    return max(1, -(-size_bytes // mmap.PAGESIZE)) * mmap.PAGESIZE
