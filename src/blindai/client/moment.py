"""The time at which a bundle is judged, as people say it: one reader for Python and the command line."""

from __future__ import annotations

import datetime
import re

from blindai.errors import UsageError

Moment = int | float | str | datetime.datetime

_YEAR_10000 = 253_402_300_800
_HINT = "e.g. 2026-10-01, 2026-10-01T12:00:00Z or 1790856000"


def unix_seconds(at: object) -> int:
    """Return the time in whole Unix seconds, or raise UsageError for what is none or could be another."""
    if isinstance(at, str):
        at = parse(at)
    if isinstance(at, datetime.datetime):
        if at.tzinfo is None:
            raise UsageError("at= is a time without a zone", hint="e.g. datetime.now(datetime.UTC)")
        at = at.timestamp()
    if isinstance(at, bool) or not isinstance(at, (int, float)) or not 0 <= at < _YEAR_10000:
        raise UsageError("at= is no time: Unix seconds, a text, or a datetime with a zone", hint=_HINT)
    return int(at)


def parse(text: str) -> int | datetime.datetime:
    """Read a date (midnight, UTC), ISO 8601 with a zone, or Unix seconds, or raise UsageError."""
    if re.fullmatch("[0-9]{9,12}", text):
        return int(text)
    try:
        if re.fullmatch("[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
            return datetime.datetime.fromisoformat(text).replace(tzinfo=datetime.UTC)
        # Not fromisoformat's weeks and run-together dates: one of those could pass for Unix seconds.
        if re.match("[0-9]{4}-[0-9]{2}-[0-9]{2}[T ]", text):
            moment = datetime.datetime.fromisoformat(text)
            if moment.tzinfo is not None:
                return moment
    except ValueError:
        pass
    raise UsageError("the time (--at, at=) is not a date, a time with a zone, or Unix seconds", hint=_HINT)
