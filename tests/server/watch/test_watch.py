"""All watchers at once, on one request."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from blindai.server.watch.logs import AccessLog
from blindai.server.watch.metrics import Metrics
from blindai.server.watch.telemetry import Usage
from blindai.server.watch.watch import Watch
from tests.server.watch.answered import CANARY, MODEL, ROUTES, gauges, request


def latencies(metrics: Metrics) -> set[str]:
    return {
        sample.labels["model"]
        for family in text_string_to_metric_families(metrics.render().decode())
        for sample in family.samples
        if sample.name == "blindai_request_seconds_count"
    }


def test_every_watcher_is_told_of_a_request():
    """Metrics and telemetry count the same request."""
    metrics, usage = Metrics(ROUTES, gauges()), Usage()
    watch = Watch(metrics=metrics, access=AccessLog("json", ROUTES), usage=usage)
    watch.finished(request())
    assert latencies(metrics) == {MODEL}
    assert usage.inferences == 1
    watch.forget(MODEL)
    assert latencies(metrics) == set()


def test_nothing_need_be_watched():
    """Without watchers requests go by."""
    watch = Watch()
    watch.finished(request())
    watch.forget(MODEL)


def test_a_watcher_that_fails_harms_nobody(caplog):
    """The others still hear of every request, and the log has it once, without contents."""
    metrics, usage = Metrics(ROUTES, gauges()), Usage()
    watch = Watch(metrics=metrics, usage=usage)
    for _ in range(3):
        watch.finished(request(request_bytes=CANARY))
    assert usage.requests == 3
    assert caplog.text.count("watching failed: TypeError at metrics.py:") == 1
    assert CANARY not in caplog.text
    watch.finished(request())  # no lock is left held
    assert latencies(metrics) == {MODEL}
