"""As much DER as is needed to find one value in a certificate that nobody has verified."""

from __future__ import annotations


def elements(data: bytes) -> list[tuple[int, bytes]]:
    """Return tag and content of each element that `data` consists of, or raise ValueError."""
    found = []
    offset = 0
    while offset < len(data):
        tag, content, offset = _element(data, offset)
        found.append((tag, content))
    return found


def _element(data: bytes, offset: int) -> tuple[int, bytes, int]:
    header = data[offset : offset + 2]
    if len(header) < 2:
        raise ValueError("the DER is truncated")
    tag, length = header
    offset += 2
    if length >= 0x80:
        size = length - 0x80
        if not 1 <= size <= 3:
            raise ValueError("a DER length is indefinite or too long")
        length = int.from_bytes(data[offset : offset + size], "big")
        offset += size
    end = offset + length
    if end > len(data):
        raise ValueError("the DER is truncated")
    return tag, data[offset:end], end
