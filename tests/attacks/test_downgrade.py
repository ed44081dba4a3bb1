"""TLS made weaker, taken up again, or left out: there is one way to talk, and no other is tried."""

from __future__ import annotations

import contextlib
import socket
import ssl
import time

import httpx2
import pytest

from blindai.errors import Reason, UnreachableError
from blindai.testing import CapturingPeer, TlsIdentity
from tests.attacks import hello
from tests.attacks.conftest import NAMES, only_tdx
from tests.attacks.middle import Middle, in_clear, pass_on
from tests.attacks.refusing import refused, send
from tests.transport.dialling import quiet
from tests.transport.driving import driven

CLOSE = {"Connection": "close"}


def unreachable(colour, demands, **options):
    """A client whose request leads to nobody, and to no verdict."""
    kinds = (UnreachableError, httpx2.TransportError)
    with quiet(), driven(colour, demands, **options) as client, pytest.raises(kinds) as broken:
        send(client)
    return broken.value


@only_tdx
def test_a_client_offers_one_way_and_never_a_session(enclave, demands, colour):
    """TLS 1.3 and http/1.1 alone; a peer that gives out tickets for 0-RTT gets none of them back."""
    with enclave() as peer, Middle(pass_on(peer.port)) as middle:
        for context in peer._contexts:
            context.num_tickets = 4
        with quiet(), driven(colour, demands(middle.port)) as client:
            assert [client.get(headers=CLOSE).status_code for _ in range(3)] == [200] * 3
        middle.wait()
        offered = [hello.extensions(seen.wire) for seen in middle.connections]
    assert len(offered) == 3
    for each in offered:
        assert each[hello.SUPPORTED_VERSIONS] == bytes([2, 3, 4])
        assert each[hello.ALPN] == b"\0\x09\x08http/1.1"
        assert not each.keys() & {hello.PRE_SHARED_KEY, hello.EARLY_DATA, hello.POST_HANDSHAKE_AUTH}


@only_tdx
@pytest.mark.parametrize("alpn", ["h2", "http/1.0", "acme-tls/1", None])
def test_another_protocol_by_alpn(alpn, demands, colour):
    """A peer that agrees on anything but http/1.1 is not asked for evidence."""
    with CapturingPeer(lambda _: b"", alpn=alpn) as peer:
        assert refused(colour, demands(peer.port), peer) is Reason.ANSWER_FRAMING
        assert [seen.received for seen in peer.connections] == [b""]


def _only(version):
    """Passes on to a server, with another version than the client's in its ClientHello."""

    def lead(port):
        def change(client, seen):
            with socket.create_connection(("127.0.0.1", port)) as server:
                first = client.recv(65536)
                seen.wire += first
                server.sendall(first.replace(b"\0\x2b\0\3\2\3\4", b"\0\x2b\0\3\2\3" + bytes([version])))
                with contextlib.suppress(OSError):
                    while data := server.recv(65536):
                        client.sendall(data)

        return change

    return lead


@only_tdx
@pytest.mark.parametrize("version", [3, 2, 1])
def test_an_offer_that_was_made_older_on_the_way(version, victim, demands, colour):
    """The real server speaks 1.3 only, and a client hears of no other."""
    with Middle(_only(version)(victim.port)) as middle:
        unreachable(colour, demands(middle.port))
        middle.wait()
        assert all(b"CANARY" not in seen.wire for seen in middle.connections)


@only_tdx
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2])
def test_a_peer_of_another_version(version, demands, colour):
    """Whoever ends TLS himself, and only up to 1.2, ends nothing of ours."""
    identity = TlsIdentity.make(*NAMES)
    with CapturingPeer(lambda _: b"", identities=[identity], tls_version=version) as peer:
        unreachable(colour, demands(peer.port))
        peer.wait()
        assert [seen.received for seen in peer.connections] == [b""]


