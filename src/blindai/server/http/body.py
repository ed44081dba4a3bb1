"""Reads request bodies: the one place where what clients send is counted and clocked."""

from __future__ import annotations

import asyncio
import io
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from blindai.errors import RequestCode, RequestError

Receive = Callable[[], Awaitable[Any]]

_LENGTH = re.compile(rb"[0-9]{1,19}")


class ClientGone(Exception):  # noqa: N818 - nobody is left to tell about an error
    """The client closed the connection before its request was complete."""


class Observer(Protocol):
    """Sees every byte of a body once, in order: the digest of a receipt."""

    def update(self, data: bytes, /) -> None: ...


@dataclass(frozen=True)
class Pace:
    """How slow a body may come, and a response be read: never more than `grace_seconds` behind this rate.

    Not on average over the body: who sent much at once could then stop for hours, with the budget in hand.
    """

    grace_seconds: float
    min_bytes_per_second: int


class Budget:
    """A bound on the bytes that all connections together hold in memory. For the event loop's thread only."""

    def __init__(self, max_bytes: int) -> None:
        self._left = max_bytes

    def take(self, count: int) -> None:
        """Raise RequestError (busy) if that many are not left."""
        if count > self._left:
            raise RequestError(
                RequestCode.BUSY, "the server holds as many request bytes as it may: try again"
            )
        self._left -= count

    def give_back(self, count: int) -> None:
        self._left += count


class Body:
    """The body of one request, read once or not at all."""

    def __init__(self, receive: Receive, headers: Sequence[tuple[bytes, bytes]], pace: Pace) -> None:
        self._receive = receive
        self._pace = pace
        self._budget: Budget | None = None
        self._taken_bytes = 0
        lengths = [value for name, value in headers if name == b"content-length"]
        codings = [value.strip().lower() for name, value in headers if name == b"transfer-encoding"]
        chunked = bool(codings)
        self.declared_bytes = _declared(lengths, codings)
        self.expects_continue = any(name == b"expect" for name, _ in headers)
        self.complete = not chunked and not self.declared_bytes
        self.observer: Observer | None = None
        self.received_bytes = 0
        self.started = False
        self.stalled = False

    def check_declared(self, max_bytes: int) -> None:
        """Raise RequestError (too-large) for a declared length over the limit, before anything is read."""
        if self.declared_bytes is not None and self.declared_bytes > max_bytes:
            raise _too_large(max_bytes)

    async def read(self, *, max_bytes: int, budget: Budget) -> bytes:
        """Return the whole body; its bytes count in `budget` until `release`.

        Memory follows what has arrived, never what was announced. Raises RequestError (too-large, timeout,
        busy) as soon as it is known, ClientGone if the body ends early.
        """
        # BytesIO hands out what it has gathered without copying it again.
        gathered = io.BytesIO()
        async for chunk in self.chunks(max_bytes=max_bytes):
            self.hold(len(chunk), budget)
            if self.complete and not gathered.tell():
                return chunk
            gathered.write(chunk)
        return gathered.getvalue()

    async def chunks(self, *, max_bytes: int) -> AsyncIterator[bytes]:
        """Hand on what arrives, at the pace that clients have to keep. Raises as `read` does."""
        self.check_declared(max_bytes)
        clock = asyncio.get_running_loop().time
        patience = self._pace.grace_seconds
        received = 0
        while not self.complete:
            asked = clock()
            chunk, _ = await self._next(deadline=asked + patience)
            earned = len(chunk) / self._pace.min_bytes_per_second
            patience = min(self._pace.grace_seconds, patience - (clock() - asked) + earned)
            received += len(chunk)
            if received > max_bytes:
                raise _too_large(max_bytes)
            yield chunk

    def hold(self, count: int, budget: Budget) -> None:
        """Count bytes of this body in `budget` until `release`. Raises RequestError (busy)."""
        self._budget = budget
        budget.take(count)
        self._taken_bytes += count

    async def discard(self, *, max_bytes: int, seconds: float) -> None:
        """Read on and throw away, up to these limits, so that the connection can go on or be closed well.

        Without this, closing with unread bytes makes the kernel reset the connection, and the client may
        never see the answer that tells why.
        """
        discarded = 0
        deadline = asyncio.get_running_loop().time() + seconds
        try:
            while not self.complete and discarded <= max_bytes:
                chunk, _ = await self._next(deadline)
                discarded += len(chunk)
        except (RequestError, ClientGone):
            return

    async def abandoned(self) -> None:
        """Return when the client has left, who has sent the whole body and waits for an answer."""
        while (await self._receive())["type"] == "http.request":
            pass

    def release(self) -> None:
        """Give the bytes read back to their budget."""
        if self._budget is not None:
            self._budget.give_back(self._taken_bytes)
            self._taken_bytes = 0

    async def _next(self, deadline: float) -> tuple[bytes, bool]:
        """Return what has arrived, and whether it is the end."""
        self.started = True
        try:
            async with asyncio.timeout_at(deadline):
                message = await self._receive()
        except TimeoutError:
            self.stalled = True
            raise RequestError(RequestCode.TIMEOUT, "the request's body came too slowly") from None
        if message["type"] != "http.request":
            raise ClientGone
        self.complete = not message.get("more_body", False)
        chunk: bytes = message.get("body", b"")
        self.received_bytes += len(chunk)
        if self.observer is not None:
            self.observer.update(chunk)
        return chunk, self.complete


def _declared(lengths: Sequence[bytes], codings: Sequence[bytes]) -> int | None:
    # The parser refuses most of this; what a body means must not depend on who reads it.
    if codings and (lengths or list(codings) != [b"chunked"]):
        raise RequestError(
            RequestCode.MALFORMED, "the only transfer coding is chunked, without Content-Length"
        )
    if not lengths:
        return None
    if len(lengths) > 1 or not _LENGTH.fullmatch(lengths[0]):
        raise RequestError(
            RequestCode.MALFORMED, "the request's length is not clear: send one Content-Length"
        )
    return int(lengths[0])


def _too_large(max_bytes: int) -> RequestError:
    return RequestError(RequestCode.TOO_LARGE, f"the body is over the limit of {max_bytes} bytes")
