"""A thousand clients ask for evidence at once, of a device that takes 50 ms: few quotes answer them all.

Each client verifies its answer with the client's own code, about its own nonce, and nobody else's.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

import blindai
from blindai.attestation.trust import SimulationTrust
from blindai.attestation.verifier import Attested
from blindai.channel import challenge, handshake
from blindai.channel.answer import PATH
from blindai.channel.bundle import Bundle
from blindai.errors import AttestationError
from blindai.transport import tls
from tests.serving import RunningServer, running_server
from tests.system.open_files import many_files

SEED = os.environ.get("BLINDAI_SEED", "0")
CLIENTS = 1000
QUOTE_SECONDS = 0.05
SAMPLES = 20
READ_SECONDS = 60


@dataclass
class Client:
    """One client on a connection of its own, which is open already."""

    number: int
    connection: ssl.SSLSocket
    nonce: bytes
    answer: bytes = b""

    @property
    def bundle(self) -> Bundle:
        peer = tls.peer_of(self.connection, "127.0.0.1")
        return Bundle(peer, self.nonce, self.answer)


@pytest.fixture
def counted(tmp_path: Path) -> Path:
    return tmp_path / "quotes"


@pytest.fixture
def server(counted: Path) -> Iterator[RunningServer]:
    with many_files(2 * CLIENTS):  # inherited by the server
        with running_server(
            device={"seconds": QUOTE_SECONDS, "counted": str(counted)},
            max_connections=CLIENTS + 100,
            log_format="json",
        ) as running:
            yield running


def test_a_thousand_challenges_at_once(server: RunningServer, counted: Path):
    """All answers verify; quotes are at most two more than fit into the time in which challenges came."""
    with contextlib.ExitStack() as held:
        clients = [connected(server, number, held) for number in range(CLIENTS)]
        sources = {client.connection.getsockname()[0] for client in clients}
        before = quotes(counted)
        began = time.monotonic()
        exchanges = [asked(client) for client in clients]
        sent = time.monotonic() - began
        for client, exchange in zip(clients, exchanges, strict=True):
            client.answer = received(client, exchange)
        took = time.monotonic() - began
        made = quotes(counted) - before
        judge = Judge(server)
        assert all(judge.accepts(client.bundle) for client in clients)
        window = arrival_window(server)
        allowed = 2 + window / QUOTE_SECONDS
        print(  # noqa: T201
            f"BLINDAI_SEED={SEED}: {len(clients)} clients from {len(sources)} addresses sent "
            f"in {sent:.3f} s, and came within {window:.3f} s: {made} quotes, allowed {allowed:.1f}; "
            f"all answered after {took:.3f} s"
        )
        assert made <= allowed
        check_that_answers_are_personal(judge, clients)


def check_that_answers_are_personal(judge: Judge, clients: list[Client]) -> None:
    """Nobody can use another client's nonce, index or path, neither of the same quote nor of another one."""
    chance = random.Random(SEED)  # noqa: S311
    alike = 0
    for client in chance.sample(clients, SAMPLES):
        other = chance.choice([each for each in clients if each is not client])
        mine, theirs = json.loads(client.answer), json.loads(other.answer)
        alike += mine["evidence"] == theirs["evidence"]
        swapped = {
            "their answer": theirs,
            "their challenge": {**mine, "challenge": theirs["challenge"]},
            "their evidence": {**mine, "evidence": theirs["evidence"], "challenge": theirs["challenge"]},
            "their index": {**mine, "challenge": {**mine["challenge"], "index": neighbour(mine)}},
            "their path": {**mine, "challenge": {**mine["challenge"], "path": theirs["challenge"]["path"]}},
            "no challenge": {name: value for name, value in mine.items() if name != "challenge"},
        }
        for what, lie in swapped.items():
            assert not judge.accepts(replace(client.bundle, answer=json.dumps(lie).encode())), what
        assert not judge.accepts(replace(client.bundle, nonce=other.nonce))
    assert alike > 0, "no two samples shared a quote"


def neighbour(answer: dict[str, Any]) -> int:
    """Return another index of the same tree."""
    return int(answer["challenge"]["index"]) ^ 1


class Judge:
    """The client's code, with the server's own policy and root."""

    def __init__(self, server: RunningServer) -> None:
        self._policy = blindai.Policy.from_toml(server.ready["policy"])
        self._trust = SimulationTrust([server.ready["root_sha256"]])

    def accepts(self, bundle: Bundle) -> bool:
        try:
            proof = handshake.conclude(
                bundle, policy=self._policy, trust=self._trust, floors={}, now=int(time.time())
            )
        except AttestationError:
            return False
        return isinstance(proof, Attested)


def connected(server: RunningServer, number: int, held: contextlib.ExitStack) -> Client:
    """Connect from a loopback address of this client's own."""
    source = (f"127.{1 + number // 62500}.{number // 250 % 250}.{1 + number % 250}", 0)
    raw = held.enter_context(
        socket.create_connection(("127.0.0.1", server.port), READ_SECONDS, source_address=source)
    )
    connection = held.enter_context(tls.client_context().wrap_socket(raw, server_hostname="127.0.0.1"))
    return Client(number, connection, os.urandom(challenge.NONCE_BYTES))


def asked(client: Client) -> handshake.Exchange:
    """Send a client's challenge, as the client does; return what goes on with reading."""
    exchange = handshake.fetch_answer(f"127.0.0.1:{client.number}", client.nonce)
    step = next(exchange)
    assert isinstance(step, handshake.Send)
    client.connection.sendall(step.data)
    return exchange


def received(client: Client, exchange: handshake.Exchange) -> bytes:
    data: bytes | None = None
    try:
        while True:
            step = exchange.send(data)
            assert isinstance(step, handshake.Receive)
            data = client.connection.recv(step.max_bytes)
    except StopIteration as done:
        answer: bytes = done.value
        return answer


def quotes(counted: Path) -> int:
    return len(counted.read_text().splitlines())


def arrival_window(server: RunningServer) -> float:
    """Return in how many seconds the challenges came, by the server's own record of when each began."""
    lines = [json.loads(line) for line in server.log.read_text().splitlines()]
    began = [
        when(line["time"]) - line["seconds"]
        for line in lines
        if line["event"] == "request" and line["route"] == PATH
    ]
    assert len(began) == CLIENTS
    return max(began) - min(began)


def when(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
