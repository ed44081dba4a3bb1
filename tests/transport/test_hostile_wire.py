"""What proxies, stalled replicas and broken TLS can do: fail a connection, and no more."""

from __future__ import annotations

import socket
import ssl
import threading
import time

import httpx2
import pytest

from blindai.errors import AttestationError, UnreachableError, UsageError
from blindai.testing import CapturingPeer, Pause, TlsIdentity, http_response, make_answer
from blindai.transport.origin import Origin
from blindai.transport.sync import AttestedTransport
from tests.transport.balancing import ConnectProxy
from tests.transport.dialling import quiet


def test_a_stalled_replica_does_not_hold_up_another(tdx, demands):
    """While one replica keeps its evidence back, connections to another are attested and used."""
    stalled, healthy = _identities_apart()
    asked = threading.Event()

    def answer(nonce):
        if not asked.is_set():
            asked.set()
            return [Pause(30)]
        return http_response(
            make_answer(
                tdx,
                nonce=nonce,
                tls_spki_sha256=healthy.spki_sha256,
                now=int(time.time()),
                names=("127.0.0.1",),
            )
        )

    def give_up():
        with pytest.raises(UnreachableError):
            session.get("/stalled")
        gave_up.set()

    gave_up = threading.Event()
    with quiet(), CapturingPeer(answer, identities=[stalled, healthy]) as peer:
        wanted = demands(peer, timeout_seconds=4)
        with httpx2.Client(transport=AttestedTransport(wanted), base_url=wanted.origin.url) as session:
            thread = threading.Thread(target=give_up)
            thread.start()
            assert asked.wait(10)
            assert session.get("/healthy").status_code == 200
            assert not gave_up.is_set()
            thread.join()


def test_a_broken_record_is_a_broken_connection(dial, demands):
    """What TLS cannot read while evidence is awaited is reported as the lost connection that it is."""
    with _garbler() as port:
        with CapturingPeer(lambda _: b"") as unused, pytest.raises(UnreachableError):
            dial(demands(unused, origin=Origin("127.0.0.1", port)))


def test_failed_attestations_through_a_proxy_leave_nothing_in_the_pool(answering, demands):
    """A refused server behind a proxy does not use up the pool: the next caller gets an answer."""
    with quiet(), answering(bound_nonce=b"n" * 32) as peer, ConnectProxy(peer.port) as proxy:
        transport = AttestedTransport(demands(peer), proxy=f"http://127.0.0.1:{proxy.port}")
        with httpx2.Client(transport=transport, base_url=transport.session.demands.origin.url) as session:
            for _ in range(3):
                with pytest.raises(AttestationError):
                    session.get("/CANARY")
            assert transport._pool.connections == []
        peer.wait()
    assert peer.request_bytes == b""


@pytest.mark.parametrize(
    "url", ["http://user:CANARY@127.0.0.1:1", "http://[::1", "http://h:99999", "http://"]
)
def test_a_proxy_address_that_would_be_misread_is_refused(url, answering, demands):
    """Credentials are not dropped in silence, nor shown, and a broken address is the caller's error."""
    with answering() as peer, pytest.raises(UsageError) as refusal:
        AttestedTransport(demands(peer), proxy=url)
    assert "CANARY" not in f"{refusal.value} {refusal.value.hint}"


def _identities_apart():
    """Two keys that do not share a flight."""
    first = TlsIdentity.make("localhost")
    while True:
        second = TlsIdentity.make("localhost")
        if second.spki_sha256[0] % 64 != first.spki_sha256[0] % 64:
            return first, second


class _garbler:  # noqa: N801  reads as a statement
    """Completes one TLS handshake and then sends a record that nobody encrypted."""

    def __enter__(self):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        return self._listener.getsockname()[1]

    def __exit__(self, *_):
        self._thread.join()
        self._listener.close()

    def _serve(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_alpn_protocols(["http/1.1"])
        context.num_tickets = 0
        TlsIdentity.make("localhost").load_into(context)
        raw, _ = self._listener.accept()
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing, server_side=True)
        with raw:
            while True:
                try:
                    tls.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    if outgoing.pending:
                        raw.sendall(outgoing.read())
                    incoming.write(raw.recv(65536))
            raw.recv(65536)
            raw.sendall(b"\x17\x03\x03\x00\x40" + bytes(64))
            try:
                raw.recv(65536)
            except OSError:
                return
