"""The port: opens it, answers on it with uvicorn, and ends in order on a signal.

Parts of uvicorn's server are replaced: it raises the signal again once it has ended (exit code -15, and
nothing after it runs), waits 30 s for peers that do not answer the TLS close, and logs in its own way.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import signal
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, cast

import uvicorn

from blindai.errors import UsageError
from blindai.server.http.protocol import Connection, ConnectionLimits, Draining, protocol_class
from blindai.server.keys.identity import Identities, Identity
from blindai.server.settings import Settings
from blindai.server.watch.crashes import log_without_contents

_BACKLOG = 2048
_BIND_HINTS = {
    errno.EADDRINUSE: "another server may be running: choose another port with --port",
    errno.EADDRNOTAVAIL: "--host is an address of this machine; 0.0.0.0 listens on all of them",
    errno.EACCES: "ports below 1024 need privileges: choose another with --port",
}
_POLL_SECONDS = 0.02
_SIGNALS = (signal.SIGTERM, signal.SIGINT)

_log = logging.getLogger("blindai.server")


def bind(host: str, port: int) -> socket.socket:
    """Return a socket bound to `host` and `port`, not yet listening. Raises UsageError."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        # With the protocol named: asyncio sets TCP_NODELAY only then, and without it answers wait 40 ms.
        sock = socket.socket(family, kind, protocol)
    except OSError as exc:
        raise UsageError(f"{host} is not an address of this machine: {exc.strerror}") from exc
    try:
        # A port whose last connections linger in TIME_WAIT is free; one that is listened on stays taken.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen(_BACKLOG)
    except OSError as exc:
        sock.close()
        raise UsageError(
            f"cannot listen on {host} port {port}: {exc.strerror}", hint=_BIND_HINTS.get(exc.errno or 0, "")
        ) from exc
    return sock


class Listener(uvicorn.Server):
    """uvicorn's server with our own opening and ending."""

    def __init__(
        self, app: Callable[..., Awaitable[None]], identities: Identities, settings: Settings
    ) -> None:
        self._settings = settings
        self._identities = identities
        self._draining = Draining()
        self._context = identities.listening_context()
        self._started: Callable[[], None] = lambda: None
        limits = ConnectionLimits(
            max_headers=settings.max_headers,
            max_header_bytes=settings.max_header_bytes,
            max_connections=settings.max_connections,
            header_timeout_seconds=settings.header_timeout_seconds,
            close_seconds=settings.tls_close_seconds,
        )
        _silence_uvicorn()
        config = uvicorn.Config(
            app,
            http=protocol_class(identities, limits, self._draining),
            ws="none",
            lifespan="off",
            interface="asgi3",
            workers=1,  # else WEB_CONCURRENCY decides
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=settings.keep_alive_seconds,
        )
        super().__init__(config)

    async def serve_on(
        self, sock: socket.socket, *, started: Callable[[], None], reload: Callable[[], None]
    ) -> bool:
        """Serve on `sock` until a signal; return whether the end was in order, not forced.

        SIGHUP calls `reload`, on the event loop.
        """
        self._started = started
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(log_without_contents)
        with self._signals(loop, reload):
            await self._serve([sock])
        return not self.force_exit

    def connections(self) -> int:
        """Return how many connections are open."""
        return len(self.server_state.connections)

    def cut(self, ended: Callable[[Identity], bool]) -> None:
        """End the connections of ended identities; running requests may finish in `drain_seconds`."""
        for connection in cast("list[Connection]", list(self.server_state.connections)):
            if ended(connection.identity):
                connection.end(within_seconds=self._settings.drain_seconds)

    def stop(self) -> None:
        """End: once in order, the second time at once."""
        if self.should_exit:
            self.force_exit = True
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        loop = asyncio.get_running_loop()
        protocol: Any = self.config.http_protocol_class
        self.servers = []
        for sock in sockets or []:
            server = await loop.create_server(
                lambda: protocol(self.config, self.server_state, {}, loop),
                sock=sock,
                ssl=self._context,
                backlog=_BACKLOG,
                ssl_handshake_timeout=self._settings.tls_handshake_timeout_seconds,
                # For peers that read the end of a response slowly; idle ones are cut sooner, in Connection.
                ssl_shutdown_timeout=self._settings.drain_seconds,
            )
            self.servers.append(server)
        self.started = True
        self._started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the port, let running requests finish within `drain_seconds`, then cut what is left.

        Before that, idle connections may bring one more request for a moment, whose answer tells their client
        to go elsewhere: closed at once, one that is on its way would be lost, and clients do not repeat it.
        """
        for server in self.servers:
            server.close()
        for sock in sockets or []:
            sock.close()
        state = self.server_state
        self._identities.closing = True
        await self._drained(self._settings.farewell_seconds)
        self._draining.begun = True
        for connection in list(state.connections):
            connection.shutdown()
        if not await self._drained(self._settings.drain_seconds):
            _log.warning("%d connection(s) were cut off", len(state.connections))
            for task in list(state.tasks):
                task.cancel()
            for connection in list(state.connections):
                connection.transport.abort()
            await asyncio.sleep(0)  # lets the cancelled tasks see it

    async def _drained(self, seconds: float) -> bool:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while self.server_state.connections or self.server_state.tasks:
            if self.force_exit or loop.time() > deadline:
                return False
            await asyncio.sleep(_POLL_SECONDS)
        return True

    @contextlib.contextmanager
    def _signals(self, loop: asyncio.AbstractEventLoop, reload: Callable[[], None]) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield  # signals are the main thread's; whoever runs us in another calls `stop`
            return
        for number in _SIGNALS:
            loop.add_signal_handler(number, self._signalled, number)
        loop.add_signal_handler(signal.SIGHUP, reload)
        try:
            yield
        finally:
            for number in (*_SIGNALS, signal.SIGHUP):
                loop.remove_signal_handler(number)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)  # its default would cut the end short

    def _signalled(self, number: signal.Signals) -> None:
        # Orchestrators repeat SIGTERM; only a person who presses Ctrl-C again wants it at once.
        if not self.should_exit or number == signal.SIGINT:
            self.stop()


def _silence_uvicorn() -> None:
    """Its loggers print tracebacks and request lines; what matters is said by our own."""
    for name in ("uvicorn.error", "uvicorn.access", "uvicorn.asgi"):
        logging.getLogger(name).disabled = True
