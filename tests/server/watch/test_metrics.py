"""The numbers: what is counted, under which names, and that no client can make more of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from blindai.errors import RequestCode
from blindai.server.watch.metrics import BOUNDS_SECONDS, MAX_MODELS, MAX_OUTCOMES, Metrics
from tests.server.watch.answered import CANARY, INFER, MODEL, ROUTES, gauges, hostile, request


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(ROUTES, gauges())


def samples(metrics: Metrics, name: str) -> dict[tuple[str, ...], float]:
    """Label values, in the order of the label names' alphabet -> value."""
    return {
        tuple(sample.labels[label] for label in sorted(sample.labels)): sample.value
        for family in text_string_to_metric_families(metrics.render().decode())
        for sample in family.samples
        if sample.name == name
    }


def test_requests_count_by_route_status_and_code(metrics: Metrics):
    """Requests of one outcome share a number; a success has the code ok."""
    for _ in range(3):
        metrics.finished(request())
    metrics.finished(request(status=429, code=RequestCode.BUSY))
    assert samples(metrics, "blindai_requests_total") == {("ok", INFER, "200"): 3, ("busy", INFER, "429"): 1}


def test_bytes_of_all_requests_are_summed(metrics: Metrics):
    """Request and response bytes count whatever the outcome."""
    metrics.finished(request(request_bytes=600, response_bytes=40))
    metrics.finished(request(request_bytes=7, response_bytes=60, status=400, code="malformed", model=None))
    assert samples(metrics, "blindai_request_bytes_total") == {(): 607}
    assert samples(metrics, "blindai_response_bytes_total") == {(): 100}


@pytest.mark.parametrize("seconds", [0.0, *BOUNDS_SECONDS, 61.0])
def test_latency_is_in_every_bucket_that_it_fits(metrics: Metrics, seconds: float):
    """Buckets are cumulative, a bound belongs to its bucket, and sum and count fit."""
    metrics.finished(request(seconds=seconds))
    buckets = samples(metrics, "blindai_request_seconds_bucket")
    expected = {
        (le, MODEL): float(seconds <= bound)
        for le, bound in [*((str(bound), bound) for bound in BOUNDS_SECONDS), ("+Inf", float("inf"))]
    }
    assert buckets == expected
    assert samples(metrics, "blindai_request_seconds_count") == {(MODEL,): 1}
    assert samples(metrics, "blindai_request_seconds_sum") == {(MODEL,): seconds}


def test_the_queue_has_a_histogram_of_its_own(metrics: Metrics):
    """What an inference waited for a thread is told without the model."""
    metrics.finished(request(queue_seconds=0.25))
    assert samples(metrics, "blindai_queue_seconds_sum") == {(): 0.25}
    assert samples(metrics, "blindai_queue_seconds_count") == {(): 1}


@pytest.mark.parametrize(
    "changes", [{"status": 400, "code": "malformed"}, {"model": None}, {"route": "/v2", "method": "GET"}]
)
def test_only_inferences_that_succeeded_have_a_latency(metrics: Metrics, changes):
    """Refusals are quick: among them a slow model would not be seen."""
    metrics.finished(request(**changes))
    assert samples(metrics, "blindai_request_seconds_count") == {}
    assert samples(metrics, "blindai_queue_seconds_count") == {(): 0}


def test_what_a_client_chose_is_no_label(metrics: Metrics):
    """A path, a method, a code or a name that is not one of ours counts as other."""
    metrics.finished(hostile())
    assert CANARY not in metrics.render().decode()
    assert samples(metrics, "blindai_requests_total") == {("other", "other", "200"): 1}
    assert samples(metrics, "blindai_request_seconds_count") == {("other",): 1}


def test_models_beyond_the_limit_share_a_label(metrics: Metrics):
    """A thousand models make no more than the allowed number of histograms, and `other`; none is lost."""
    for number in range(1000):
        metrics.finished(request(model=f"{number:032x}"))
    counts = samples(metrics, "blindai_request_seconds_count")
    assert len(counts) == MAX_MODELS + 1
    assert counts["other",] == 1000 - MAX_MODELS


