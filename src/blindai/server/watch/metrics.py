"""Counts requests and renders the numbers for Prometheus: no caller, no content, no name that a caller chose.

The counting is plain arithmetic of ours and only the rendering prometheus-client's. Its own counters look
at PROMETHEUS_MULTIPROC_DIR and then write to files there, and that variable is the host's to set.
"""

from __future__ import annotations

import itertools
import logging
import threading
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import fields

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from blindai.server.watch.crashes import described
from blindai.server.watch.finished import CODES, OTHER, Finished, model_label
from blindai.server.watch.gauges import MEANINGS
from blindai.server.watch.gauges import Gauge as Gauge
from blindai.server.watch.gauges import Gauges as Gauges

MAX_MODELS = 256  # distinct values of the label `model`
MAX_OUTCOMES = 1024  # distinct (route, status, code)
BOUNDS_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

_NO_CODE = "ok"
_LE = (*(str(bound) for bound in BOUNDS_SECONDS), "+Inf")

_log = logging.getLogger("blindai.server")


class Metrics:
    """`routes` are the patterns of the router; every other route counts as `other`."""

    def __init__(self, routes: Collection[str], gauges: Gauges) -> None:
        self._routes = frozenset(routes)
        self._gauges = gauges
        self._lock = threading.Lock()  # requests finish on the event loop, numbers are read on a thread
        self._outcomes: dict[tuple[str, int, str], int] = {}
        self._unlisted = 0  # outcomes beyond MAX_OUTCOMES
        self._by_model: dict[str, _Histogram] = {}
        self._queue = _Histogram()
        self._request_bytes = 0
        self._response_bytes = 0
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_Collector(self._families))

    def finished(self, request: Finished) -> None:
        """Count an answered request."""
        key = (request.route, request.status, request.code)
        with self._lock:
            count = self._outcomes.get(key)
            if count is None:
                self._first(key)
            else:
                self._outcomes[key] = count + 1
            self._request_bytes += request.request_bytes
            self._response_bytes += request.response_bytes
            # Refusals take no time and wait for nothing: among them a slow model would not be seen.
            if request.is_inference and request.succeeded and request.model is not None:
                self._queue.observe(request.queue_seconds)
                self._histogram(request.model).observe(request.seconds)

    def forget(self, model: str) -> None:
        """Drop the series of a deleted model, so that its label is free for another."""
        with self._lock:
            self._by_model.pop(model, None)

    def render(self) -> bytes:
        """Return all numbers in Prometheus's text format, version 0.0.4."""
        return generate_latest(self._registry)

    def _first(self, key: tuple[str, int, str]) -> None:
        route, status, code = key
        known = (
            route if route in self._routes else OTHER,
            status if 100 <= status <= 599 else 0,
            code if code in CODES else OTHER,
        )
        if known in self._outcomes or len(self._outcomes) < MAX_OUTCOMES:
            self._outcomes[known] = self._outcomes.get(known, 0) + 1
        else:
            self._unlisted += 1

    def _histogram(self, model: str) -> _Histogram:
        found = self._by_model.get(model)
        if found is not None:
            return found
        label = model_label(model)
        if label not in self._by_model and len(self._by_model) >= MAX_MODELS:
            label = OTHER
        return self._by_model.setdefault(label, _Histogram())

    def _families(self) -> Iterator[Metric]:
        with self._lock:
            outcomes = dict(self._outcomes)
            unlisted = self._unlisted
            by_model = {model: histogram.copy() for model, histogram in self._by_model.items()}
            queue = self._queue.copy()
            sizes = self._request_bytes, self._response_bytes
        yield _requests(outcomes, unlisted)
        yield _histograms(
            "blindai_request_seconds",
            "Time from a request's head to its answer's last byte, of inferences that succeeded.",
            by_model,
        )
        yield _histograms(
            "blindai_queue_seconds",
            "Time that inferences waited for a thread, of those that succeeded.",
            {"": queue},
        )
        yield CounterMetricFamily("blindai_request_bytes", "Bytes of request bodies.", sizes[0])
        yield CounterMetricFamily("blindai_response_bytes", "Bytes of response bodies.", sizes[1])
        for field in fields(self._gauges):
            value = _value(getattr(self._gauges, field.name), field.name)
            if value is not None:
                family = CounterMetricFamily if field.name.endswith("_total") else GaugeMetricFamily
                yield family(f"blindai_{field.name}", MEANINGS[field.name], value)


class _Histogram:
    """Observations by size, and their sum."""

    __slots__ = ("counts", "sum")

    def __init__(self, counts: Sequence[int] = (0,) * len(_LE), total: float = 0.0) -> None:
        self.counts = list(counts)
        self.sum = total

    def observe(self, value: float) -> None:
        self.counts[bisect_left(BOUNDS_SECONDS, value)] += 1
        self.sum += value

    def copy(self) -> _Histogram:
        return _Histogram(self.counts, self.sum)


class _Collector(Collector):
    def __init__(self, families: Callable[[], Iterator[Metric]]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        return self._families()


def _requests(outcomes: dict[tuple[str, int, str], int], unlisted: int) -> Metric:
    family = CounterMetricFamily("blindai_requests", "Answered requests.", labels=("route", "status", "code"))
    for (route, status, code), count in outcomes.items():
        family.add_metric((route, str(status), code or _NO_CODE), count)
    if unlisted:
        family.add_metric((OTHER, OTHER, OTHER), unlisted)
    return family


def _histograms(name: str, what: str, by_model: dict[str, _Histogram]) -> Metric:
    """Return the family; the model "" stands for no label."""
    family = HistogramMetricFamily(name, what, labels=() if "" in by_model else ("model",))
    for model, histogram in by_model.items():
        buckets = list(zip(_LE, map(float, itertools.accumulate(histogram.counts)), strict=True))
        family.add_metric((model,) if model else (), buckets, histogram.sum)
    return family


def _value(gauge: Gauge, name: str) -> float | None:
    try:
        return gauge()
    except Exception as exc:  # noqa: BLE001 - one number that fails must not cost all others
        _log.warning("the metric %s cannot be read: %s", name, described(exc))
        return None
