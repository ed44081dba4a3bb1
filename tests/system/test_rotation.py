"""New keys every second under load: no request fails, and none goes to a key that was not attested.

BLINDAI_ROTATION_SECONDS says for how long.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import blindai
from blindai.channel import answer
from blindai.testing import CapturingPeer, TlsIdentity
from blindai.transport import tls
from tests import models
from tests.serving import RunningServer, running_server
from tests.system.load import MAX_UPLOADS, MODEL, Load
from tests.transport.balancing import Balancer

pytestmark = pytest.mark.filterwarnings("ignore::blindai.ReplicaRefusedWarning")

SEED = os.environ.get("BLINDAI_SEED", "0")
SECONDS = float(os.environ.get("BLINDAI_ROTATION_SECONDS", "60"))
LIFE_SECONDS = 300


@pytest.fixture
def turning(tmp_path: Path) -> Iterator[RunningServer]:
    """A server that renews its keys every second, while those of before live on."""
    model = tmp_path / "identity.onnx"
    model.write_bytes(models.identity())
    with running_server(
        {MODEL: model},
        keyset_life_seconds=LIFE_SECONDS,
        keyset_rotation_seconds=1,
        caller_max_uploads=MAX_UPLOADS,
    ) as server:
        yield server


@pytest.fixture
def impostor(turning: RunningServer) -> Iterator[CapturingPeer]:
    """Has a key of its own, and passes challenges on to the server: the evidence that it shows is genuine."""

    def relayed(nonce: bytes) -> bytes:
        with (
            socket.create_connection(("127.0.0.1", turning.port), timeout=30) as raw,
            tls.client_context().wrap_socket(raw) as genuine,  # whatever its key is by now
        ):
            genuine.sendall(challenge(nonce))
            return whole_response(genuine)

    with CapturingPeer(relayed, identities=[TlsIdentity.make("localhost", "127.0.0.1")]) as peer:
        yield peer


def test_keys_that_change_every_second(turning: RunningServer, impostor: CapturingPeer):
    """Over a minute of rotations, every request of long-lived and of new clients is answered. Every third
    connection of some of them is led to somebody else, to whom no byte of a request is sent.
    """
    options = {"simulation": turning.ready["root_sha256"], "attempts": 16}
    direct = Load(turning.address, SEED, options)
    with Balancer([turning, turning, impostor]) as between:
        led_astray = Load(f"127.0.0.1:{between.port}", SEED, options, steady=1)
        with direct.running(), led_astray.running():
            deadline = time.monotonic() + SECONDS
            while time.monotonic() < deadline:
                time.sleep(0.5)
                assert direct.failures == led_astray.failures == []
            direct.wait_for(1)
            led_astray.wait_for(1)
        strays = len(impostor.connections)
    seen = direct.most_certificates()
    print(  # noqa: T201
        f"BLINDAI_SEED={SEED}: {SECONDS:g} s, {direct.done.total() + led_astray.done.total()} requests, one "
        f"client attested {seen} keys; {strays} connections led astray, {len(led_astray.refused)} clients "
        f"said so, {len(impostor.request_bytes)} bytes of requests went there"
    )
    assert direct.failures == led_astray.failures == []
    assert seen >= SECONDS * 2 / 3
    assert strays > 0
    assert impostor.request_bytes == b""
    assert direct.refused == []
    assert {replica.reason for replica in led_astray.refused} == {blindai.Reason.TLS_KEY_MISMATCH}


def challenge(nonce: bytes) -> bytes:
    return f"GET {answer.target(nonce)} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


def whole_response(connection: socket.socket) -> bytes:
    """Read one response with a Content-Length."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += more(connection)
    head, _, body = received.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
    while len(body) < length:
        body += more(connection)
    return head + b"\r\n\r\n" + body


def more(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    assert data, "the server closed the connection"
    return data
