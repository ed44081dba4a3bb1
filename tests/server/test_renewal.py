"""Keys are renewed before their keyset ends; a connection keeps the keyset of its handshake."""

from __future__ import annotations

import asyncio
import time

import pytest

import blindai
from blindai.channel.keyset import Software
from blindai.server import lifecycle
from blindai.server.identity import Identities, new_identity
from tests.serving import exchange, running_server

LIFE_SECONDS = 4


@pytest.fixture
def server():
    """A server whose keysets live for seconds."""
    with running_server(keyset_life_seconds=LIFE_SECONDS) as running:
        yield running


def _outlive_the_first_keyset(certificate: str, server) -> str:
    """Wait until new connections get another certificate, and the first keyset has ended."""
    started = time.monotonic()
    while time.monotonic() < started + 30:
        with blindai.connect(server.address, simulation=True) as client:
            ended = time.monotonic() > started + LIFE_SECONDS
            if client.server_certificate != certificate and ended:
                return client.server_certificate
        time.sleep(0.1)
    raise AssertionError("the keys were not renewed")


def test_a_long_lived_client_meets_no_ended_keyset(server):
    """A client that outlives the keyset goes on: its next request is attested anew, under other keys."""
    with blindai.connect(server.address, simulation=True) as client:
        first = client.server_certificate
        _outlive_the_first_keyset(first, server)
        assert client.models() == ()
        assert client.server_certificate != first


def test_an_open_connection_keeps_its_keyset(server):
    """A connection made under the old keys works on, and its evidence is about the old keyset."""
    path = "/.well-known/blindai/attestation?nonce=" + "A" * 43
    with server.http() as connection:
        before = exchange(connection, "GET", path).json()["keyset"]
        _outlive_the_first_keyset(server.ready["certificate_pem"], server)
        assert exchange(connection, "GET", path).json()["keyset"] == before


async def test_a_renewal_that_fails_is_tried_again():
    """A moment without file descriptors does not leave the server with keys that end."""
    first = _identity(now=int(time.time()))
    identities = Identities(first)
    failures = [OSError(24, "Too many open files")]

    def fresh(*, now):
        if failures:
            raise failures.pop()
        return _identity(now=now)

    task = asyncio.create_task(lifecycle._renew(identities, fresh, 1))
    async with asyncio.timeout(20):
        while identities.current is first:
            await asyncio.sleep(0.02)
    task.cancel()
    assert not failures


def _identity(*, now):
    return new_identity(
        ("localhost",),
        now=now,
        life_seconds=1,
        software=Software("1", "0" * 64),
        settings={"telemetry": "none"},
        simulated=True,
    )
