"""What the server does by itself every now and then: keeps time, and lets unused models go."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping

from blindai.errors import BlindAIError
from blindai.server.catalogue.catalogue import Catalogue
from blindai.server.threads import BoundedThreads, QueueFull
from blindai.store.store import Store

_HOUR_SECONDS = 3600.0
_DAY_SECONDS = 86_400

_log = logging.getLogger("blindai.server")


class ServedTime:
    """How long the server has run in its life, over all its starts: a clock that no host can set forward.

    An hour is written down at most once, so that a crash costs an hour at most: models then live longer.
    """

    def __init__(self, store: Store | None) -> None:
        self._store = store
        self._before = 0 if store is None else store.served_seconds
        self._started = time.monotonic()

    def __call__(self) -> int:
        return self._before + int(time.monotonic() - self._started)

    def keep(self, used: Mapping[str, int]) -> None:
        """Write it down, and when models (by id) were last used, in Unix seconds. Blocks. StoreError."""
        if self._store is not None:
            self._store.tick(self(), used)


class Upkeep:
    """Runs until it is cancelled; `once` is one round. `forget` is told the label of what is deleted."""

    def __init__(
        self,
        catalogue: Catalogue,
        served: ServedTime,
        threads: BoundedThreads,
        *,
        unused_days: int,
        forget: Callable[[str], None],
    ) -> None:
        self._catalogue = catalogue
        self._served = served
        self._threads = threads
        self._unused_days = unused_days
        self._forget = forget

    async def run(self) -> None:
        while True:
            await asyncio.sleep(_HOUR_SECONDS)
            try:
                await self._threads.run(self.once)
            except QueueFull:
                _log.warning("no thread was free for the hourly upkeep; trying again in an hour")

    def once(self) -> None:
        """Keep what memory knows, then clean up. Blocks. Never raises: the next round may go better."""
        try:
            self._catalogue.keep_uses(self._served.keep)
            if self._unused_days:
                for entry in self._catalogue.remove_unused(self._unused_days * _DAY_SECONDS):
                    self._forget(entry.label)
                    _log.info("deleted model %s: nobody used it for %d days", entry.label, self._unused_days)
        except BlindAIError as exc:
            _log.warning("upkeep failed: %s", exc)
