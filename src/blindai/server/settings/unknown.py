"""What was meant by a key, a table or a variable that does not exist.

A limit with a typo in its name would otherwise be no limit, and nobody would know.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

from blindai.server.settings.entries import ENTRIES
from blindai.server.settings.key import Key
from blindai.server.settings.tables import KEYS, TABLES
from blindai.wire.names import shown

ALL_TABLES = (*TABLES, *ENTRIES)
_PREFIX = "BLINDAI_"
_OF_OUR_TABLES = tuple(f"{_PREFIX}{table}_".upper() for table in ALL_TABLES)
_OURS_FROM = 0.9  # how like one of ours another BLINDAI_ variable is, to be one with a typo
# A service called `blindai` gives these to every container that starts after it.
_KUBERNETES = re.compile(r"BLINDAI_(SERVICE_(HOST|PORT)(_\w+)?|PORT_\d+_(TCP|UDP)(_\w+)?)", re.ASCII)


def keys_of(table: str) -> tuple[Key, ...]:
    """Return the keys of a table that exists."""
    return ENTRIES.get(table) or tuple(key for key in KEYS if key.table == table)


def unknown_key(name: str, table: str) -> str:
    """Say that `name` is no key of this table, and which one may have been meant."""
    return f"is not a known key; {_meant(name, [key.name for key in keys_of(table)])}"


def unknown_table(name: str) -> str:
    """Say that `name` is no table, and which table or key may have been meant."""
    return f"is not a known table; {_meant(name, ALL_TABLES, '[{}]')}"


def _meant(name: str, known: Sequence[str], form: str = "{}") -> str:
    elsewhere = [key for key in KEYS if name in (key.name, key.field)]
    if elsewhere:
        return f"did you mean {elsewhere[0].name} in [{elsewhere[0].table}]?"
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {form.format(near[0])}?" if near else f"known: {', '.join(known)}"


def unknown_dotted(text: str) -> str:
    """Say that `table.key` does not exist, and which one may have been meant."""
    table, _, name = text.partition(".")
    if table in ENTRIES:
        return f"{shown(text)} stands in the file only: [{table}]"
    near = difflib.get_close_matches(text, [key.dotted for key in KEYS], n=1)
    if near:
        return f"{shown(text)} is not a known key; did you mean {near[0]}?"
    if table in TABLES:
        return f"{shown(text)} {unknown_key(name, table)}"
    return f"{shown(text)} {unknown_table(table)}"


def unknown_variable(variable: str, value: str) -> str | None:
    """Say that this environment variable sets nothing, or return None where it is not one of ours."""
    if not variable.startswith(_PREFIX) or any(key.variable == variable for key in KEYS):
        return None
    known = [key.variable for key in KEYS]
    entries = [table for table in ENTRIES if variable.startswith(f"{_PREFIX}{table}_".upper())]
    if entries:
        return f"{shown(variable)} sets nothing: [{entries[0]}] stands in the file only"
    is_ours = variable.startswith(_OF_OUR_TABLES)
    near = difflib.get_close_matches(variable, known, n=1, cutoff=0.6 if is_ours else _OURS_FROM)
    without_table = [key.variable for key in KEYS if variable == f"{_PREFIX}{key.field}".upper()]
    if not is_ours and (_KUBERNETES.fullmatch(variable) or "://" in value):
        return None
    if not (is_ours or near or without_table):
        return None
    meant = (*without_table, *near)
    return f"{shown(variable)} sets nothing" + (f"; did you mean {meant[0]}?" if meant else "")
