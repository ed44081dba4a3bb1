"""From a value in the file, or a text of the environment or the command line, to a value of a setting."""

from __future__ import annotations

import re
from typing import Any

from blindai.server.settings.key import Key, Kind

_INTEGER = re.compile(r"-?[0-9]+(?:_[0-9]+)*", re.ASCII)
_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?", re.ASCII)
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
_MAX_DIGITS = 32  # more than any number that makes sense has


def from_value(key: Key, value: Any) -> Any:
    """Return a value of TOML as the setting has it. Raises ValueError with what it must be."""
    match key.kind:
        case Kind.BOOLEAN:
            fits = isinstance(value, bool)
        case Kind.INTEGER:
            fits = type(value) is int
        case Kind.NUMBER:
            fits = type(value) in (int, float)
        case Kind.TEXT:
            fits = _is_text(value)
        case Kind.LIST:
            fits = isinstance(value, (list, tuple)) and bool(value) and all(map(_is_text, value))
    if not fits:
        raise ValueError(f"must be {key.kind}")
    key.check(value)
    return tuple(value) if key.kind is Kind.LIST else value


def from_text(key: Key, text: str) -> Any:
    """Return what a text stands for. Raises ValueError with what it must be."""
    value: Any = text
    match key.kind:
        case Kind.BOOLEAN:
            value = _BOOLEANS.get(text)
        case Kind.INTEGER:
            value = int(text) if len(text) <= _MAX_DIGITS and _INTEGER.fullmatch(text) else None
        case Kind.NUMBER:
            value = float(text) if len(text) <= _MAX_DIGITS and _NUMBER.fullmatch(text) else None
        case Kind.LIST:
            value = [part.strip(" ") for part in text.split(",")]
        case Kind.TEXT:
            pass
    return from_value(key, value)


def _is_text(value: Any) -> bool:
    # What is not printable, such as a line break, would forge lines of the log.
    return isinstance(value, str) and value != "" and value.isprintable()
