"""A TEE whose device is slow, fails or hangs: new clients are told to wait, and inference goes on.

What a client has attested stays attested: only who is new has to wait for the device.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

import blindai
from tests import models
from tests.devices import set_mood
from tests.serving import Reply, RunningServer, running_server, server_command
from tests.system.deployment import Deployment, NotStarted
from tests.system.load import MAX_UPLOADS, MODEL, Load

SEED = os.environ.get("BLINDAI_SEED", "0")
EVIDENCE = "/.well-known/blindai/attestation?nonce=" + "A" * 43
READY = "/v2/health/ready"
WAIT_SECONDS = 3.0
DEADLINE_SECONDS = 60
MOODS = {
    "slow": ({"seconds": 10}, "not answering"),
    "failing": ({"fails": True}, "failing"),
    "hanging": ({"hangs": True}, "not answering"),
}


@pytest.fixture
def mood(tmp_path: Path) -> Path:
    return tmp_path / "mood"


@pytest.fixture
def server(tmp_path: Path, mood: Path) -> Iterator[RunningServer]:
    """A server whose clients wait 3 s for evidence, with a device that takes 10 ms until it is told else."""
    model = tmp_path / "identity.onnx"
    model.write_bytes(models.identity())
    with running_server(
        {MODEL: model},
        device={"seconds": 0.01, "mood": str(mood)},
        attestation_timeout_seconds=WAIT_SECONDS,
        caller_max_uploads=MAX_UPLOADS,
        metrics_address="127.0.0.1:0",
    ) as running:
        try:
            yield running
        finally:
            set_mood(mood)  # or the process would wait for a device that hangs


@pytest.mark.parametrize("kind", MOODS)
def test_inference_goes_on(kind: str, server: RunningServer, mood: Path):
    """Challenges get 503 and Retry-After, health and metrics say why, not one request of those who have
    attested the server fails; and when the device works again, so does all of it by itself.
    """
    told, status = MOODS[kind]
    load = Load(server.address, SEED, {"simulation": server.ready["root_sha256"]}, anew=0)
    with load.running():
        set_mood(mood, **told)
        check_refused(eventually(lambda: challenged(server), lambda reply: reply.status == 503))
        health = eventually(lambda: server.request("GET", READY), lambda reply: reply.status == 503)
        assert health.json()["evidence"]["status"] == status
        assert metric(server, "blindai_evidence_failing") == 1
        assert server.request("GET", "/v2/health/live").status == 200
        with pytest.raises(blindai.UnreachableError):
            blindai.connect(server.address, **load.options, attestation_timeout_seconds=1)
        load.wait_for(30)
        set_mood(mood)
        # No challenge is needed for that: a balancer sends nobody to a server that is not ready.
        eventually(lambda: server.request("GET", READY), lambda reply: reply.status == 200)
        assert metric(server, "blindai_evidence_failing") == 0
        with blindai.connect(server.address, **load.options) as client:
            assert client.predict(MODEL, [1.0])["y"].tolist() == [1.0]
        load.wait_for(5)
    print(f"{kind}: {load.done.total()} requests of those who had attested the server")  # noqa: T201
    assert load.failures == []


def test_a_client_waits_for_a_device_that_comes_back(server: RunningServer, mood: Path):
    """Whoever connects while the device fails asks again as it was told to, and is served in the end."""
    set_mood(mood, fails=True)
    check_refused(challenged(server))
    load = Load(server.address, SEED, {"simulation": server.ready["root_sha256"]}, steady=0, anew=1)
    load.options["attestation_timeout_seconds"] = DEADLINE_SECONDS
    waiting = metric(server, "blindai_quote_failures_total")
    with load.running(begun=False):
        eventually(lambda: metric(server, "blindai_quote_failures_total"), lambda count: count > waiting)
        set_mood(mood)
        load.wait_for(2)
    assert load.failures == []


def test_a_device_that_fails_at_the_start(tmp_path: Path, mood: Path):
    """The server does not start, and says why and what to do."""
    set_mood(mood, fails=True)
    with pytest.raises(NotStarted) as caught:
        with Deployment(tmp_path / "deployment").serving(server_command(device={"mood": str(mood)})):
            pass
    assert caught.value.code == 1
    assert "TeeError" in caught.value.said
    assert "the device was told to fail" in caught.value.said
    assert "blindai doctor" in caught.value.said
    assert "Traceback" not in caught.value.said


def challenged(server: RunningServer) -> Reply:
    return server.request("GET", EVIDENCE)


def check_refused(reply: Reply) -> None:
    assert (reply.status, reply.code) == (503, "attestation-unavailable")
    assert int(reply.headers["retry-after"]) > 0


def metric(server: RunningServer, name: str) -> float:
    with urlopen(f"http://{server.ready['metrics']}/metrics", timeout=30) as page:
        lines = page.read().decode().splitlines()
    return next(float(line.split()[-1]) for line in lines if line.split(" ")[0] == name)


def eventually(ask: Callable, right: Callable):
    """Ask until the answer is right, and return it."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not right(answer := ask()):
        assert time.monotonic() < deadline, answer
        time.sleep(0.1)
    return answer
