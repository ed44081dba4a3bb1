"""How a Unix time is shown to people."""

from __future__ import annotations

import datetime


def shown(seconds: int) -> str:
    """Return a Unix time as UTC, to the minute; what no calendar holds, as the number it is."""
    try:
        moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    except (ValueError, OverflowError, OSError):
        return f"{seconds} s of Unix time"
    return moment.strftime("%Y-%m-%d %H:%M UTC")