def test_a_deleted_model_frees_its_label(metrics: Metrics):
    """After `forget` the model's series are gone and another model has one."""
    for number in range(MAX_MODELS):
        metrics.finished(request(model=f"{number:032x}"))
    metrics.forget(f"{0:032x}")
    metrics.forget("never seen")
    metrics.finished(request(model=MODEL))
    counts = samples(metrics, "blindai_request_seconds_count")
    assert (f"{0:032x}",) not in counts
    assert counts[MODEL,] == 1
    assert ("other",) not in counts


def test_outcomes_are_bounded(metrics: Metrics):
    """Every status under every code makes no more than the allowed number of series, and `other`."""
    sent = 0
    for status in range(100, 600):
        for code in ("", *RequestCode):
            metrics.finished(request(route=INFER, status=status, code=code, model=None))
            sent += 1
    counts = samples(metrics, "blindai_requests_total")
    assert len(counts) == MAX_OUTCOMES + 1
    assert sum(counts.values()) == sent


def test_an_impossible_status_counts_as_zero(metrics: Metrics):
    """A status outside HTTP's makes no series of its own."""
    for status in (-1, 99, 600, 10**9):
        metrics.finished(request(status=status))
    assert samples(metrics, "blindai_requests_total") == {("ok", INFER, "0"): 4}


def test_gauges_show_the_moment():
    """A gauge is read when it is asked for; one without a number is left out."""
    now = iter([3, 5])
    metrics = Metrics(ROUTES, gauges(queue_waiting=lambda: next(now), stored_bytes=lambda: 2.0**40))
    assert samples(metrics, "blindai_queue_waiting") == {(): 3}
    assert samples(metrics, "blindai_queue_waiting") == {(): 5}
    now = iter([0])
    assert samples(metrics, "blindai_stored_bytes") == {(): 2.0**40}
    now = iter([0])
    assert samples(metrics, "blindai_evidence_age_seconds") == {}


def test_a_gauge_that_fails_costs_no_other_number(caplog):
    """Its name and the type of its failure are logged, without the failure's text."""

    def fails():
        raise OSError(CANARY)

    metrics = Metrics(ROUTES, gauges(stored_bytes=fails, connections=lambda: 4))
    metrics.finished(request())
    assert samples(metrics, "blindai_connections") == {(): 4}
    assert samples(metrics, "blindai_requests_total") == {("ok", INFER, "200"): 1}
    assert "stored_bytes" in caplog.text
    assert CANARY not in caplog.text


def test_every_gauge_has_its_name(metrics: Metrics):
    """Each field of the gauges is a metric with a meaning, named with its unit."""
    names = list(gauges().__dataclass_fields__)
    full = Metrics(ROUTES, gauges(**{name: lambda: 1 for name in names}))
    families = {f.name: f for f in text_string_to_metric_families(full.render().decode())}
    # A counter's family is named without the ending of its samples.
    assert {f"blindai_{name.removesuffix('_total')}" for name in names} <= set(families)
    assert all(family.documentation for family in families.values())


def test_the_global_registry_is_untouched(metrics: Metrics):
    """Two servers in one process do not collide, and nothing of the process is told."""
    metrics.finished(request())
    Metrics(ROUTES, gauges()).finished(request())
    assert not [f.name for f in REGISTRY.collect() if f.name.startswith("blindai")]
    text = metrics.render().decode()
    assert "process_" not in text
    assert "python_" not in text


def test_the_hosts_environment_makes_it_write_no_file(tmp_path: Path):
    """PROMETHEUS_MULTIPROC_DIR makes prometheus-client's own counters files of the host's."""
    program = """
from tests.server.watch.answered import ROUTES, gauges, request
from blindai.server.watch.metrics import Metrics
metrics = Metrics(ROUTES, gauges())
metrics.finished(request())
assert b"blindai_requests_total{" in metrics.render()
"""
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    root = Path(__file__).parents[3]
    environment["PYTHONPATH"] = os.pathsep.join([str(root / "src"), str(root), *sys.path])
    subprocess.run([sys.executable, "-c", program], env=environment, check=True, timeout=60)
    assert list(tmp_path.iterdir()) == []
