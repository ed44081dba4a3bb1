"""What one key of `blindai.toml` is: its place, kind, unit and meaning, and the values that make sense.

The fields of the settings carry all of it as metadata: the checks, the messages and docs/configuration.md are
made from it, and cannot differ.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from blindai.errors import UsageError

KIB = 2**10
MIB = 2**20
GIB = 2**30

# TOML's integers have 64 bits; Python will not print one of thousands of digits, which TOML can spell.
MOST = 2**63 - 1
_LEAST_SECONDS = 0.001
MOST_SECONDS = 366 * 24 * 3600


class Kind(StrEnum):
    """What a value is, in words for a message."""

    TEXT = "a string, printable and not empty"
    INTEGER = "an integer"
    NUMBER = "a number"
    BOOLEAN = "true or false"
    LIST = "a list of at least one string"


_KINDS = {
    "str": Kind.TEXT,
    "str | None": Kind.TEXT,
    "Visibility": Kind.TEXT,
    "int": Kind.INTEGER,
    "float": Kind.NUMBER,
    "bool": Kind.BOOLEAN,
    "tuple[str, ...]": Kind.LIST,
}


@dataclass(frozen=True)
class About:
    """What the annotation and the default of a field do not say. `default` describes one that is computed."""

    unit: str
    meaning: str
    least: float
    most: float
    choices: tuple[str, ...]
    is_path: bool
    default: str


def about(  # noqa: PLR0913 - each has its name where it is called
    unit: str,
    meaning: str,
    *,
    least: float | None = None,
    most: float | None = None,
    choices: tuple[str, ...] = (),
    is_path: bool = False,
    default: str = "",
) -> Mapping[str, About]:
    """Return the metadata of a field. A number is more than zero unless `least` says otherwise."""
    lowest, highest = (_LEAST_SECONDS, MOST_SECONDS) if unit == "seconds" else (1, MOST)
    return {
        "about": About(
            unit=unit,
            meaning=meaning,
            least=lowest if least is None else least,
            most=highest if most is None else most,
            choices=choices,
            is_path=is_path,
            default=default,
        )
    }


@dataclass(frozen=True)
class Key:
    """One key: `max_models` in the table `limits`. `field` is its name in the dataclass."""

    table: str
    name: str
    field: str
    kind: Kind
    default: Any
    about: About

    @property
    def dotted(self) -> str:
        """As `--set` and the origins call it."""
        return f"{self.table}.{self.name}"

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return f"BLINDAI_{self.table}_{self.name}".upper()

    @property
    def is_required(self) -> bool:
        return self.default is dataclasses.MISSING

    def check(self, value: Any) -> None:
        """Raise ValueError, with what the value must be, unless it makes sense for this key."""
        about = self.about
        if about.choices and value not in about.choices:
            raise ValueError(f"must be {_listed(about.choices)}")
        if self.kind in (Kind.INTEGER, Kind.NUMBER) and not about.least <= value <= about.most:
            raise ValueError(f"must be {_span(about.least, about.most)}")


def keys(table: str, of: type) -> tuple[Key, ...]:
    """Return the keys that the fields of a dataclass are. `store_path` in the table `store` is its `path`."""
    found = []
    for field in dataclasses.fields(of):
        default = field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        found.append(
            Key(
                table=table,
                name=field.name.removeprefix(f"{table}_"),
                field=field.name,
                kind=_KINDS[str(field.type)],
                default=default,
                about=field.metadata["about"],
            )
        )
    return tuple(found)


def check_all(keys: Iterable[Key], settings: object) -> None:
    """Raise UsageError, by the key's name in the file, for the first value that makes no sense."""
    for key in keys:
        try:
            key.check(getattr(settings, key.field))
        except ValueError as exc:
            raise UsageError(f"[{key.table}] {key.name} {exc}") from exc


def _listed(choices: tuple[str, ...]) -> str:
    quoted = [f'"{choice}"' for choice in choices]
    return f"{', '.join(quoted[:-1])} or {quoted[-1]}"


def _span(least: float, most: float) -> str:
    return f"at least {least:g}" if most == MOST else f"between {least:g} and {most:.10g}"
