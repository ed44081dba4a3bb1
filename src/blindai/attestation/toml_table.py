"""Reading a TOML table strictly: every key is named, typed and used, or the text does not load.

A typo must never loosen a policy: unknown keys, empty lists and wrong types are errors that name the
line and suggest the key that was meant.
"""

from __future__ import annotations

import datetime
import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping
from typing import Any

from blindai.errors import PolicyError

# tomllib takes cubic time for a dotted key: 64 KiB of one cost most of a minute. The longest name that
# somebody may list has 34 labels (ip6.arpa); possessive, so that the search is linear.
_LONG_KEY = re.compile(r"""(?:(?:(?<![\w-])[\w-]++|"(?:[^"\\\n]|\\.)*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){40}""")
_MAX_SHOWN_CHARACTERS = 60


def read(text: str, what: str, *, max_bytes: int) -> dict[str, Any]:
    """Return the values of a TOML text, or raise PolicyError. Work is bounded by the size of the text."""
    if len(text.encode("utf-8", "replace")) > max_bytes:
        raise PolicyError(f"{what} is longer than {max_bytes} bytes")
    if _LONG_KEY.search(text):
        raise PolicyError(f"{what} has a key of more than 40 parts")
    try:
        text.encode("utf-8")
        return tomllib.loads(text)
    except (ValueError, RecursionError) as exc:  # tomllib lets long numbers and deep nesting through
        raise PolicyError(f"{what} is not TOML: {exc}") from exc


