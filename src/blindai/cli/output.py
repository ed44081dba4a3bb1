"""How the command line speaks. stdout is data, stderr is talk.

Talk starts in lower case and ends without a full stop; what failed comes first, then `hint:` and what to
do next. Data that a program reads is JSON, one document per command.
"""

from __future__ import annotations

import json
import re
import sys
from typing import Any, TextIO

from blindai.errors import BlindAIError
from blindai.wire import api_key

# Whoever types a key where something else is meant sees it repeated in an error, and so does a build's log.
# The second is a JSON Web Token: it begins with {" in base64url. Host names come back in small letters.
_SECRETS = re.compile(
    rf"{api_key.PREFIX}[A-Za-z0-9_-]{{43}}|eyJ[A-Za-z0-9_-]{{8,}}(\.[A-Za-z0-9_-]*)+", re.IGNORECASE
)


def data(text: str) -> None:
    """Print a result. Names and texts of a server or a model may not steer the terminal."""
    _write(sys.stdout, text)


def json_data(value: Any) -> None:
    """Print a result as JSON."""
    data(json.dumps(value, indent=2, allow_nan=False))


def json_line(value: Any) -> None:
    """Print a result as one line of JSON, for whoever reads while the command goes on."""
    data(json.dumps(value, allow_nan=False))


def talk(text: str) -> None:
    """Say something to the person at the terminal."""
    _write(sys.stderr, _SECRETS.sub("<secret>", text))


def _write(stream: TextIO, text: str) -> None:
    shown = "".join(c if c.isprintable() or c == "\n" else "?" for c in text.removesuffix("\n"))
    # A pipe or a console may have fewer characters than the text: a verdict must not end in a traceback.
    encoding = stream.encoding or "utf-8"
    stream.write(shown.encode(encoding, "replace").decode(encoding) + "\n")
    stream.flush()  # with 2>&1 both streams are one file: what was said first stands first


def failure(error: BlindAIError) -> None:
    """Say what failed and what to do next."""
    talk(f"error: {error}")
    if error.hint:
        # The library's words for what is a flag here.
        talk(f"hint: {re.sub(r'(attestation_)?timeout_seconds', '--timeout', error.hint)}")


def table(rows: list[tuple[str, ...]]) -> str:
    """Return rows in aligned columns; the first row is the heading."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
