"""The limits of one model: how often it is asked, and how many requests for it may be in the house."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Iterator

from blindai.errors import RequestCode, RequestError
from blindai.server.callers.rate import Rate
from blindai.server.catalogue.entry import Entry


class ModelGate:
    """For the event loop's thread only."""

    def __init__(self) -> None:
        self._inside: Counter[str] = Counter()
        self._rate = Rate(0)  # each model brings its own

    @contextlib.contextmanager
    def admitted(self, entry: Entry) -> Iterator[None]:
        """Count a request while it is inside. Raises RequestError (rate-limited, busy)."""
        limits = entry.limits
        self._rate.take(entry.key, time.monotonic(), per_minute=limits.requests_per_minute)
        if limits.max_waiting and self._inside[entry.key] >= limits.max_waiting:
            raise RequestError(RequestCode.BUSY, "too many requests wait for this model: try again")
        self._inside[entry.key] += 1
        try:
            yield
        finally:
            self._inside[entry.key] -= 1
            if not self._inside[entry.key]:
                del self._inside[entry.key]