@only_tdx
def test_a_session_from_before_a_rotation_is_not_taken_up_again(vendor):
    """A TLS client of its own, which keeps what it gets, makes a full handshake with the new keys."""
    with vendor.server(keyset_rotation_seconds=1, keyset_life_seconds=60) as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        first, session, tickets = _handshake(context, server.port)
        while (now := _handshake(context, server.port)[0]) == first:
            time.sleep(0.05)
        last, _, reused = _handshake(context, server.port, session)
    assert first not in (now, last)
    assert (tickets, reused) == (False, False)


IN_CLEAR = {
    "a greeting": ((), b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"),
    "a response": ((b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",) * 3, b""),
    "a redirect to plain HTTP": ((b"HTTP/1.1 301 Moved\r\nLocation: http://127.0.0.1/\r\n\r\n",) * 3, b""),
    "plain HTTP demanded": ((b"HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n",) * 3, b""),
    "an alert that no protocol is common": ((b"\x15\3\3\0\2\2\x46",) * 3, b""),
}


@only_tdx
@pytest.mark.parametrize("what", IN_CLEAR)
def test_who_speaks_in_clear_hears_no_more(what, demands, colour):
    """Instead of a handshake: no plaintext is tried, no older version, and nobody else is dialled."""
    says, greeting = IN_CLEAR[what]
    with Middle(in_clear(*says, greeting=greeting)) as middle:
        unreachable(colour, demands(middle.port))
        middle.wait()
        heard_nothing(middle)


OK = b"HTTP/1.1 200 OK\r\n\r\n"
PROXIES = {
    "a response behind its consent": (OK + b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",),
    "a response in place of a handshake": (OK, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"),
    "a response of its own": (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",),
    "a redirect": (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\n\r\n",),
    "a demand for a password": (b"HTTP/1.1 407 Auth\r\nProxy-Authenticate: Basic\r\n\r\n",),
    "a response in clear, again and again": (b"HTTP/1.1 422 No\r\nContent-Length: 0\r\n\r\n",) * 4,
}


@only_tdx
@pytest.mark.parametrize("what", PROXIES)
def test_a_proxy_that_answers_in_clear_hears_the_address_only(what, demands, colour):
    """After CONNECT comes TLS, to whoever is behind, or nothing."""
    with Middle(in_clear(*PROXIES[what])) as middle:
        unreachable(colour, demands(1), proxy=f"http://127.0.0.1:{middle.port}")
        middle.wait()
        for seen in middle.connections:
            head, _, rest = seen.wire.partition(b"\r\n\r\n")
            assert head == b"CONNECT 127.0.0.1:1 HTTP/1.1\r\nHost: 127.0.0.1:1"
            if "handshake" in what:
                assert rest[:1] == b"\x16"
                assert b"CANARY" not in rest
            else:
                assert rest == b""


@only_tdx
def test_a_proxy_that_ends_tls_itself(enclave, demands, colour):
    """It consents, and then shows a certificate of its own: who that is, evidence has to say."""
    with enclave(spki=None, tls_spki_sha256=bytes(32)) as peer:

        def lead(client, seen):
            client.recv(65536)
            client.sendall(OK)
            pass_on(peer.port)(client, seen)

        with Middle(lead) as middle:
            proxy = f"http://127.0.0.1:{middle.port}"
            assert refused(colour, demands(1), peer, proxy=proxy) is Reason.TLS_KEY_MISMATCH


def heard_nothing(middle):
    """Assert that no connection brought more than a ClientHello."""
    assert middle.connections
    for seen in middle.connections:
        assert b"CANARY" not in seen.wire
        assert b"HTTP/1.1\r\n" not in seen.wire
        assert seen.wire[:1] in (b"", b"\x16")


def _handshake(context, port, session=None):
    with (
        socket.create_connection(("127.0.0.1", port), timeout=20) as raw,
        context.wrap_socket(raw, session=session) as tls,
    ):
        tls.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert tls.recv(1024).startswith(b"HTTP/1.1 200")
        kept = tls.session
        ticket = kept is not None and kept.has_ticket
        return tls.getpeercert(True), kept, tls.session_reused if session is not None else ticket
