"""Who asks, and whether they asked too often: before a handler is called or a byte of a body is read."""

from __future__ import annotations

import time

from blindai.server.callers.caller import Caller
from blindai.server.callers.directory import Callers
from blindai.server.callers.rate import Rate
from blindai.server.exchange import Headers, header


class Gate:
    """`requests_per_minute` is for callers that have no limit of their own; zero is none."""

    def __init__(self, callers: Callers, *, requests_per_minute: int) -> None:
        self._callers = callers
        self._requests_per_minute = requests_per_minute
        self._rates: dict[int, Rate] = {}

    def admit(self, headers: Headers) -> Caller:
        """Return the caller. Raises RequestError (unauthenticated, rate-limited)."""
        caller = self._callers.authenticate(header(headers, b"authorization"), int(time.time()))
        per_minute = caller.quota.requests_per_minute or self._requests_per_minute
        if per_minute:
            self._rate(per_minute).take(caller.key_id, time.monotonic())
        return caller

    def _rate(self, per_minute: int) -> Rate:
        # The settings have a handful of different limits, and so has this.
        if per_minute not in self._rates:
            self._rates[per_minute] = Rate(per_minute)
        return self._rates[per_minute]
