"""The synchronous attested transport: httpcore2's pool over a network backend that attests in `start_tls`.

`start_tls` returns to the pool only after the peer is attested, and the pool writes a request only
afterwards: to an unattested peer no byte of it is sent.
"""

from __future__ import annotations

import contextlib
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import httpcore2
import httpx2
from httpcore2 import SOCKET_OPTION

from blindai.attestation.verifier import Attested
from blindai.channel import handshake
from blindai.channel.bundle import Bundle, Peer
from blindai.transport import tls, tunnel
from blindai.transport.driving import drive
from blindai.transport.framing import (
    ClosedWhileIdle,
    check_request,
    check_response,
    core_request,
    may_be_sent_again,
    pool_options,
    translated,
)
from blindai.transport.kept import KeptStream
from blindai.transport.refused import RefusedReplica
from blindai.transport.search import Search
from blindai.transport.session import FLIGHTS, Demands, Session


class AttestedTransport(httpx2.BaseTransport):
    """An httpx2 transport for one attested server: `httpx2.Client(transport=...)`."""

    def __init__(self, demands: Demands, *, proxy: str | None = None) -> None:
        through = None if proxy is None else tunnel.parse_proxy(proxy)
        self.session = Session(demands)
        self._backend = _AttestingBackend(self.session, through)
        self._pool = httpcore2.ConnectionPool(**pool_options(self._backend))

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        check_request(request, self.session.demands.origin)
        with translated():
            try:
                response = self._pool.handle_request(core_request(request))
            except ClosedWhileIdle:
                if not may_be_sent_again(request):
                    raise
                response = self._pool.handle_request(core_request(request))
        try:
            check_response(request.method, response.status, response.headers)
        except BaseException:
            response.close()
            raise
        return httpx2.Response(
            status_code=response.status,
            headers=response.headers,
            stream=_Body(response.stream),
            extensions=response.extensions,
        )

    @property
    def refused(self) -> tuple[RefusedReplica, ...]:
        """The replicas that were refused, and why; the newest last, and not without end."""
        return self.session.refused.listed()

    def attest(self, *, connect_timeout_seconds: float, keep: bool = False) -> Attested:
        """Attest one connection; no request is sent. It is closed, or kept for the first request."""
        with translated():
            stream = self._backend.attested(connect_timeout_seconds)
        if keep:
            self._backend.kept.append(stream)
        else:
            stream.close()
        return self.session.attested[0]

    def close(self) -> None:
        try:
            self._pool.close()
        finally:
            while self._backend.kept:
                self._backend.kept.pop().close()


class _Body(httpx2.SyncByteStream):
    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        with translated():
            yield from self._stream

    def close(self) -> None:
        self._stream.close()


class _AttestingBackend(httpcore2.NetworkBackend):
    def __init__(self, session: Session, proxy: tunnel.Proxy | None) -> None:
        self._session = session
        self._proxy = proxy
        self._backend = httpcore2.SyncBackend()
        # One attestation at a time (a key): a cold burst of requests asks for one quote, not for one each.
        self._flights = tuple(threading.Lock() for _ in range(FLIGHTS))
        # Attested before there was a request. A deque: two threads cannot take the same.
        self.kept: deque[AttestedStream] = deque()

    def attested(self, timeout: float) -> AttestedStream:
        """Return a connection of the pool's kind that the pool does not know."""
        origin = self._session.demands.origin
        stream = self._unattested(origin.host, origin.port, timeout, None, None)
        return stream.start_tls(tls.client_context(), origin.host, timeout)

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> httpcore2.NetworkStream:
        with contextlib.suppress(IndexError):
            kept = self.kept.pop()
            if not kept.get_extra_info("is_readable"):
                return KeptStream(kept.rested())
            kept.close()  # the server closed it, or its proof has ended
        return self._unattested(host, port, timeout, local_address, socket_options)

    def _unattested(
        self,
        host: str,
        port: int,
        timeout: float | None,
        local_address: str | None,
        socket_options: Iterable[SOCKET_OPTION] | None,
    ) -> _UnattestedStream:
        dial = partial(self._dial, host, port, local_address, socket_options)
        deadline = time.monotonic() + self._session.demands.timeout_seconds
        return _UnattestedStream(dial(timeout, deadline), dial, self._session, self._flights)

    def _dial(
        self,
        host: str,
        port: int,
        local_address: str | None,
        socket_options: Iterable[SOCKET_OPTION] | None,
        timeout: float | None,
        deadline: float,
    ) -> httpcore2.NetworkStream:
        if self._proxy is None:
            stream = self._backend.connect_tcp(host, port, timeout, local_address, socket_options)
        else:
            stream = self._tunnel(self._proxy, timeout, deadline)
        try:
            with self._session.refusals():
                self._session.check_address(stream.get_extra_info)
        except BaseException:
            stream.close()
            raise
        return stream

    def _tunnel(self, proxy: tunnel.Proxy, timeout: float | None, deadline: float) -> httpcore2.NetworkStream:
        stream = self._backend.connect_tcp(proxy.host, proxy.port, timeout)
        try:
            drive(tunnel.connect(self._session.demands.origin.host_header), stream, deadline, self._session)
        except BaseException:
            stream.close()
            raise
        return stream


