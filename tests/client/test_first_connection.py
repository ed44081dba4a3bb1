"""`connect` attests a connection and sends no request; the first request goes over that very connection."""

from __future__ import annotations

import json
import time

import pytest

import blindai
from blindai.attestation.policy import Policy
from blindai.attestation.trust import SimulationTrust
from blindai.client.sync import Client
from blindai.testing import CapturingPeer, FakeTdx, HangUp, http_response, make_answer
from blindai.transport.origin import parse_origin
from blindai.transport.session import Demands
from blindai.transport.sync import AttestedTransport
from tests.client.driving import driven

COLOURS = pytest.mark.parametrize("colour", ["sync", "async"])
METADATA = http_response(json.dumps({"name": "blindai", "version": "1", "extensions": []}).encode())


@pytest.fixture(scope="module")
def machine():
    return FakeTdx()


@pytest.fixture
def serving(machine):
    """Return a peer, entered by the test: its nth connection ends after the proof if n is in `hung_up`."""

    def make(hung_up=()):
        def answer(nonce):
            body = make_answer(
                machine, nonce=nonce, tls_spki_sha256=peer.spki_sha256, now=int(time.time()), names=NAMES
            )
            number = len(peer.connections) - 1
            return (http_response(body), HangUp()) if number in hung_up else http_response(body)

        peer = CapturingPeer(answer, response=METADATA)
        return peer

    return make


NAMES = ("127.0.0.1",)


def address(peer):
    return f"127.0.0.1:{peer.port}"


@COLOURS
def test_connecting_sends_no_request(colour, serving, machine):
    """Not a byte but the question for evidence; a function that gives keys is not even asked."""
    asked = []
    with serving() as peer:
        key = lambda: asked.append(1) or "key"  # noqa: E731
        with driven(colour, address(peer), simulation=machine.root_sha256, api_key=key) as client:
            assert client.verdict.accepted
        peer.wait()
        assert (peer.request_bytes, asked, len(peer.connections)) == (b"", [], 1)


@COLOURS
def test_the_first_request_uses_the_attested_connection(colour, serving, machine):
    """One connection and one proof, for it and for what follows."""
    with serving() as peer:
        with driven(colour, address(peer), simulation=machine.root_sha256) as client:
            for _ in range(3):
                assert client.server().name == "blindai"
        assert len(peer.connections) == 1
        assert peer.request_bytes.count(b"GET /v2 ") == 3


@COLOURS
def test_a_connection_that_was_closed_meanwhile_is_replaced(colour, serving, machine):
    """A server closes what is idle for long: the first request then has a connection of its own."""
    with serving(hung_up={0}) as peer:
        with driven(colour, address(peer), simulation=machine.root_sha256) as client:
            assert peer.connections[0].ended.wait(5)
            assert client.server().name == "blindai"
        assert [connection.request_bytes[:8] for connection in peer.connections] == [b"", b"GET /v2 "]


@pytest.mark.parametrize("later", [0, 3601])
def test_a_connection_whose_proof_ended_is_replaced(later, serving, machine):
    """Before its first request as before any other: what was attested long ago counts no more."""
    clock = [time.time()]
    with serving() as peer:
        demands = Demands(
            parse_origin(address(peer)),
            Policy.for_simulation(),
            SimulationTrust([machine.root_sha256]),
            clock=lambda: clock[0],
        )
        transport = AttestedTransport(demands)
        with pytest.warns(blindai.SimulationWarning), Client(transport, timeout_seconds=5) as client:
            transport.attest(connect_timeout_seconds=5, keep=True)
            clock[0] += later
            assert client.server().name == "blindai"
        assert len(peer.connections) == (2 if later else 1)


@COLOURS
def test_a_client_that_asks_nothing_leaves_nothing_open(colour, serving, machine):
    """Unused, the connection is closed with its client."""
    with serving() as peer:
        with driven(colour, address(peer), simulation=machine.root_sha256):
            pass
        peer.wait()


@COLOURS
def test_a_refused_server_is_not_kept(colour, serving, machine):
    """Nor is anything left open of it."""
    with serving() as peer:
        with pytest.raises(blindai.AttestationError):
            with driven(colour, address(peer), simulation="00" * 32, attempts=1):
                pass
        peer.wait()
        assert peer.request_bytes == b""
