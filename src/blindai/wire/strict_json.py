"""The one decoder for JSON that security rests on: keysets, attestation answers, receipts (design 4.8).

Inference bodies use a fast decoder. This one is strict: a capped size, UTF-8 without a byte order mark,
no duplicate keys, no NaN or infinity, a bounded depth that is checked before the parser recurses.
"""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

MAX_DEPTH = 16
MAX_BRACKETS = 20_000  # genuine texts have hundreds; a long row of them would cost seconds


def decode_object(data: bytes, *, max_bytes: int) -> dict[str, Any]:
    """Decode `data` as one JSON object, or raise ValueError saying what is wrong with it."""
    if len(data) > max_bytes:
        raise ValueError(f"longer than {max_bytes} bytes")
    try:
        text = data.decode("utf-8", errors="strict")
    except UnicodeDecodeError as exc:
        raise ValueError("not UTF-8") from exc
    if text.startswith("\ufeff"):
        raise ValueError("starts with a byte order mark")
    _check_depth(text)
    value = _DECODER.decode(text)
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value


def members(
    value: Any, what: str, required: set[str], optional: frozenset[str] = frozenset()
) -> dict[str, Any]:
    """Return `value` if it is an object with exactly the members named, or raise ValueError."""
    if not isinstance(value, dict):
        raise ValueError(f"{what} is not an object")
    missing = required - value.keys()
    if missing:
        raise ValueError(f"{what} lacks {', '.join(sorted(missing))}")
    unknown = value.keys() - required - optional
    if unknown:
        raise ValueError(f"{what} has {len(unknown)} unknown member(s)")
    return value


# A string that does not end reaches to the end of the text: else each quote inside it would be tried anew.
_STRING = re.compile(r'"[^"]*+(?:"|\Z)')
_NO_BRACKET = re.compile(r"[^][{}]+")


def _check_depth(text: str) -> None:
    """Bound the nesting before the recursive parser sees it; brackets inside strings do not count.

    In steps, and in memory, that are linear whatever the text.
    """
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return
    # Without what is escaped, a quote ends a string. The parser stops at a backslash outside of strings:
    # what is behind it may be misread here.
    unescaped = text.replace("\\\\", "").replace('\\"', "")
    outside_strings = _STRING.sub("", unescaped)
    brackets = _NO_BRACKET.sub("", outside_strings)
    if len(brackets) > MAX_BRACKETS:
        raise ValueError(f"more than {MAX_BRACKETS} brackets")
    depth = 0
    for bracket in brackets:
        depth += 1 if bracket in "[{" else -1
        if depth > MAX_DEPTH:
            raise ValueError(f"nested deeper than {MAX_DEPTH}")


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("duplicate member")
    return result


def _no_constant(_: str) -> NoReturn:
    raise ValueError("NaN or infinity")


def _no_float(_: str) -> NoReturn:
    # No security text of ours has a fraction; 1e999 would silently become infinity.
    raise ValueError("a number that is not an integer")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_no_duplicates, parse_constant=_no_constant, parse_float=_no_float
)
