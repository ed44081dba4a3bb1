"""Puts together what watches the server: log lines, metrics on their own port, telemetry if configured."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Self

from blindai.server.services import Services
from blindai.server.settings import Settings
from blindai.server.watch import telemetry
from blindai.server.watch.logs import AccessLog
from blindai.server.watch.telemetry import Telemetry, Usage
from blindai.server.watch.watch import Watch
from blindai.tee.attester import Attester

if TYPE_CHECKING:
    from blindai.server.watch.metrics import Metrics
    from blindai.server.watch.metrics_listener import MetricsListener


class Watching:
    """Runs from `with` to its end. `address` is where the metrics are, if anywhere."""

    def __init__(
        self,
        settings: Settings,
        services: Services,
        routes: Sequence[str],
        attester: Attester,
    ) -> None:
        self.connections: Callable[[], int] = lambda: 0
        self.address: str | None = None
        self._closing = contextlib.ExitStack()
        self._began = time.monotonic()
        self._usage = Usage()
        metrics: Metrics | None = None
        if settings.metrics_address is not None:
            # Prometheus's library takes a tenth of a second: only where it is wanted.
            from blindai.server.watch.metrics import Metrics  # noqa: PLC0415
            from blindai.server.watch.metrics_listener import MetricsListener  # noqa: PLC0415

            gauges = services.gauges(connections=self._connected)
            metrics = Metrics(routes, gauges)
            self._listener = MetricsListener(metrics.render, settings.metrics_address)
            self.address = _shown(self._listener)
            self._closing.callback(self._listener.close)
        self._serves_metrics = metrics is not None
        self._telemetry = self._reporting(settings, attester)
        self.watch = Watch(metrics=metrics, access=AccessLog(settings.log_format, routes), usage=self._usage)
        services.forget = self.watch.forget

    def __enter__(self) -> Self:
        if self._serves_metrics:
            self._listener.start()
        if self._telemetry is not None:
            self._telemetry.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    def _connected(self) -> int:
        return self.connections()  # of a listener that is made later

    def _reporting(self, settings: Settings, attester: Attester) -> Telemetry | None:
        endpoint = settings.telemetry_endpoint
        if endpoint is None or telemetry.setting(endpoint, os.environ) == telemetry.NONE:
            return None
        mode = telemetry.execution_mode(attester.tee, simulated=attester.simulated)
        reporting = Telemetry(
            endpoint,
            interval_seconds=settings.telemetry_interval_seconds,
            current=lambda: telemetry.message(
                self._usage, mode=mode, uptime_seconds=time.monotonic() - self._began
            ),
        )
        self._closing.callback(reporting.close)
        return reporting


def _shown(listener: MetricsListener) -> str:
    host = f"[{listener.host}]" if ":" in listener.host else listener.host
    return f"{host}:{listener.port}"
