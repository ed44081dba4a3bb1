"""The one decoder for CBOR that security rests on (RFC 8949): the part of it that evidence uses.

Integers, byte and text strings, arrays, maps with integer or text keys, true, false and null. No floats, no
tags but where the caller expects one, no duplicate keys, no bytes behind, every number in its shortest form,
a bounded depth. General decoders keep the last of two equal keys and turn tags into objects.
"""

from __future__ import annotations

from typing import Any

MAX_DEPTH = 8
_UNSIGNED, _NEGATIVE, _BYTES, _TEXT, _ARRAY, _MAP, _TAG, _SIMPLE = range(8)
_INDEFINITE = 31
_SIMPLE_VALUES = {20: False, 21: True, 22: None}
# The additional information of a head: how many bytes of argument follow, and the least value they are for.
_ARGUMENT_BYTES = {24: (1, 24), 25: (2, 2**8), 26: (4, 2**16), 27: (8, 2**32)}


def decode(data: bytes, *, max_bytes: int, tag: int | None = None) -> Any:
    """Decode `data` as one item, or raise ValueError saying what is wrong with it.

    `tag` may stand before the item, at most once.
    """
    if len(data) > max_bytes:
        raise ValueError(f"longer than {max_bytes} bytes")
    reader = _Reader(data)
    if tag is not None:
        reader.skip_tag(tag)
    try:
        value = reader.item(0)
    except _Break:
        raise ValueError("an end without a beginning") from None
    if reader.offset != len(data):
        raise ValueError("bytes follow the item")
    return value


class _Break(Exception):  # noqa: N818  a token of the format, not an error
    """The end of an item of indefinite length."""


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self.offset = 0

    def skip_tag(self, tag: int) -> None:
        start = self.offset
        major, argument = self._head()
        if (major, argument) != (_TAG, tag):
            self.offset = start

    def item(self, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise ValueError(f"nested deeper than {MAX_DEPTH}")
        major, argument = self._head()
        if major == _UNSIGNED and argument is not None:
            return argument
        if major == _NEGATIVE and argument is not None:
            return -1 - argument
        if major in (_BYTES, _TEXT):
            return self._string(major, argument)
        if major == _ARRAY:
            return self._array(argument, depth)
        if major == _MAP:
            return self._map(argument, depth)
        if major == _SIMPLE and argument in _SIMPLE_VALUES:
            return _SIMPLE_VALUES[argument]
        if major == _SIMPLE and argument is None:
            raise _Break
        raise ValueError("a kind of item that evidence has no use for")

    def _head(self) -> tuple[int, int | None]:
        """Read major type and argument; None stands for an indefinite length, or for the end of one."""
        first = self._take(1)[0]
        major, information = first >> 5, first & 31
        if information < 24:
            return major, information
        if information == _INDEFINITE:
            return major, None
        if information not in _ARGUMENT_BYTES or major == _SIMPLE:
            raise ValueError("a head that is not well-formed")
        size, least = _ARGUMENT_BYTES[information]
        argument = int.from_bytes(self._take(size), "big")
        if argument < least:
            raise ValueError("a number in more bytes than it needs")
        return major, argument

    def _take(self, count: int) -> bytes:
        end = self.offset + count
        if end > len(self._data):
            raise ValueError("truncated")
        piece = self._data[self.offset : end]
        self.offset = end
        return piece

    def _string(self, major: int, length: int | None) -> bytes | str:
        if length is None:
            raise ValueError("a string in pieces")
        piece = self._take(length)
        if major == _BYTES:
            return piece
        try:
            return piece.decode("utf-8", errors="strict")
        except UnicodeDecodeError as exc:
            raise ValueError("text that is not UTF-8") from exc

    def _array(self, length: int | None, depth: int) -> list[Any]:
        items: list[Any] = []
        while length is None or len(items) < length:
            try:
                items.append(self.item(depth + 1))
            except _Break:
                _may_end(length)
                break
        return items

    def _map(self, length: int | None, depth: int) -> dict[int | str, Any]:
        entries: dict[int | str, Any] = {}
        while length is None or len(entries) < length:
            try:
                key = self.item(depth + 1)
            except _Break:
                _may_end(length)
                break
            if isinstance(key, bool) or not isinstance(key, int | str) or key in entries:
                raise ValueError("a key that comes twice, or is neither an integer nor text")
            try:
                entries[key] = self.item(depth + 1)
            except _Break:
                raise ValueError("a key without a value") from None
        return entries


def _may_end(length: int | None) -> None:
    if length is not None:
        raise ValueError("the end of an item that has a length")
