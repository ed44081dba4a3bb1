"""Reading little-endian fields one after the other, never past the end."""

from __future__ import annotations

from collections.abc import Callable


class Reader:
    """Takes bytes off the front; `refuse` makes the error for what is truncated."""

    def __init__(self, data: bytes, refuse: Callable[[str], Exception]) -> None:
        self._data = data
        self._refuse = refuse
        self.offset = 0

    def take(self, count: int) -> bytes:
        end = self.offset + count
        if end > len(self._data):
            raise self._refuse("it is truncated")
        piece = self._data[self.offset : end]
        self.offset = end
        return piece

    def u16(self) -> int:
        return int.from_bytes(self.take(2), "little")

    def u32(self) -> int:
        return int.from_bytes(self.take(4), "little")
