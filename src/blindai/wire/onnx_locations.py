"""Which files does an ONNX file name for its weights?

Walks the protobuf by its own lengths: ModelProto.graph.initializer.external_data. Weights that lie inside are
stepped over, so that a file of gigabytes costs as little as its graph. Nothing recurses, each level ends
where the one above says, and every step moves forward.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Protocol

MAX_TEXT_BYTES: Final = 4096  # of one entry; a path is no longer
MAX_LOCATIONS: Final = 4096
MAX_FIELDS: Final = 5_000_000  # steps; the largest graphs have some hundred thousand nodes

# Field numbers of onnx.proto.
_GRAPH, _INITIALIZER, _EXTERNAL_DATA, _KEY, _VALUE = 7, 5, 13, 1, 2

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MAX_VARINT_BYTES = 10
_WINDOW_BYTES = 16 * 1024


class File(Protocol):
    """A file open for reading, or whatever can be read and moved about in like one."""

    def read(self, size: int, /) -> bytes: ...

    def seek(self, offset: int, /) -> int: ...


def external_locations(file: File, size_bytes: int, *, max_fields: int = MAX_FIELDS) -> tuple[str, ...]:
    """Return the locations that the initializers of the main graph name, each once, in order.

    Raises ValueError for what is no protobuf, OSError as `file` does. Only the main graph is looked at: in
    the branches of an If or a Loop no engine of ours takes weights from elsewhere.
    """
    walk = _Walk(file, max_fields)
    found: dict[str, None] = {}
    for graph in walk.messages((0, size_bytes), _GRAPH):
        for tensor in walk.messages(graph, _INITIALIZER):
            for entry in walk.messages(tensor, _EXTERNAL_DATA):
                key, value = walk.text(entry, _KEY), walk.text(entry, _VALUE)
                if key == "location" and value:
                    found[value] = None
                    if len(found) > MAX_LOCATIONS:
                        raise ValueError(f"it names more than {MAX_LOCATIONS} files")
    return tuple(found)


Span = tuple[int, int]  # from where to where


class _Walk:
    def __init__(self, file: File, max_fields: int) -> None:
        self._file = file
        self._fields_left = max_fields
        self._window, self._window_at = b"", 0

    def messages(self, within: Span, number: int) -> Iterator[Span]:
        """Yield where the contents of the length-delimited fields of that number lie."""
        offset, end = within
        while offset < end:
            field, kind, offset = self._head(offset, end)
            if kind == _BYTES:
                length, offset = self._varint(offset, end)
                if length > end - offset:
                    raise ValueError("a length reaches over the end")
                if field == number:
                    yield offset, offset + length
                offset += length
            elif kind == _VARINT:
                _, offset = self._varint(offset, end)
            elif kind in (_FIXED32, _FIXED64):
                offset += 4 if kind == _FIXED32 else 8
            else:
                raise ValueError("groups are not used in ONNX")
        if offset != end:
            raise ValueError("a field reaches over the end")

    def text(self, within: Span, number: int) -> str:
        """Return the last field of that number, as protobuf has it, as text."""
        text = ""
        for start, end in self.messages(within, number):
            if end - start > MAX_TEXT_BYTES:
                raise ValueError("a name is too long")
            text = self._read(start, end - start).decode("utf-8")
        return text

    def _head(self, offset: int, end: int) -> tuple[int, int, int]:
        self._fields_left -= 1
        if self._fields_left < 0:
            raise ValueError("it has more fields than any model")
        head, offset = self._varint(offset, end)
        if head >> 3 == 0:
            raise ValueError("there is no field 0")
        return head >> 3, head & 7, offset

    def _varint(self, offset: int, end: int) -> Span:
        """Return a number and where it ends."""
        value = 0
        for index, byte in enumerate(self._read(offset, min(_MAX_VARINT_BYTES, end - offset))):
            value |= (byte & 0x7F) << (7 * index)
            if byte < 0x80:
                return value, offset + index + 1
        raise ValueError("a number does not end")

    def _read(self, offset: int, length: int) -> bytes:
        """Return bytes of the file, fewer at its end. Graphs are read by the window, weights not at all."""
        start = offset - self._window_at
        if start < 0 or start + length > len(self._window):
            self._file.seek(offset)
            self._window, self._window_at, start = self._file.read(_WINDOW_BYTES), offset, 0
        return self._window[start : start + length]
