"""A long session: keys change, proofs end, connections are closed under it, and no request fails."""

from __future__ import annotations

import time

import httpx2
import pytest

from blindai.testing import CapturingPeer, HangUp, TlsIdentity, http_response, make_answer
from blindai.wire import base64url
from tests.transport.dialling import quiet
from tests.transport.driving import COLOURS, driven

pytestmark = pytest.mark.parametrize("colour", COLOURS)
CLOSE = {"Connection": "close"}


class Rotating(CapturingPeer):
    """A server with a new key for each connection; `says` is how it answers its first requests, in turn."""

    def __init__(self, tdx, keys, says=(), **lies):
        self._says = list(says)
        super().__init__(
            lambda nonce: self._evidence(tdx, nonce, lies),
            identities=[TlsIdentity.make("localhost") for _ in range(keys)],
        )

    def _evidence(self, tdx, nonce, lies):
        asked = base64url.encode(nonce).encode()
        place = next(place for place, each in enumerate(self.connections) if asked in each.received)
        key, now = self.identities[place].spki_sha256, int(time.time())
        names = ("localhost", "127.0.0.1")
        return http_response(make_answer(tdx, nonce=nonce, tls_spki_sha256=key, now=now, names=names, **lies))

    def _reply(self, tls, target):
        if target.startswith("/v2"):
            self._response = self._says.pop(0) if self._says else http_response(b"{}")
        return super()._reply(tls, target)


@pytest.fixture(autouse=True)
def unsaid():
    with quiet():
        yield


def last(body=b"{}"):
    """The last response of a connection whose keyset is no longer the server's."""
    return http_response(body, headers=CLOSE)


def test_every_rotation_is_one_new_connection(colour, tdx, demands):
    """A response that ends its connection is an answer like any other, and the next request attests anew."""
    with Rotating(tdx, 6, [http_response(b"{}"), last()] * 5) as peer:
        with driven(colour, demands(peer)) as client:
            statuses = [client.request("POST", "/v2/models/x/infer").status_code for _ in range(11)]
            assert statuses == [200] * 11
        peer.wait()
        assert len(peer.connections) == 6
        assert all(connection.attestation_request for connection in peer.connections)


def test_connections_that_are_busy_at_a_rotation_end_with_their_answers(colour, tdx, demands):
    """Several at once: each gets the answer it waits for, and the calls after it go to new keys."""
    with Rotating(tdx, 40, [last()] * 12) as peer:
        with driven(colour, demands(peer)) as client:
            for _ in range(3):
                assert [outcome.status_code for outcome in client.burst(4, "/v2")] == [200] * 4
            assert client.get().status_code == 200


def test_an_idle_connection_that_the_server_closed_is_not_used(colour, tdx, demands):
    """A close that arrived in time costs a new connection and no request, whatever its method."""
    with Rotating(tdx, 2, [http_response(b"{}")]) as peer:
        with driven(colour, demands(peer)) as client:
            client.get()
            peer._sockets[0].shutdown(2)
            peer.connections[0].ended.wait(10)
            assert client.request("POST", "/v2", content=b"x").status_code == 200
        assert len(peer.connections) == 2


def test_a_read_that_a_closing_connection_swallowed_is_sent_again(colour, tdx, demands):
    """Closed in the moment in which the request was written: a GET goes out once more, elsewhere."""
    with Rotating(tdx, 2, [http_response(b"{}"), [HangUp()]]) as peer:
        with driven(colour, demands(peer)) as client:
            assert [client.get(path).status_code for path in ("/v2/first", "/v2/second")] == [200, 200]
        assert [connection.request_bytes.count(b"GET /v2/second ") for connection in peer.connections] == [
            1,
            1,
        ]


@pytest.mark.parametrize("request_", [("POST", b"x"), ("POST", b""), ("DELETE", b""), ("GET", b"x")])
def test_what_may_have_been_done_is_never_done_twice(request_, colour, tdx, demands):
    """Nobody knows whether a swallowed request was read: what changes something, or is work, fails."""
    method, body = request_
    with Rotating(tdx, 2, [http_response(b"{}"), [HangUp()]]) as peer:
        with driven(colour, demands(peer)) as client:
            client.get()
            with pytest.raises(httpx2.ReadError, match="before a response began"):
                client.request(method, "/v2/CANARY", content=body)
            assert client.get().status_code == 200
        peer.wait()
        assert peer.request_bytes.count(b"CANARY") == 1


SWALLOWED = {
    "its first request": [[HangUp()]],
    "the second one, too": [http_response(b"{}"), [HangUp()], [HangUp()]],
    "with a part of a response": [http_response(b"{}"), [b"HTTP/1.1 200 OK\r\nContent-Le", HangUp()]],
}


@pytest.mark.parametrize("kind", SWALLOWED)
def test_a_read_is_sent_again_once_and_for_one_reason(kind, colour, tdx, demands):
    """A connection that never served, and one that began to answer, are broken and not merely closed."""
    with Rotating(tdx, 4, SWALLOWED[kind]) as peer:
        with driven(colour, demands(peer)) as client:
            for _ in range(kind != "its first request"):
                client.get("/v2/first")
            with pytest.raises(httpx2.TransportError):
                client.get("/v2/CANARY")
        peer.wait()
        assert peer.request_bytes.count(b"CANARY") == (2 if kind == "the second one, too" else 1)


def test_proofs_that_end_cost_no_request(colour, tdx, demands):
    """Over many ends of proofs, on a connection kept open, every request is answered."""
    clock = [time.time()]
    with Rotating(tdx, 12) as peer:
        with driven(colour, demands(peer, clock=lambda: clock[0])) as client:
            for _ in range(10):
                assert client.request("POST", "/v2", content=b"x").status_code == 200
                clock[0] += 1801
        assert len(peer.connections) == 5
