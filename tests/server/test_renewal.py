"""Keys are renewed before their keyset ends; a connection keeps the keyset of its handshake."""

from __future__ import annotations

import time

import pytest

import blindai
from tests.serving import exchange, running_server

LIFE_SECONDS = 4
EVIDENCE = "/.well-known/blindai/attestation?nonce=" + "A" * 43


@pytest.fixture
def server():
    """A server whose keysets live for seconds."""
    with running_server(keyset_life_seconds=LIFE_SECONDS) as running:
        yield running


@pytest.fixture
def turning():
    """A server that renews its keys every second, while those of before live on."""
    with running_server(keyset_life_seconds=300, keyset_rotation_seconds=1) as running:
        yield running


def _until_renewed(certificate: str, server, *, seconds: float = 0.0) -> str:
    """Wait until new connections get another certificate, and at least so long."""
    started = time.monotonic()
    while time.monotonic() < started + 30:
        with blindai.connect(server.address, simulation=True) as client:
            if client.server_certificate != certificate and time.monotonic() > started + seconds:
                return client.server_certificate
        time.sleep(0.1)
    raise AssertionError("the keys were not renewed")


def test_a_long_lived_client_meets_no_ended_keyset(server):
    """A client that outlives the keyset goes on: its next request is attested anew, under other keys."""
    with blindai.connect(server.address, simulation=True) as client:
        first = client.server_certificate
        _until_renewed(first, server, seconds=LIFE_SECONDS)
        assert client.models() == ()
        assert client.server_certificate != first


def test_an_open_connection_keeps_its_keyset(turning):
    """On a connection made under the old keys, evidence is about the old keyset, and the connection stays."""
    with turning.http() as connection:
        before = exchange(connection, "GET", EVIDENCE)
        _until_renewed(turning.ready["certificate_pem"], turning)
        again = exchange(connection, "GET", EVIDENCE)
    assert again.json()["keyset"] == before.json()["keyset"]
    assert "connection" not in again.headers


def test_an_open_connection_ends_after_its_next_request(turning):
    """Once the keys are renewed, a request on an old connection is answered, and is the last one there."""
    with turning.http() as connection:
        assert "connection" not in exchange(connection, "GET", "/v2").headers
        _until_renewed(turning.ready["certificate_pem"], turning)
        reply = exchange(connection, "GET", "/v2")
    assert (reply.status, reply.headers["connection"]) == (200, "close")


def test_an_idle_connection_is_cut_with_its_keyset(server):
    """A connection on which nothing happens is closed by the server when its keyset ends."""
    with server.connect(timeout_seconds=30) as sock:
        assert sock.recv(1) == b""
