"""Reading `blindai.toml`: all of it is known, of its kind and within its bounds, or it does not load.

Relative paths in it start from the folder that the file is in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from blindai.attestation import toml_table
from blindai.errors import PolicyError, UsageError
from blindai.server.settings.entries import ENTRIES, CallerSettings, JwtSettings, ModelSettings
from blindai.server.settings.key import MIB, Key
from blindai.server.settings.lines import Lines
from blindai.server.settings.tables import TABLES
from blindai.server.settings.unknown import keys_of, unknown_key, unknown_table
from blindai.server.settings.values import from_value
from blindai.wire.names import shown

MAX_FILE_BYTES = MIB


@dataclass(frozen=True)
class Given:
    """A value, and where it was given."""

    value: Any
    origin: str


@dataclass(frozen=True)
class Contents:
    """What a file says: single values by their dotted keys, and the entries in their order."""

    values: Mapping[str, Given] = field(default_factory=dict)
    callers: tuple[Given, ...] = ()
    models: tuple[Given, ...] = ()
    jwt: Given | None = None


def read(path: Path) -> Contents:
    """Read a settings file. Raises UsageError with the line of what is wrong."""
    text = _text(path)
    try:
        values = toml_table.read(text, path.name, max_bytes=MAX_FILE_BYTES)
    except PolicyError as exc:
        raise UsageError(str(exc)) from exc
    return _Reader(path, text, values).contents()


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
        return data.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise UsageError(f"{path} is not UTF-8, or longer than {MAX_FILE_BYTES} bytes") from exc
    except OSError as exc:
        raise UsageError(f"{path} cannot be read: {exc.strerror}") from exc


class _Reader:
    """One file, with the lines that its messages name."""

    def __init__(self, path: Path, text: str, values: Mapping[str, Any]) -> None:
        self._path = path
        self._values = values
        self._lines = Lines(text)

    def contents(self) -> Contents:
        for name in self._values:
            if name not in TABLES and name not in ENTRIES:
                raise self._error(self._lines.of(name), shown(name), unknown_table(name))
        given = {}
        for table in TABLES:
            given.update(self._table(table))
        return Contents(
            values=given,
            callers=tuple(self._entries("callers", CallerSettings)),
            models=tuple(self._entries("models", ModelSettings)),
            jwt=self._jwt(),
        )

    def _table(self, table: str) -> dict[str, Given]:
        values = self._values.get(table, {})
        if not isinstance(values, dict):
            raise self._error(self._lines.of(table), shown(table), f"is a table: [{table}]")
        read = self._read(table, values)
        return {key.dotted: read[key.field] for key in keys_of(table) if key.field in read}

    def _jwt(self) -> Given | None:
        if "jwt" not in self._values:
            return None
        if not isinstance(self._values["jwt"], dict):
            raise self._error(self._lines.of("jwt"), '"jwt"', "is a table: [jwt]")
        return self._entry("jwt", JwtSettings, self._values["jwt"])

    def _entries(self, table: str, make: Callable[..., Any]) -> list[Given]:
        entries = self._values.get(table, [])
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise self._error(self._lines.of(table), shown(table), f"is a list of tables: [[{table}]]")
        return [self._entry(table, make, entry, position) for position, entry in enumerate(entries)]

    def _entry(
        self, table: str, make: Callable[..., Any], values: Mapping[str, Any], position: int = 0
    ) -> Given:
        read = self._read(table, values, position)
        line = self._lines.of(table, position)
        for key in ENTRIES[table]:
            if key.is_required and key.field not in read:
                raise self._error(line, f"[{table}]", f"needs the key {key.name}")
        try:
            return Given(make(**{name: given.value for name, given in read.items()}), self._place(line))
        except UsageError as exc:
            raise UsageError(f"{self._place(line)}: {exc}", hint=exc.hint) from exc

    def _read(self, table: str, values: Mapping[str, Any], position: int = 0) -> dict[str, Given]:
        """Return the values of one table, by the fields that they are for."""
        known = {key.name: key for key in keys_of(table)}
        read = {}
        for name, value in values.items():
            line = self._lines.of(table, position, name)
            if name not in known:
                raise self._error(line, f"[{table}] {shown(name)}", unknown_key(name, table))
            try:
                read[known[name].field] = Given(self._value(known[name], value), self._place(line))
            except ValueError as exc:
                raise self._error(line, f"[{table}] {name}", str(exc)) from exc
        return read

    def _value(self, key: Key, value: Any) -> Any:
        made = from_value(key, value)
        return str(self._path.parent / made) if key.about.is_path else made

    def _place(self, line: int) -> str:
        return f"{self._path.name} line {line}"

    def _error(self, line: int, what: str, fault: str) -> UsageError:
        return UsageError(f"{self._place(line)}: {what} {fault}")
