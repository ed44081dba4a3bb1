"""How a name that came over the wire is shown in a message: short, printable, quoted."""

from __future__ import annotations

MAX_SHOWN_CHARACTERS = 64


def shown(name: str) -> str:
    """Return `name` in double quotes, at most 64 characters of it, each of them printable.

    A peer chooses these names. Without this, one could fill a log, break its lines, or paint over a
    terminal with control and right-to-left characters.
    """
    kept = name[:MAX_SHOWN_CHARACTERS]
    printable = "".join(c if c.isprintable() and c != '"' else "?" for c in kept)
    return f'"{printable}…"' if len(name) > len(kept) else f'"{printable}"'
