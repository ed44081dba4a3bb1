"""Numbers and sized buffers as the TPM writes them: big-endian, a length of two bytes in front."""

from __future__ import annotations

from blindai.errors import StoreError, StoreFault


def u8(number: int) -> bytes:
    return number.to_bytes(1, "big")


def u16(number: int) -> bytes:
    return number.to_bytes(2, "big")


def u32(number: int) -> bytes:
    return number.to_bytes(4, "big")


def sized(data: bytes) -> bytes:
    return u16(len(data)) + data


class Reader:
    """Takes bytes off the front; StoreError where there are too few, or some left at the end."""

    def __init__(
        self, data: bytes, *, fault: StoreFault = StoreFault.UNAVAILABLE, what: str = "the TPM's answer"
    ) -> None:
        self._data = data
        self._at = 0
        self._fault = fault
        self._what = what

    def take(self, size: int) -> bytes:
        taken = self._data[self._at : self._at + size]
        if len(taken) != size:
            raise self.error("is cut short")
        self._at += size
        return taken

    def u16(self) -> int:
        return int.from_bytes(self.take(2), "big")

    def u32(self) -> int:
        return int.from_bytes(self.take(4), "big")

    def sized(self, limit: int) -> bytes:
        size = self.u16()
        if size > limit:
            raise self.error("has a part that is too long")
        return self.take(size)

    def finish(self) -> None:
        if self._at != len(self._data):
            raise self.error("has bytes left over")

    def error(self, fault: str) -> StoreError:
        """Return the error to raise for what is wrong with these bytes."""
        return StoreError(self._fault, f"{self._what} {fault}")
