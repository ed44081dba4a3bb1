"""Serves /metrics on a port of its own: plain HTTP, no TLS, no callers, numbers only.

It has its own thread and event loop, so that whoever is slow, loud or hostile here delays no inference.
What it may cost is bounded: connections, bytes, time, and the share of a processor that rendering takes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import threading
from collections.abc import Callable

from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from blindai.errors import UsageError
from blindai.server.http.listener import bind
from blindai.server.settings.addresses import parse_address
from blindai.server.watch.crashes import described, log_without_contents

PATH = b"/metrics"
MAX_CONNECTIONS = 16
MAX_HEAD_BYTES = 8 * 1024
DEADLINE_SECONDS = 5.0  # for a whole exchange

_LINGER_BYTES = 256 * 1024
_LINGER_SECONDS = 1.0
_IDLE_FACTOR = 9  # after a rendering, nine times as long without one: a tenth of a processor
_STOP_SECONDS = 2.0
_ACCEPTING_STEPS = 5  # of the event loop, from accept to a connection, and some
_REQUEST_LINE = re.compile(rb"([A-Z]{1,16}) ([!-~]+) HTTP/1\.[01]")

_log = logging.getLogger("blindai.server")


class MetricsListener:
    """Answers `GET /metrics` with what `render` returns, from `start` to `close`.

    `render` is called on the listener's thread. Raises UsageError at once if the port cannot be opened.
    """

    def __init__(
        self, render: Callable[[], bytes], address: str, *, deadline_seconds: float = DEADLINE_SECONDS
    ) -> None:
        self._render = render
        self._deadline_seconds = deadline_seconds
        try:
            host, port = parse_address(address)
        except UsageError as exc:
            raise UsageError(f"the address for metrics {exc}", hint=exc.hint) from exc
        try:
            self._socket = bind(host, port)
        except UsageError as exc:
            hint = "choose another address for metrics, or none"
            raise UsageError(f"metrics are not served: {exc}", hint=hint) from exc
        self.host = host
        self.port = int(self._socket.getsockname()[1])
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ending: asyncio.Event | None = None
        self._opened = threading.Event()
        self._thread = threading.Thread(target=self._run, name="blindai-metrics", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()
        self._opened.wait(_STOP_SECONDS)

    def close(self) -> None:
        """Close the port and cut every connection."""
        if self._thread.ident is not None:
            if self._loop is not None and self._ending is not None:
                with contextlib.suppress(RuntimeError):  # it has ended by itself
                    self._loop.call_soon_threadsafe(self._ending.set)
            self._thread.join(_STOP_SECONDS)
        self._socket.close()

    def _run(self) -> None:
        try:
            # Not uvloop, and not asyncio.run: nothing here is worth more than the simplest loop.
            with asyncio.Runner() as runner:
                runner.run(self._serve())
        except Exception as exc:  # noqa: BLE001 - the boundary: inference goes on without metrics
            _log.error("metrics are no longer served: %s", described(exc))  # noqa: TRY400 - no contents
        finally:
            self._opened.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(log_without_contents)
        self._ending = asyncio.Event()
        exchanges = _Exchanges(self._render, self._deadline_seconds)
        server = await self._loop.create_server(lambda: _Connection(exchanges), sock=self._socket)
        self._opened.set()
        try:
            await self._ending.wait()
        finally:
            # Not closed at once: of a closed server, asyncio leaves open what it has just accepted.
            self._loop.remove_reader(self._socket)
            await exchanges.end()
            server.close()


class _Exchanges:
    """The connections of the moment: one request each."""

    def __init__(self, render: Callable[[], bytes], deadline_seconds: float) -> None:
        self.open: set[asyncio.Transport] = set()
        self._render = render
        self._deadline_seconds = deadline_seconds
        self._rendering = asyncio.Lock()
        self._not_before = 0.0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(self._deadline_seconds):
                await self._exchange(reader, writer)
        except (TimeoutError, OSError):
            pass  # slow, or gone
        except Exception as exc:  # noqa: BLE001 - the boundary: the next scrape may go better
            _log.error("metrics: %s", described(exc))  # noqa: TRY400 - no contents
        finally:
            writer.transport.abort()

    async def end(self) -> None:
        """Cut what is open, also what was accepted a moment ago."""
        for _ in range(_ACCEPTING_STEPS):
            await asyncio.sleep(0)
            for transport in list(self.open):
                transport.abort()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return
        except asyncio.LimitOverrunError:
            head = b""
        status, allowed = _judge(head)
        text = await self._text() if status == 200 else b""
        with_body = not head.startswith(b"HEAD ")
        writer.write(_head(status, allowed, len(text)) + (text if with_body else b""))
        await writer.drain()
        writer.write_eof()
        await _linger(reader)

    async def _text(self) -> bytes:
        """Render, one at a time and with pauses: rendering holds the interpreter that inference needs."""
        clock = asyncio.get_running_loop().time
        async with self._rendering:
            await asyncio.sleep(max(0.0, self._not_before - clock()))
            began = clock()
            text = self._render()
            ended = clock()
            self._not_before = ended + _IDLE_FACTOR * (ended - began)
            return text


class _Connection(asyncio.StreamReaderProtocol):
    """Counts from the first moment: a task that serves it may never have begun when the server ends."""

    def __init__(self, exchanges: _Exchanges) -> None:
        super().__init__(asyncio.StreamReader(limit=MAX_HEAD_BYTES), exchanges.serve)
        self._exchanges = exchanges
        self._transport_kept: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - it is TCP
        if len(self._exchanges.open) >= MAX_CONNECTIONS:
            transport.abort()
            return
        self._transport_kept = transport
        self._exchanges.open.add(transport)
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport_kept is not None:
            self._exchanges.open.discard(self._transport_kept)
            super().connection_lost(exc)


async def _linger(reader: asyncio.StreamReader) -> None:
    """Read on for a moment: closing with unread bytes resets the connection, and the answer with it."""
    left = _LINGER_BYTES
    try:
        async with asyncio.timeout(_LINGER_SECONDS):
            while left > 0 and (chunk := await reader.read(MAX_HEAD_BYTES)):
                left -= len(chunk)
    except TimeoutError:
        pass


_REASONS = {
    200: b"OK",
    400: b"Bad Request",
    404: b"Not Found",
    405: b"Method Not Allowed",
    431: b"Request Header Fields Too Large",
}


def _judge(head: bytes) -> tuple[int, bool]:
    """Return the status for a request's head, and whether to say which methods there are."""
    if not head:
        return 431, False
    match = _REQUEST_LINE.fullmatch(head.partition(b"\r\n")[0])
    if match is None:
        return 400, False
    if match[2].partition(b"?")[0] != PATH:
        return 404, False
    if match[1] not in (b"GET", b"HEAD"):
        return 405, True
    return 200, False


def _head(status: int, allowed: bool, length: int) -> bytes:
    lines = [
        b"HTTP/1.1 %d %s" % (status, _REASONS[status]),
        b"content-type: " + CONTENT_TYPE_PLAIN_0_0_4.encode("ascii"),
        b"content-length: %d" % length,
        b"cache-control: no-store",
        b"connection: close",
    ]
    if allowed:
        lines.append(b"allow: GET, HEAD")
    return b"\r\n".join(lines) + b"\r\n\r\n"
