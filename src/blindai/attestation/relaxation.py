"""Named relaxations: what a policy may give up, in one word, and what that costs.

A policy is strict unless it says otherwise (`preset = "strict"` is what every entry has). `relax` names
exceptions; each fills in keys of the entry that could be written out as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from blindai.attestation.toml_table import Table, not_among

STRICT = "strict"


@dataclass(frozen=True)
class Relaxation:
    """`settings` are keys of an `[[accept]]` entry; `gives_up` says what an attacker gains by them."""

    name: str
    gives_up: str
    settings: Mapping[str, Any]


def apply(table: Table, offered: Iterable[Relaxation]) -> None:
    """Fill the keys of the relaxations that an entry names into it, or raise PolicyError."""
    if table.optional_string("preset") not in (None, STRICT):
        raise table.error("preset", f'can only be "{STRICT}"; relax = [...] names exceptions to it')
    known = {relaxation.name: relaxation for relaxation in offered}
    settings: dict[str, Any] = {}
    for name in table.strings("relax"):
        if name not in known:
            raise table.error("relax", not_among(name, known))
        for key, value in known[name].settings.items():
            if key in table:
                # Which of the two was meant? The stricter one would surprise, the looser one would be unsafe.
                raise table.error(key, f"is also set by relax {name!r}: leave one out")
            settings[key] = _joined(settings.get(key), value)
    table.fill(settings)


def _joined(before: Any, value: Any) -> Any:
    """Two relaxations of one list accept what either accepts."""
    if isinstance(before, list):
        return [*before, *(item for item in value if item not in before)]
    return value
