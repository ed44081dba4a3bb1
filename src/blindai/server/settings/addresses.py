"""An address with a port, as it stands in the settings."""

from __future__ import annotations

import re

from blindai.errors import UsageError

_ADDRESS = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.%]+)\]|(?P<host>[A-Za-z0-9._-]+)):(?P<port>[0-9]{1,5})")


def parse_address(text: str) -> tuple[str, int]:
    """Return host and port of "127.0.0.1:9925" or "[::1]:9925". Raises UsageError."""
    match = _ADDRESS.fullmatch(text)
    port = int(match["port"]) if match else -1
    if match is None or port > 65535:
        raise UsageError(
            "is a host and a port", hint="for example 127.0.0.1:9925 or [::1]:9925; port 0 is any free one"
        )
    return match["six"] or match["host"], port
