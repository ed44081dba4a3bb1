"""Changes that reach behind the outermost syntax: inside JSON, base64url, hexadecimal, PEM and length fields.

Flipping bytes of a text that holds base64 that holds a quote that holds a certificate ends nearly always in
the first decoder. Here one value somewhere inside is changed and everything around it is written anew.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable
from random import Random
from typing import Any, Literal

BINARY, JSON, TEXT = "binary", "json", "text"

Change = Callable[[bytes], bytes]
"""What the fuzzer itself does to bytes: flips, splices, blocks, interesting integers."""

NUMBERS: list[tuple[int, Literal["little", "big"]]] = [
    (1, "big"), (2, "big"), (2, "little"), (4, "big"), (4, "little"), (8, "big"), (8, "little"),
]  # fmt: skip
LENGTHS: list[tuple[int, Literal["little", "big"]]] = [(1, "big"), (2, "big"), (2, "little"), (4, "little")]
SMALL = re.compile(rb"[^\0]\0+")
PEM = re.compile(rb"-----BEGIN CERTIFICATE-----\n([A-Za-z0-9+/=\n]+)-----END CERTIFICATE-----\n")
ODD: list[Any] = [
    None, True, False, 0, 1, -1, 2**31, 2**53, 2**63, 2**70, 0.5,
    "", "0", "\ud800", "\0", "{}", "[]", "A" * 3000,
    [], {}, [[]], [None], {"": None}, [[[[[[[[]]]]]]]],
    "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n",
]  # fmt: skip


def mutate(data: bytes, shape: str, random: Random, change: Change) -> bytes:
    """Return a variant of `data`."""
    chance = random.random()
    if shape == JSON and chance < 0.75:
        try:
            return json.dumps(_in_json(json.loads(data), random, change), separators=(",", ":")).encode()
        except (ValueError, RecursionError):
            return change(data)
    if shape == BINARY and chance < 0.2:
        return _resized(data, random)
    if shape == BINARY and chance < 0.45:
        return _renumbered(data, random)
    if shape == BINARY and chance < 0.55 and b"-----BEGIN" in data:
        return _in_pem(data, random, change)
    return change(data)


def _in_json(value: Any, random: Random, change: Change) -> Any:
    holder = [value]
    everything = _places(holder)
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        container, key = random.choice(everything)
        if _holds(container, key):  # else dropped a moment ago
            _at(container, key, random, change, everything)
    return holder[0] if holder else None


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Return every place inside a JSON value, as container and key."""
    keys = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    found = [(value, key) for key in keys]
    for key in keys:
        found += _places(value[key])
    return found


def _holds(container: Any, key: Any) -> bool:
    return key < len(container) if isinstance(container, list) else key in container


def _at(container: Any, key: Any, random: Random, change: Change, everything: list[tuple[Any, Any]]) -> None:
    match random.randrange(20):
        case 0 | 1:
            container[key] = random.choice(ODD)
        case 2:
            other, place = random.choice(everything)
            if _holds(other, place):
                container[key] = json.loads(json.dumps(other[place]))
        case 3:
            del container[key]
        case 4:
            grown = json.loads(json.dumps(container[key]))
            if isinstance(container, list):
                container.insert(key, grown)
            else:
                container[f"{key}{random.randrange(3)}"] = grown
        case _:
            container[key] = _of_leaf(container[key], random, change)


def _of_leaf(value: Any, random: Random, change: Change) -> Any:
    if isinstance(value, str):
        return _of_text(value, random, change)
    if isinstance(value, bool) or value is None:
        return random.choice(ODD)
    if isinstance(value, int):
        return value + random.choice((-1, 1, 2**31, -(2**31), -2 * value))
    return value


def _of_text(text: str, random: Random, change: Change) -> str:
    """Change what a string means, where it is one of our encodings; else its characters."""
    if random.random() < 0.1:
        return change(text.encode("utf-8", "replace")).decode("utf-8", "replace")
    if text[:1] in ("{", "["):
        try:
            return json.dumps(_in_json(json.loads(text), random, change), separators=(",", ":"))
        except (ValueError, RecursionError):
            pass
    if text.startswith("-----BEGIN"):
        return _in_pem(text.encode("utf-8", "replace"), random, change).decode("utf-8", "replace")
    try:
        return mutate(bytes.fromhex(text), BINARY, random, change).hex()
    except ValueError:
        pass
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (ValueError, binascii.Error):
        return change(text.encode("utf-8", "replace")).decode("utf-8", "replace")
    changed = mutate(data, JSON if data[:1] == b"{" else BINARY, random, change)
    return base64.urlsafe_b64encode(changed).rstrip(b"=").decode()


def _in_pem(data: bytes, random: Random, change: Change) -> bytes:
    """Change the DER of one certificate, leaving its length where a length field may count it."""
    blocks = list(PEM.finditer(data))
    if not blocks:
        return change(data)
    block = random.choice(blocks)
    try:
        der = base64.b64decode(block[1])
    except (ValueError, binascii.Error):
        return change(data)
    changed = mutate(der, BINARY, random, change) or b"\0"
    if random.random() < 0.7:
        changed = changed[: len(der)].ljust(len(der), b"\0")
    lines = base64.b64encode(changed)
    wrapped = b"".join(lines[at : at + 64] + b"\n" for at in range(0, len(lines), 64))
    pem = b"-----BEGIN CERTIFICATE-----\n" + wrapped + b"-----END CERTIFICATE-----\n"
    return data[: block.start()] + pem + data[block.end() :]


def _renumbered(data: bytes, random: Random) -> bytes:
    """Move a number by a little, or to a value at the edge of what its width holds."""
    width, order = random.choice(NUMBERS)
    # Half of the time where a small number stands, as formats of fixed width write it: counts, kinds, sizes.
    small = [found.start() for found in SMALL.finditer(data)] if random.random() < 0.5 else []
    start = random.choice(small) if small else random.randrange(max(1, len(data) - width + 1))
    number = int.from_bytes(data[start : start + width], order)
    edge = 1 << random.randrange(8 * width + 1)
    number = random.choice((number - 1, number + 1, number ^ edge, edge, edge - 1, 0))
    changed = (number % (1 << 8 * width)).to_bytes(width, order)
    return data[:start] + changed + data[start + width :]


def _resized(data: bytes, random: Random) -> bytes:
    """Insert or cut bytes, and correct the numbers before them that could be lengths around that place."""
    if len(data) < 8:
        return data + bytes(4)
    at = random.randrange(len(data))
    grown = random.choice((-8, -4, -2, -1, 1, 2, 4, 8, 32))
    changed = bytearray(data)
    for width, order in random.sample(LENGTHS, 2):
        for start in range(max(0, at - 2048), at - width + 1):
            size = int.from_bytes(data[start : start + width], order)
            # A length that encloses the place and ends at a likely border: the end, or nearly.
            encloses = start + width + size > at and start + width + size <= len(data)
            if encloses and random.random() < (0.9 if start + width + size == len(data) else 0.1):
                corrected = (size + grown) % (1 << 8 * width)
                changed[start : start + width] = corrected.to_bytes(width, order)
    if grown > 0:
        changed[at:at] = random.randbytes(grown)
    else:
        del changed[at : at - grown]
    return bytes(changed)
