"""Who asks, and whether they asked too often: before a handler is called or a byte of a body is read."""

from __future__ import annotations

import time

from blindai.server.callers.caller import Caller
from blindai.server.callers.directory import Callers
from blindai.server.callers.rate import Rate
from blindai.server.http.exchange import Headers, header


class Gate:
    """`requests_per_minute` is for callers that have no limit of their own; zero is none."""

    def __init__(self, callers: Callers, *, requests_per_minute: int) -> None:
        self._callers = callers
        self._rate = Rate(requests_per_minute)

    def replace(self, callers: Callers) -> None:
        """Admit others from now on. How often those of before asked stays counted."""
        self._callers = callers

    def admit(self, headers: Headers) -> Caller:
        """Return the caller. Raises RequestError (unauthenticated, rate-limited)."""
        caller = self._callers.authenticate(header(headers, b"authorization"), int(time.time()))
        self._rate.take(caller.key_id, time.monotonic(), per_minute=caller.quota.requests_per_minute or None)
        return caller
