"""HTTP/1.1 on one connection: uvicorn's httptools protocol, with limits and an orderly end.

What uvicorn lacks and this adds: bounds on headers and on their time, the identity that belongs to the
connection, error bodies in our form, no protocol upgrades, and a close that a silent peer cannot hold up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from blindai.errors import RequestCode, RequestError
from blindai.server.http.app import EXTENSION
from blindai.server.http.refusal import STATUS, error_body
from blindai.server.keys.identity import Identities, Identity

_QUIET_SECONDS = 0.1


@dataclass(frozen=True)
class ConnectionLimits:
    max_headers: int
    max_header_bytes: int
    max_connections: int
    header_timeout_seconds: float
    close_seconds: float


class Draining:
    """Whether the server is ending; shared by all its connections."""

    def __init__(self) -> None:
        self.begun = False


def protocol_class(
    identities: Identities, limits: ConnectionLimits, draining: Draining
) -> type[asyncio.Protocol]:
    """Return the class to give to uvicorn, which takes no instance and passes on nothing of ours."""

    class BoundConnection(Connection):
        def __init__(
            self,
            config: Config,
            server_state: ServerState,
            app_state: dict[str, Any],
            _loop: asyncio.AbstractEventLoop | None = None,
        ) -> None:
            super().__init__(config, server_state, app_state, _loop)
            self.identities = identities
            self.limits = limits
            self.draining = draining

    return BoundConnection


class Connection(HttpToolsProtocol):
    """One connection. `shutdown` is called when the server drains."""

    identities: Identities
    limits: ConnectionLimits
    draining: Draining
    identity: Identity

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn
        super().connection_made(transport)
        self._in_head = True
        self._silent_bytes = 0
        self._header_bytes = 0
        self._refusal: RequestError | None = None
        self._heard_more = False
        self._abort_timer: asyncio.TimerHandle | None = None
        self._close_timer: asyncio.TimerHandle | None = None
        self._head_timer: asyncio.TimerHandle | None = None
        self._end_timer: asyncio.TimerHandle | None = None
        # The context says by which keys this connection was made, whatever is current by now.
        context = transport.get_extra_info("ssl_object").context
        self.identity = self.identities.of(context)
        self._scope_extensions = {EXTENSION: self.identity}
        if self.draining.begun:
            self.shutdown()
        elif len(self.connections) > self.limits.max_connections:
            self._refuse(RequestCode.BUSY, "too many connections are open: try again")
        else:
            self._start_head_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._abort_timer, self._close_timer, self._head_timer, self._end_timer):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)
        # uvicorn cancels this one only after a clean close; it would keep the connection in memory.
        self._unset_keepalive_if_required()

    def data_received(self, data: bytes) -> None:
        if self._refusal is not None or self.transport.is_closing():
            self._heard_more = True
            return
        if self._in_head and self._head_timer is None:
            self._start_head_timer()
        self._silent_bytes += len(data)
        super().data_received(data)
        # The parser gathers a header, or a trailer, until it is whole: this bounds what it can gather.
        if self._silent_bytes > self.limits.max_header_bytes and self._refusal is None:
            self._refuse(RequestCode.HEADERS_TOO_LARGE, "the request's header is too long")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True
        self._header_bytes = 0
        self.scope["extensions"] = self._scope_extensions  # type: ignore[typeddict-item] # our own

    def on_url(self, url: bytes) -> None:
        self._count_header(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count_header(len(name) + len(value))
        if len(self.headers) >= self.limits.max_headers:
            self._stop_parsing(RequestCode.HEADERS_TOO_LARGE, "the request has too many headers")
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self.parser.get_http_version() not in ("1.0", "1.1"):
            self._stop_parsing(RequestCode.MALFORMED, "this server speaks HTTP/1.1")
        if self.parser.should_upgrade():
            # After it, the parser takes a body for the other protocol's bytes.
            self._stop_parsing(RequestCode.MALFORMED, "this server speaks HTTP/1.1 only, without upgrades")
        self._in_head = False
        self._silent_bytes = 0
        self._stop_head_timer()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._silent_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_head = True
        self._silent_bytes = 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.draining.begun:
            self._abort_soon()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's name for a failed parse
        cycle = self._answering()
        if self.pipeline or (cycle is not None and cycle.response_started):
            # An answer inside the response to an earlier request would be read as a part of it.
            self.transport.abort()
            return
        if cycle is not None:
            # Its request can never be whole; what it might still answer must not follow ours.
            cycle.disconnected = True
            cycle.message_event.set()
        if self._refusal is None:
            self._refusal = RequestError(RequestCode.MALFORMED, "this is not a valid HTTP/1.1 request")
        self._answer_and_close(self._refusal)

    def shutdown(self) -> None:
        """Close if nothing is being answered; else the response in progress is the last."""
        super().shutdown()
        if self.transport.is_closing():
            self._abort_soon()

    def end(self, *, within_seconds: float) -> None:
        """As `shutdown`, and cut what is still being answered by then."""
        if self._end_timer is None:
            self._end_timer = self._later(within_seconds, self.transport.abort)
            self.shutdown()

    def _answering(self) -> RequestResponseCycle | None:
        cycle = cast("RequestResponseCycle | None", self.cycle)  # uvicorn starts with None, undeclared
        return None if cycle is None or cycle.response_complete else cycle

    def _count_header(self, count: int) -> None:
        self._header_bytes += count
        if self._header_bytes > self.limits.max_header_bytes:
            self._stop_parsing(RequestCode.HEADERS_TOO_LARGE, "the request's header is too long")

    def _stop_parsing(self, code: RequestCode, message: str) -> None:
        """Leave a parser callback for good: httptools reports it, and uvicorn calls send_400_response."""
        self._refusal = RequestError(code, message)
        raise self._refusal

    def _refuse(self, code: RequestCode, message: str) -> None:
        self._refusal = RequestError(code, message)
        self.send_400_response(message)

    def _answer_and_close(self, refusal: RequestError) -> None:
        body = error_body(refusal.code, str(refusal))
        self.transport.write(
            b"".join(
                [
                    STATUS_LINE[STATUS[refusal.code]],
                    b"content-type: application/json\r\n",
                    b"content-length: " + str(len(body)).encode("ascii") + b"\r\n",
                    *[b"retry-after: 1\r\n"] * (refusal.code == RequestCode.BUSY),
                    b"connection: close\r\n\r\n",
                    body,
                ]
            )
        )
        deadline = self.loop.time() + self.limits.close_seconds
        self._close_timer = self._later(_QUIET_SECONDS, lambda: self._close_when_quiet(deadline))

    def _close_when_quiet(self, deadline: float) -> None:
        """Close once nothing more comes: with unread bytes, the answer could be lost to a reset."""
        if self._heard_more and self.loop.time() < deadline:
            self._heard_more = False
            self._close_timer = self._later(_QUIET_SECONDS, lambda: self._close_when_quiet(deadline))
            return
        self.transport.close()
        self._abort_soon()

    def _start_head_timer(self) -> None:
        self._head_timer = self._later(self.limits.header_timeout_seconds, self._head_timed_out)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_timed_out(self) -> None:
        self._head_timer = None
        idle = self._in_head and self._answering() is None and self._refusal is None
        if idle and not self.transport.is_closing():
            self._refuse(RequestCode.TIMEOUT, "the request's header came too slowly")

    def _abort_soon(self) -> None:
        """End the connection even if the peer does not answer the TLS close."""
        if self._abort_timer is None:
            self._abort_timer = self._later(self.limits.close_seconds, self.transport.abort)

    def _later(self, seconds: float, call: Callable[[], None]) -> asyncio.TimerHandle:
        return self.loop.call_later(seconds, call)
