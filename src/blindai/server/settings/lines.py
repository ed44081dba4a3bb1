"""On which line of a settings file a key stands: tomllib does not tell.

Found in one pass and for messages only: a text inside a string of several lines can deceive it.
"""

from __future__ import annotations

import re
from collections import Counter

_HEADER = re.compile(r"\s*\[\[?\s*[\"']?([\w.-]+)[\"']?\s*\]")
_KEY = re.compile(r"\s*[\"']?([\w-]+)[\"']?\s*[=.]")


class Lines:
    """The lines of one text, by table, position of the table among those of its name, and key."""

    def __init__(self, text: str) -> None:
        self._found: dict[tuple[str, int, str], int] = {}
        times: Counter[str] = Counter()
        table, position = "", 0
        for number, line in enumerate(text.split("\n"), 1):
            if header := _HEADER.match(line):
                table = header[1]
                position = times[table]
                times[table] += 1
                self._found[table, position, ""] = number
                parent, _, key = table.partition(".")
                self._found.setdefault((parent, 0, ""), number)
                self._found.setdefault((parent, 0, key), number)  # [limits.max_models] is a key of [limits]
            elif key_of := _KEY.match(line):
                self._found.setdefault((table, position, key_of[1]), number)

    def of(self, table: str, position: int = 0, key: str = "") -> int:
        """Return the line of a key; of its table, where the key is not found; else the first."""
        places = ((table, position, key), (table, position, ""), ("", 0, table))
        return next((self._found[place] for place in places if place in self._found), 1)
