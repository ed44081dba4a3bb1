"""Tells every watcher of every answered request; a watcher that fails costs its own line and nothing else."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from blindai.server.watch.crashes import described
from blindai.server.watch.finished import Finished

if TYPE_CHECKING:  # each is imported by whoever switches it on
    from blindai.server.watch.logs import AccessLog
    from blindai.server.watch.metrics import Metrics
    from blindai.server.watch.telemetry import Usage

_log = logging.getLogger("blindai.server")


class Watch:
    """Fans out to those that are there. For the event loop's thread; `finished` takes microseconds."""

    def __init__(
        self, *, metrics: Metrics | None = None, access: AccessLog | None = None, usage: Usage | None = None
    ) -> None:
        self._metrics = metrics
        self._watchers: list[Callable[[Finished], None]] = [
            watcher.finished for watcher in (metrics, access, usage) if watcher is not None
        ]
        self._failed = False

    def finished(self, request: Finished) -> None:
        """Count and log an answered request. Never raises: the answer is out, and the server goes on."""
        for watcher in self._watchers:
            try:
                watcher(request)
            except Exception as exc:  # noqa: BLE001 - the boundary of what a request may be harmed by
                if not self._failed:  # once: it would be said with every request
                    self._failed = True
                    _log.error("watching failed: %s; not said again", described(exc))  # noqa: TRY400

    def forget(self, model: str) -> None:
        """Drop the series of a deleted model."""
        if self._metrics is not None:
            self._metrics.forget(model)
