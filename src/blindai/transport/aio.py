"""The asynchronous attested transport: the same shape as `sync`, driving the same generator."""

from __future__ import annotations

import contextlib
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Any

import anyio
import httpcore2
import httpx2
from httpcore2 import SOCKET_OPTION

from blindai.attestation.verifier import Attested
from blindai.channel import handshake
from blindai.channel.bundle import Bundle, Peer
from blindai.transport import tls, tunnel
from blindai.transport.driving import adrive, close_shielded
from blindai.transport.framing import (
    ClosedWhileIdle,
    check_request,
    check_response,
    core_request,
    may_be_sent_again,
    pool_options,
    translated,
)
from blindai.transport.kept import AsyncKeptStream
from blindai.transport.refused import RefusedReplica
from blindai.transport.search import Search
from blindai.transport.session import FLIGHTS, Demands, Session


class AsyncAttestedTransport(httpx2.AsyncBaseTransport):
    """An httpx2 transport for one attested server: `httpx2.AsyncClient(transport=...)`."""

    def __init__(self, demands: Demands, *, proxy: str | None = None) -> None:
        through = None if proxy is None else tunnel.parse_proxy(proxy)
        self.session = Session(demands)
        self._backend = _AttestingBackend(self.session, through)
        self._pool = httpcore2.AsyncConnectionPool(**pool_options(self._backend))

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        check_request(request, self.session.demands.origin)
        with translated():
            try:
                response = await self._pool.handle_async_request(core_request(request))
            except ClosedWhileIdle:
                if not may_be_sent_again(request):
                    raise
                response = await self._pool.handle_async_request(core_request(request))
        try:
            check_response(request.method, response.status, response.headers)
        except BaseException:
            await response.aclose()
            raise
        return httpx2.Response(
            status_code=response.status,
            headers=response.headers,
            stream=_Body(response.stream),
            extensions=response.extensions,
        )

    @property
    def refused(self) -> tuple[RefusedReplica, ...]:
        """As `AttestedTransport.refused`."""
        return self.session.refused.listed()

    async def attest(self, *, connect_timeout_seconds: float) -> Attested:
        """Attest one connection, without a request, and keep it for the first one."""
        with translated():
            self._backend.kept.append(await self._backend.attested(connect_timeout_seconds))
        return self.session.attested[0]

    async def aclose(self) -> None:
        try:
            await self._pool.aclose()
        finally:
            while self._backend.kept:
                await close_shielded(self._backend.kept.pop())


class _Body(httpx2.AsyncByteStream):
    def __init__(self, stream: Any) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with translated():
            async for piece in self._stream:
                yield piece

    async def aclose(self) -> None:
        await self._stream.aclose()


class _AttestingBackend(httpcore2.AsyncNetworkBackend):
    def __init__(self, session: Session, proxy: tunnel.Proxy | None) -> None:
        self._session = session
        self._proxy = proxy
        self._backend = httpcore2.AnyIOBackend()
        self._flights = tuple(anyio.Lock() for _ in range(FLIGHTS))
        self.kept: list[AsyncAttestedStream] = []  # attested before there was a request

    async def attested(self, timeout: float) -> AsyncAttestedStream:  # noqa: ASYNC109
        """Return a connection of the pool's kind that the pool does not know."""
        origin = self._session.demands.origin
        stream = await self._unattested(origin.host, origin.port, timeout, None, None)
        return await stream.start_tls(tls.client_context(), origin.host, timeout)

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  httpcore2's signature
        local_address: str | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        if self.kept:
            kept = self.kept.pop()
            if not kept.get_extra_info("is_readable"):
                return AsyncKeptStream(kept.rested())
            await close_shielded(kept)  # the server closed it, or its proof has ended
        return await self._unattested(host, port, timeout, local_address, socket_options)

    async def _unattested(
        self,
        host: str,
        port: int,
        timeout: float | None,  # noqa: ASYNC109
        local_address: str | None,
        socket_options: Iterable[SOCKET_OPTION] | None,
    ) -> _UnattestedStream:
        dial = partial(self._dial, host, port, local_address, socket_options)
        deadline = time.monotonic() + self._session.demands.timeout_seconds
        return _UnattestedStream(await dial(timeout, deadline), dial, self._session, self._flights)

    async def _dial(
        self,
        host: str,
        port: int,
        local_address: str | None,
        socket_options: Iterable[SOCKET_OPTION] | None,
        timeout: float | None,  # noqa: ASYNC109
        deadline: float,
    ) -> httpcore2.AsyncNetworkStream:
        if self._proxy is None:
            stream = await self._backend.connect_tcp(host, port, timeout, local_address, socket_options)
        else:
            stream = await self._tunnel(self._proxy, timeout, deadline)
        try:
            with self._session.refusals():
                self._session.check_address(stream.get_extra_info)
        except BaseException:
            await close_shielded(stream)
            raise
        return stream

    async def _tunnel(
        self,
        proxy: tunnel.Proxy,
        timeout: float | None,  # noqa: ASYNC109
        deadline: float,
    ) -> httpcore2.AsyncNetworkStream:
        stream = await self._backend.connect_tcp(proxy.host, proxy.port, timeout)
        try:
            with anyio.fail_after(deadline - time.monotonic()):
                await adrive(tunnel.connect(self._session.demands.origin.host_header), stream)
        except BaseException as exc:
            await close_shielded(stream)
            if isinstance(exc, TimeoutError):
                raise self._session.too_slow() from exc
            raise
        return stream


