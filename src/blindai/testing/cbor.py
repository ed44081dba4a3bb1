"""A CBOR encoder that can also write what a decoder has to refuse."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Raw:
    """Bytes that are already encoded, well or badly."""

    data: bytes


@dataclass(frozen=True)
class Tagged:
    number: int
    value: Any


@dataclass(frozen=True)
class Pairs:
    """A map as a list of pairs: keys may repeat, and the length may be left open (0xbf ... 0xff)."""

    items: tuple[tuple[Any, Any], ...]
    indefinite: bool = False


def encode(value: Any) -> bytes:  # noqa: PLR0911
    """Return the shortest encoding of `value`; a dict keeps its order."""
    match value:
        case Raw():
            return value.data
        case None:
            return b"\xf6"
        case bool():
            return b"\xf5" if value else b"\xf4"
        case int():
            return head(0, value) if value >= 0 else head(1, -1 - value)
        case bytes():
            return head(2, len(value)) + value
        case str():
            return head(3, len(value.encode("utf-8"))) + value.encode("utf-8")
        case list() | tuple():
            return head(4, len(value)) + b"".join(map(encode, value))
        case dict():
            return encode(Pairs(tuple(value.items())))
        case Pairs():
            content = b"".join(encode(key) + encode(item) for key, item in value.items)
            if value.indefinite:
                return b"\xbf" + content + b"\xff"
            return head(5, len(value.items)) + content
        case Tagged():
            return head(6, value.number) + encode(value.value)
    raise TypeError(f"{type(value).__name__} has no CBOR encoding here")


def head(major: int, argument: int) -> bytes:
    """Return a major type and its argument in as few bytes as possible."""
    if argument < 24:
        return bytes([major << 5 | argument])
    size = next((size for size in (1, 2, 4, 8) if argument < 1 << 8 * size), 0)
    if not size:
        raise ValueError("an argument has 64 bits at most")
    return bytes([major << 5 | 23 + size.bit_length()]) + argument.to_bytes(size, "big")