class _UnattestedStream(httpcore2.NetworkStream):
    """A TCP connection, through a proxy or not, before TLS. It can neither write nor read by itself."""

    def __init__(
        self,
        stream: httpcore2.NetworkStream,
        dial: Callable[[float | None, float], httpcore2.NetworkStream],
        session: Session,
        flights: Sequence[threading.Lock],
    ) -> None:
        self._stream = stream
        self._dial = dial
        self._session = session
        self._flights = flights

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> AttestedStream:
        stream = self._stream
        with contextlib.ExitStack() as passed_over, Search(self._session) as search:
            while True:
                peer = None
                try:
                    with self._session.refusals():
                        stream = stream.start_tls(ssl_context, server_hostname, timeout)
                        name = self._session.demands.origin.host
                        peer = tls.peer_of(stream.get_extra_info("ssl_object"), name)
                        attested = self._attest(stream, peer, search)
                    search.accepted()
                    return AttestedStream(stream, attested, self._session)
                except BaseException as error:
                    passed_over.callback(stream.close)
                    if not search.goes_on(error, peer):
                        raise
                timeout = search.within(timeout)
                stream = self._dial(timeout, search.deadline)

    def _attest(self, stream: httpcore2.NetworkStream, peer: Peer, search: Search) -> Attested:
        flight = self._flights[peer.tls_spki_sha256[0] % FLIGHTS]
        while True:
            if attested := search.decided(peer):
                return attested
            if not flight.acquire(timeout=search.remaining()):
                raise self._session.too_slow()
            try:
                return search.decided(peer) or self._ask(stream, peer, search.deadline)
            except handshake.Busy as busy:
                pause = search.pause(peer, busy)
            finally:
                flight.release()
            time.sleep(pause)  # outside the flight: nobody waits for somebody else's busy server

    def _ask(self, stream: httpcore2.NetworkStream, peer: Peer, deadline: float) -> Attested:
        nonce = self._session.nonce()
        exchange = handshake.fetch_answer(self._session.demands.origin.host_header, nonce)
        body = drive(exchange, stream, deadline, self._session)
        return self._session.conclude(Bundle(peer, nonce, body))

    def close(self) -> None:
        self._stream.close()

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class AttestedStream(httpcore2.NetworkStream):
    """A TLS connection whose peer is attested; it cannot be made without the proof."""

    def __init__(self, stream: httpcore2.NetworkStream, attested: Attested, session: Session) -> None:
        self._stream = stream
        self._attested = attested
        self._session = session
        self._between_requests = True
        self._served = False

    def rested(self) -> AttestedStream:
        """Return it, now that it has been open for a while: the peer may close it as a request is written."""
        self._served = True
        return self

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        reused, self._between_requests = self._served and not self._between_requests, True
        try:
            received = self._stream.read(max_bytes, timeout)
        except httpcore2.ReadError as exc:
            if reused:
                raise ClosedWhileIdle from exc
            raise
        if reused and not received:
            raise ClosedWhileIdle
        self._served = True
        return received

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if self._between_requests:
            self._session.require_fresh(self._attested)
            self._between_requests = False
        self._stream.write(buffer, timeout)

    def close(self) -> None:
        self._stream.close()

    def get_extra_info(self, info: str) -> Any:
        if info == "blindai_attested":
            return self._attested
        # The pool drops an idle connection that is readable: an expired proof ends the connection.
        if info == "is_readable" and self._session.ending(self._attested):
            return True
        return self._stream.get_extra_info(info)