class Table:
    """One table of a policy text. Ask for each key, then call `finish`."""

    def __init__(
        self,
        values: Mapping[str, Any],
        *,
        header: str,
        occurrence: int,
        text: str,
        parent: Table | None = None,
    ) -> None:
        self._values = dict(values)
        self._header = header
        self._occurrence = occurrence
        self._text = text
        self._parent = parent
        self._asked: set[str] = set()

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def table(self, key: str) -> Table:
        """Return a sub-table; an absent one is empty."""
        value = self._take(key)
        if not isinstance(value, dict | None):
            raise self.error(key, "is not a table")
        return Table(value or {}, header=key, occurrence=0, text=self._text, parent=self)

    def tables(self, key: str) -> list[Table]:
        """Return an array of tables; absent or empty is an error: it would accept nothing."""
        value = self._take(key)
        if not isinstance(value, list) or not value or not all(isinstance(item, dict) for item in value):
            raise self.error(key, f"needs at least one [[{key}]] table")
        return [
            Table(item, header=key, occurrence=position, text=self._text)
            for position, item in enumerate(value)
        ]

    def string(self, key: str) -> str:
        value = self._take(key)
        if not isinstance(value, str) or not value:
            raise self.error(key, "must be a non-empty string")
        return value

    def strings(self, key: str, *, default: tuple[str, ...] = ()) -> tuple[str, ...]:
        """Return a list of strings; a list that is given may not be empty."""
        if key not in self._values:
            self._asked.add(key)
            return default
        value = self._take(key)
        if not isinstance(value, list) or not value or not all(isinstance(v, str) and v for v in value):
            raise self.error(key, "must be a list of at least one string (leave the key out to say nothing)")
        return tuple(value)

    def boolean(self, key: str, *, default: bool) -> bool:
        value = self._take(key, default)
        if not isinstance(value, bool):
            raise self.error(key, "must be true or false")
        return value

    def integer(self, key: str, *, default: int) -> int:
        value = self._take(key, default)
        if not _is_count(value):
            raise self.error(key, "must be an integer, 0 or more")
        return int(value)

    def integers(self, key: str) -> tuple[int, ...]:
        """Return a list of integers, 0 or more; a list that is given may not be empty, an absent one is."""
        if key not in self._values:
            self._asked.add(key)
            return ()
        value = self._take(key)
        if not isinstance(value, list) or not value or not all(_is_count(item) for item in value):
            raise self.error(key, "must be a list of at least one integer, 0 or more")
        return tuple(value)

    def optional_string(self, key: str) -> str | None:
        """Return a non-empty string, or None where the key is absent."""
        self._asked.add(key)
        return self.string(key) if key in self._values else None

    def optional_integer(self, key: str) -> int | None:
        """Return an integer, or None where the key is absent."""
        self._asked.add(key)
        return self.integer(key, default=0) if key in self._values else None

    def hexadecimal(self, key: str, *, size_bytes: int) -> bytes | None:
        """Return a byte string of exactly `size_bytes`, or None where the key is absent."""
        if key not in self._values:
            self._asked.add(key)
            return None
        data = parse_hexadecimal(self._take(key), size_bytes)
        if data is None:
            raise self.error(key, f"must be {size_bytes * 2} hexadecimal digits ({size_bytes} bytes)")
        return data

    def date(self, key: str) -> int | None:
        """Return a TOML date (its first second, UTC) or offset date-time as Unix seconds."""
        value = self._take(key, None)
        if value is None:
            return None
        if isinstance(value, datetime.datetime):
            if value.tzinfo is None:
                raise self.error(key, "needs a time zone, e.g. 2027-03-01T00:00:00Z")
            return int(value.timestamp())
        if isinstance(value, datetime.date):
            midnight = datetime.datetime(value.year, value.month, value.day, tzinfo=datetime.UTC)
            return int(midnight.timestamp())
        raise self.error(key, "must be a date, e.g. 2027-03-01 (without quotes)")

    def everything(self) -> Mapping[str, Any]:
        """Return all values: for a table whose keys are the user's."""
        self._asked.update(self._values)
        return self._values

    def fill(self, values: Mapping[str, Any]) -> None:
        """Add keys that another key of this table stands for."""
        self._values.update(values)

    def finish(self) -> None:
        """Refuse every key that was not asked for."""
        for key in self._values:
            if key not in self._asked:
                near = difflib.get_close_matches(key, sorted(self._asked), n=1)
                meant = (
                    f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(sorted(self._asked))}"
                )
                raise self.error(key, f"is not a known key{meant}")

    def error(self, key: str, what: str) -> PolicyError:
        place = f"[{self._header}] " if self._header else ""
        named = key if len(key) <= _MAX_SHOWN_CHARACTERS else f"{key[:_MAX_SHOWN_CHARACTERS]}…"
        return PolicyError(f"policy line {self._line(key)}: {place}{named} {what}")

    def _take(self, key: str, default: Any = None) -> Any:
        self._asked.add(key)
        return self._values.get(key, default)

    def _line(self, key: str) -> int:
        """Return the line of `key` in this table, else the line of the table (tomllib keeps neither)."""
        header, seen = "", -1
        best = 1 if self._parent is None else self._parent._line(self._header)  # noqa: SLF001
        for number, line in enumerate(self._text.splitlines(), 1):
            match = re.match(r"\s*\[\[?\s*([\w.-]+)\s*\]?\]", line)
            if match:
                header = match[1]
                seen += header == self._header
                if not self._header and header.partition(".")[0] == key:
                    return number
            if header == self._header and seen in (self._occurrence, -1):
                if match and header:
                    best = number
                if re.match(rf"\s*[\"']?{re.escape(key)}[\"']?\s*[=.]", line):
                    return number
        return best


def _is_count(value: Any) -> bool:
    # Python will not print an integer of thousands of digits, which TOML can spell in hexadecimal.
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def not_among(value: str, known: Iterable[str]) -> str:
    """Say that a value is none of those that are known, and which one may have been meant."""
    names = tuple(known)
    near = difflib.get_close_matches(value.lower(), [name.lower() for name in names], n=1)
    meant = next((name for name in names if near and name.lower() == near[0]), None)
    listed = f"knows {', '.join(names)}; not" if names else "offers nothing here, and not"
    return f"{listed} {value!r}" + (f": did you mean {meant!r}?" if meant else "")


def parse_hexadecimal(value: Any, size_bytes: int) -> bytes | None:
    """Return the bytes of a hexadecimal string of exactly this size, else None."""
    if not isinstance(value, str) or not re.fullmatch(rf"[0-9a-fA-F]{{{size_bytes * 2}}}", value):
        return None
    return bytes.fromhex(value)


def toml_list(values: Iterable[str]) -> str:
    """Return a TOML array of plain strings, sorted."""
    return "[" + ", ".join(f'"{value}"' for value in sorted(values)) + "]"
