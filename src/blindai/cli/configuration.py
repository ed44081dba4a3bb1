"""Every setting as it will be, and where it came from: what `blindai serve --check-config` prints."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from blindai.cli import output
from blindai.server.settings import Loaded
from blindai.server.settings.tables import KEYS

_SHOWN_HASH_CHARACTERS = 12


def text(loaded: Loaded) -> str:
    """Return a table: key, value, origin."""
    rows: list[tuple[str, ...]] = [("KEY", "VALUE", "FROM")]
    rows += [(name, _shown(value), origin) for name, value, origin in _everything(loaded)]
    return output.table(rows)


def to_json(loaded: Loaded, problems: tuple[str, ...]) -> dict[str, Any]:
    """Return the same as JSON, with what would keep the server from starting."""
    return {
        "settings": {
            name: {"value": list(value) if isinstance(value, tuple) else value, "from": origin}
            for name, value, origin in _everything(loaded)
        },
        "problems": list(problems),
    }


def _everything(loaded: Loaded) -> Iterator[tuple[str, Any, str]]:
    settings = loaded.settings
    for key in KEYS:
        yield key.dotted, getattr(settings, key.field), loaded.origin[key.dotted]
    for table, entries in (("callers", settings.callers), ("models", settings.models)):
        for position, entry in enumerate(entries):
            place = f"{table}[{position}]"
            yield place, _entry(entry), loaded.origin[place]
    if settings.jwt is not None:
        yield "jwt", _entry(settings.jwt), loaded.origin["jwt"]


def _entry(entry: Any) -> dict[str, Any]:
    """Return an entry without what is unset. A hash is shown as far as it helps to find it."""
    values = {name: value for name, value in dataclasses.asdict(entry).items() if value not in ("", 0, ())}
    if "key_sha256" in values:
        values["key_sha256"] = _shortened(values["key_sha256"])
    if "shared_with" in values:
        values["shared_with"] = [_shortened(key) for key in values["shared_with"]]
    return values


def _shortened(digest: str) -> str:
    return f"{digest[:_SHOWN_HASH_CHARACTERS]}..."


def _shown(value: Any) -> str:
    match value:
        case None | ():
            return "-"
        case bool():
            return str(value).lower()
        case tuple() | list():
            return ", ".join(map(str, value))
        case dict():
            return " ".join(f"{name}={_shown(item)}" for name, item in value.items())
    return str(value)
