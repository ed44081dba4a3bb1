"""Replicas behind haproxy: each connection attested, and one that runs other code gets nothing.

haproxy passes TLS on and ends none of it; what it balances are connections.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import ssl
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import blindai
from blindai.channel.bundle import Peer
from blindai.errors import Reason
from blindai.tee.measurement import policy_toml
from tests import models
from tests.devices import lent, machines
from tests.serving import RunningServer, server_command
from tests.system.balancer import Haproxy, haproxy
from tests.system.deployment import Deployment, kill
from tests.system.load import MAX_UPLOADS, MODEL, Load

pytestmark = pytest.mark.filterwarnings("ignore::blindai.ReplicaRefusedWarning")

SEED = os.environ.get("BLINDAI_SEED", "0")
NAMES = ("a", "b", "c")
ATTESTATION = "/.well-known/blindai/attestation"
# With many clients dialling at once, the turn of a round robin leads one of them to the same replica again
# and again: each dial is a draw. Sixteen in a row on one of three are one in forty million.
ATTEMPTS = 16


class Replicas:
    """Servers by name, each a process of its own on machines of one vendor."""

    def __init__(self, folder: Path, stack: contextlib.ExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self._good, self._other = machines("good", "other", now=int(time.time()))
        self._model = folder / "identity.onnx"
        self._model.write_bytes(models.identity())
        self.running: dict[str, RunningServer] = {}
        self.options = {
            "simulation": self._good.root_sha256,
            "policy": blindai.Policy.from_toml(policy_toml(self._good.measurements)),
            "attempts": ATTEMPTS,
        }

    def start(self, name: str, *, other: bool = False) -> RunningServer:
        """Start a replica, with another measurement if it is to be `other`."""
        port = self._stack.enter_context(lent(self._other if other else self._good))
        deployment = Deployment(self._folder / f"{name}{' other' * other} {time.monotonic_ns()}")
        command = server_command(
            {MODEL: self._model}, device={"lender": port}, log_format="json", caller_max_uploads=MAX_UPLOADS
        )
        self.running[name] = self._stack.enter_context(deployment.serving(command))
        return self.running[name]


@pytest.fixture
def replicas(tmp_path: Path) -> Iterator[Replicas]:
    with contextlib.ExitStack() as stack:
        made = Replicas(tmp_path, stack)
        for name in NAMES:
            made.start(name)
        yield made


@pytest.fixture(params=["roundrobin", "leastconn"])
def balanced(request: pytest.FixtureRequest, replicas: Replicas) -> Iterator[tuple[Replicas, Haproxy]]:
    ports = {name: server.port for name, server in replicas.running.items()}
    with haproxy(ports, balance=request.param) as balancer:
        for name in NAMES:
            balancer.wait_until(name, "UP")
        yield replicas, balancer


def test_a_killed_replica_and_one_of_another_measurement(balanced: tuple[Replicas, Haproxy]):
    """Clients attest each replica they are led to; when one is killed and another one comes back with other
    code they go on with the good ones, and the other one gets challenges and not one byte of a request.
    """
    replicas, balancer = balanced
    load = Load(balancer.address, SEED, replicas.options, at_once=5)
    with load.running():
        each_one_attested(replicas, balancer, load)
        in_flight = killed(replicas, balancer, load)
        lost = list(load.failures)
        other = restarted_as_another(replicas, balancer, load)
        refused = refused_anew(replicas, balancer, 10)
        load.wait_for(8)
    print(  # noqa: T201
        f"BLINDAI_SEED={SEED}: {load.done.total()} requests; a had {in_flight} connections when it was "
        f"killed, and {len(lost)} requests were lost; {len(refused)} of 10 new clients and "
        f"{len(load.refused)} of the load passed the other one over, which was asked {dict(requests(other))}"
    )
    assert len(lost) <= in_flight, lost
    assert {type(failure.error) for failure in lost} <= {blindai.UnreachableError, blindai.ResponseError}, (
        lost
    )
    assert load.failures[len(lost) :] == []
    assert requests(other)[ATTESTATION] > 0
    check_nothing_reached(other)
    refused += load.refused
    assert {replica.reason for replica in refused} == {Reason.MEASUREMENT_MISMATCH}
    assert {replica.tls_spki_sha256 for replica in refused} == {spki_of(other)}


def each_one_attested(replicas: Replicas, balancer: Haproxy, load: Load) -> None:
    """One client comes to all replicas, whose keysets differ, and attests each of them."""
    load.wait_for(8)
    assert load.failures == []
    assert load.refused == []
    assert load.most_certificates() == len(NAMES)
    shown = {server.ready["certificate_pem"] for server in replicas.running.values()}
    assert set.union(*load.certificates.values()) == shown
    for name, server in replicas.running.items():
        assert 0 < requests(server)[ATTESTATION] <= balancer.connections(name)


def killed(replicas: Replicas, balancer: Haproxy, load: Load) -> int:
    """Kill a replica, see clients go on, and start it again; return how many connections it had."""
    in_flight = balancer.open_connections("a")
    # One that is being made at this moment may come to it yet.
    in_flight += load.anew * 2
    kill(replicas.running["a"].process)
    balancer.wait_until("a", "DOWN")
    load.wait_for(8)
    balancer.move("a", replicas.start("a").port)
    balancer.wait_until("a", "UP")
    return in_flight


def restarted_as_another(replicas: Replicas, balancer: Haproxy, load: Load) -> RunningServer:
    """End a replica without losing a request, and put one with another measurement in its place.

    With new keys, the next answer on each connection is its last: the replica empties, and can be ended.
    """
    b = replicas.running["b"]
    balancer.drain("b")
    b.process.send_signal(signal.SIGHUP)
    balancer.wait_until_empty("b")
    assert b.stop() == 0
    load.wait_for(5)
    other = replicas.start("b", other=True)
    balancer.move("b", other.port)
    balancer.enable("b")
    balancer.wait_until("b", "UP")
    load.wait_for(8)
    return other


def refused_anew(replicas: Replicas, balancer: Haproxy, count: int) -> list[blindai.RefusedReplica]:
    """Connect so often, one after the other, and ask each time; return whom these clients passed over."""
    refused: list[blindai.RefusedReplica] = []
    for _ in range(count):
        with blindai.connect(balancer.address, **replicas.options) as client:
            assert client.predict(MODEL, [1.0])["y"].tolist() == [1.0]
            refused += client.refused
    return refused


def requests(server: RunningServer) -> Counter[str]:
    """Return what a server was asked, by route, as it says itself."""
    return Counter(line["route"] for line in answered(server))


def answered(server: RunningServer) -> list[dict]:
    lines = [json.loads(line) for line in server.log.read_text().splitlines()]
    return [line for line in lines if line["event"] == "request"]


def check_nothing_reached(server: RunningServer) -> None:
    """Besides challenges of clients, and the health checks of haproxy, a server was asked nothing."""
    lines = answered(server)
    assert {(line["method"], line["route"]) for line in lines} <= {
        ("GET", ATTESTATION),
        ("GET", "/v2/health/ready"),
    }
    assert sum(line["request_bytes"] for line in lines) == 0


def spki_of(server: RunningServer) -> bytes:
    der = ssl.PEM_cert_to_DER_cert(server.ready["certificate_pem"])
    return Peer.from_certificate("127.0.0.1", der).tls_spki_sha256
