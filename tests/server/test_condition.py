"""What the health routes and the metrics say of evidence and collateral, and when the server is ready."""

from __future__ import annotations

import json
import time
import urllib.request
from pathlib import Path

import pytest

from blindai.server.evidence.condition import Condition, condition
from blindai.server.evidence.stapling.keeper import CollateralState
from tests.serving import RunningServer, running_server

NOW = 1_790_000_000


class Evidence:
    """How asking the TEE stands, as `Attestations` tells it."""

    def __init__(self, *, stuck: bool = False, failing: bool = False) -> None:
        self.stuck = stuck
        self.failing = failing or stuck


class Stapled:
    """How the collateral stands, as `Keeper` tells it."""

    def __init__(self, status: str) -> None:
        self.status = status

    def state(self, now: int) -> CollateralState:
        return CollateralState(self.status, now + 60, now - 60, ("https://inside.example is down",))


def made(status: str = "valid", *, keyset_expires: int = NOW + 60, **evidence: bool) -> Condition:
    return condition(Evidence(**evidence), Stapled(status), keyset_expires=keyset_expires, now=NOW)


@pytest.mark.parametrize(
    ("status", "ready"), [("valid", True), ("ending", True), ("expired", False), ("missing", False)]
)
def test_collateral_decides(status, ready):
    """With collateral that no client could judge by, the server is not ready; one about to end is enough."""
    found = made(status)
    assert found.ready is ready
    assert found.to_json()["collateral"]["status"] == status


@pytest.mark.parametrize(
    ("evidence", "word"), [({}, "ok"), ({"failing": True}, "failing"), ({"stuck": True}, "not answering")]
)
def test_evidence_decides(evidence, word):
    """Where the TEE fails or hangs, the server is not ready for new clients, and says which of both it is."""
    found = made(**evidence)
    assert found.ready is (word == "ok")
    assert found.to_json()["evidence"] == {"status": word}


def test_an_ended_keyset_decides():
    """Without keys that are still valid nobody could accept the server."""
    assert not made(keyset_expires=NOW).ready
    assert made(keyset_expires=NOW + 1).ready


def test_problems_are_counted_and_not_told():
    """Whoever asks learns how many pieces are a problem, not which services the operator asks."""
    told = json.dumps(made().to_json())
    assert made().to_json()["collateral"]["problems"] == 1
    assert "inside.example" not in told


def ready(server: RunningServer) -> tuple[int, dict]:
    reply = server.request("GET", "/v2/health/ready")
    return reply.status, reply.json()


def metrics(server: RunningServer) -> dict[str, float]:
    with urllib.request.urlopen(f"http://{server.ready['metrics']}/metrics", timeout=10) as response:
        lines = response.read().decode().splitlines()
    return {line.split()[0]: float(line.split()[1]) for line in lines if not line.startswith("#")}


def until(condition) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_server_whose_device_fails_says_so_and_recovers(tmp_path: Path):
    """A device that fails makes the server not ready, in health and metrics; it recovers without a client."""
    mood = tmp_path / "mood"
    with running_server(device={"mood": str(mood)}, metrics_address="127.0.0.1:0") as server:
        assert ready(server)[0] == 200
        mood.write_text('{"fails": true}')
        nonce = "A" * 43
        reply = server.request("GET", f"/.well-known/blindai/attestation?nonce={nonce}")
        assert (reply.status, reply.code) == (503, "attestation-unavailable")
        assert int(reply.headers["retry-after"]) > 0
        status, body = ready(server)
        assert (status, body["ready"], body["evidence"]["status"]) == (503, False, "failing")
        assert server.request("GET", "/v2/health/live").status == 200
        numbers = metrics(server)
        assert numbers["blindai_evidence_failing"] == 1
        assert numbers["blindai_quote_failures_total"] >= 1
        assert numbers["blindai_collateral_valid"] == 1
        mood.write_text("{}")
        until(lambda: ready(server)[0] == 200)
        assert metrics(server)["blindai_evidence_failing"] == 0