class _UnattestedStream(httpcore2.AsyncNetworkStream):
    """A TCP connection, through a proxy or not, before TLS. It can neither write nor read by itself."""

    def __init__(
        self,
        stream: httpcore2.AsyncNetworkStream,
        dial: Callable[[float | None, float], Awaitable[httpcore2.AsyncNetworkStream]],
        session: Session,
        flights: Sequence[anyio.Lock],
    ) -> None:
        self._stream = stream
        self._dial = dial
        self._session = session
        self._flights = flights

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109  httpcore2's signature
    ) -> AsyncAttestedStream:
        stream = self._stream
        async with contextlib.AsyncExitStack() as passed_over:
            with Search(self._session) as search:
                while True:
                    peer = None
                    try:
                        with self._session.refusals():
                            stream = await stream.start_tls(ssl_context, server_hostname, timeout)
                            name = self._session.demands.origin.host
                            peer = tls.peer_of(stream.get_extra_info("ssl_object"), name)
                            attested = await self._attest(stream, peer, search)
                        search.accepted()
                        return AsyncAttestedStream(stream, attested, self._session)
                    except BaseException as error:
                        passed_over.push_async_callback(close_shielded, stream)
                        if not search.goes_on(error, peer):
                            raise
                    timeout = search.within(timeout)
                    stream = await self._dial(timeout, search.deadline)

    async def _attest(self, stream: httpcore2.AsyncNetworkStream, peer: Peer, search: Search) -> Attested:
        if attested := search.decided(peer):
            return attested
        try:
            with anyio.fail_after(search.remaining()):
                while True:
                    try:
                        async with self._flights[peer.tls_spki_sha256[0] % FLIGHTS]:
                            return search.decided(peer) or await self._ask(stream, peer)
                    except handshake.Busy as busy:
                        pause = search.pause(peer, busy)
                    await anyio.sleep(pause)  # outside the flight: nobody waits for another's busy server
        except TimeoutError as exc:
            raise self._session.too_slow() from exc

    async def _ask(self, stream: httpcore2.AsyncNetworkStream, peer: Peer) -> Attested:
        nonce = self._session.nonce()
        exchange = handshake.fetch_answer(self._session.demands.origin.host_header, nonce)
        body = await adrive(exchange, stream)
        return self._session.conclude(Bundle(peer, nonce, body))

    async def aclose(self) -> None:
        await self._stream.aclose()

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class AsyncAttestedStream(httpcore2.AsyncNetworkStream):
    """A TLS connection whose peer is attested; it cannot be made without the proof."""

    def __init__(self, stream: httpcore2.AsyncNetworkStream, attested: Attested, session: Session) -> None:
        self._stream = stream
        self._attested = attested
        self._session = session
        self._between_requests = True
        self._served = False

    def rested(self) -> AsyncAttestedStream:
        """As `AttestedStream.rested`."""
        self._served = True
        return self

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        reused, self._between_requests = self._served and not self._between_requests, True
        try:
            received = await self._stream.read(max_bytes, timeout)
        except ssl.SSLError as exc:  # anyio lets it through: a bad record, an alert
            raise httpcore2.ReadError("TLS failed") from exc
        except httpcore2.ReadError as exc:
            if reused:
                raise ClosedWhileIdle from exc
            raise
        if reused and not received:
            raise ClosedWhileIdle
        self._served = True
        return received

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        if self._between_requests:
            self._session.require_fresh(self._attested)
            self._between_requests = False
        try:
            await self._stream.write(buffer, timeout)
        except ssl.SSLError as exc:
            raise httpcore2.WriteError("TLS failed") from exc

    async def aclose(self) -> None:
        await self._stream.aclose()

    def get_extra_info(self, info: str) -> Any:
        if info == "blindai_attested":
            return self._attested
        if info == "is_readable" and self._session.ending(self._attested):
            return True
        return self._stream.get_extra_info(info)
