"""A server that has no evidence at the moment: asked again where it stands, while there is time."""

from __future__ import annotations

import contextlib
import time

import anyio
import pytest

from blindai.errors import UnreachableError
from blindai.testing import http_response
from tests.transport.balancing import Balancer
from tests.transport.dialling import quiet
from tests.transport.driving import COLOURS, driven

pytestmark = pytest.mark.parametrize("colour", COLOURS)


def busy(headers=(("Retry-After", "0"),), status=503):
    return http_response(b'{"error": "later"}', status, dict(headers))


@pytest.fixture
def peer_that_is(answering):
    """A peer that gives each of `firsts` in place of evidence, then the truth; `asked` are the nonces."""

    def make(*firsts):
        waiting, asked = list(firsts), []
        peer = answering(wrap=lambda body: waiting.pop(0) if waiting else http_response(body))
        answer = peer._answer
        peer._answer = lambda nonce: asked.append(nonce) or answer(nonce)
        peer.asked = asked
        return peer

    with quiet():
        yield make


@pytest.mark.parametrize("status", [503, 429, 408])
def test_a_busy_server_is_asked_again_on_the_same_connection(status, colour, peer_that_is, demands):
    """With a fresh nonce each time: nothing of an earlier answer is of use; then the request leaves."""
    with peer_that_is(busy(status=status), busy(status=status)) as peer:
        with driven(colour, demands(peer)) as client:
            assert client.get("/CANARY").status_code == 200
        assert len(peer.connections) == 1
        assert len(set(peer.asked)) == 3
        connection = peer.connections[0]
        assert connection.received.index(b"CANARY") > connection.received.rindex(b"nonce=")


AT_REST = {
    "no Retry-After": {},
    "a date": {"Retry-After": "Sat, 21 Nov 2026 20:00:00 GMT"},
    "no number": {"Retry-After": "-1"},
    "a number without end": {"Retry-After": "0" * 7},
    "chunked": {"Retry-After": "0", "Transfer-Encoding": "chunked"},
    "too long a body": {"Retry-After": "0", "Content-Length": str(2**20)},
    "the end of the connection": {"Retry-After": "0", "Connection": "close"},
    "surplus bytes": {"Retry-After": "0", "Content-Length": "1"},
    "later than the deadline": {"Retry-After": "3600"},
}


@pytest.mark.parametrize("kind", AT_REST)
def test_a_busy_server_that_cannot_be_asked_again_is_unreachable(kind, colour, peer_that_is, demands):
    """Without a plain answer that says when, nothing is sent on that connection any more."""
    with peer_that_is(busy(AT_REST[kind].items())) as peer:
        with driven(colour, demands(peer)) as client, pytest.raises(UnreachableError, match="at the moment"):
            client.get("/CANARY")
        peer.wait()
        assert len(peer.asked) == 1
        assert peer.request_bytes == b""


def test_busy_until_the_deadline(colour, peer_that_is, demands):
    """However often it says 0 seconds: the deadline of the attestation holds, and nothing is sent."""
    with peer_that_is(*[busy()] * 1000) as peer:
        with driven(colour, demands(peer, timeout_seconds=0.5)) as client, pytest.raises(UnreachableError):
            client.get("/CANARY")
        peer.wait()
        assert b"CANARY" not in peer.request_bytes
        assert len(peer.asked) < 10


def test_who_is_busy_for_too_long_is_passed_over(colour, peer_that_is, answering, demands):
    """Another replica may have evidence; it is not refused, only busy, and this search leaves it alone."""
    later = busy({"Retry-After": "3600"}.items())
    with contextlib.ExitStack() as entered:
        peers = [entered.enter_context(each) for each in (peer_that_is(later, later), answering())]
        balancer = entered.enter_context(Balancer([peers[0], peers[0], peers[1]]))
        with driven(colour, demands(balancer, attempts=3)) as client:
            assert client.get().status_code == 200
            assert client.transport.refused == ()
        assert balancer.led_to == [0, 1, 2]
        assert len(peers[0].asked) == 1


def test_waiting_holds_up_nobody(colour, peer_that_is, demands, monkeypatch):
    """While one connection waits, another to the same key is asked and served; the first asks no more."""
    with peer_that_is(busy({"Retry-After": "1"}.items())) as peer:
        _wait_until(monkeypatch, lambda: b"GET /v2 " in peer.request_bytes)
        with driven(colour, demands(peer, timeout_seconds=3)) as client:
            outcomes = client.burst(2, "/v2")
        assert [outcome.status_code for outcome in outcomes] == [200, 200]
        assert [connection.received.count(b"nonce=") for connection in peer.connections] == [1, 1]


def _wait_until(monkeypatch, reached):
    """Have whoever sleeps sleep until something has happened, and not for as long as was said."""
    sleep, asleep = time.sleep, anyio.sleep

    def until(_seconds):
        for _ in range(500):
            if not reached():
                sleep(0.01)

    async def auntil(_seconds):
        for _ in range(500):
            if not reached():
                await asleep(0.01)

    monkeypatch.setattr(time, "sleep", until)
    monkeypatch.setattr(anyio, "sleep", auntil)
