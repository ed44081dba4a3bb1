"""Takes an upload in, piece by piece, and holds one piece of it, unless memory is its place."""

from __future__ import annotations

import contextlib
import functools
import hmac
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from blindai.errors import RequestCode, RequestError
from blindai.server.body import Body, Budget
from blindai.server.catalogue.intake import Intake
from blindai.server.threads import BoundedThreads, QueueFull

T = TypeVar("T")

_PIECE_BYTES = 2**20


@dataclass(frozen=True)
class UploadLimits:
    """`budget` bounds the bytes of all uploads that are held in memory at one time."""

    max_model_bytes: int
    max_uploads: int
    max_uploads_per_caller: int
    budget: Budget


class Uploads:
    """A bounded number of uploads at a time, over all and for each caller. For the event loop's thread only.

    A thousand that begin and then dawdle thus hold a known number of files and bytes.
    """

    def __init__(self, limits: UploadLimits, threads: BoundedThreads) -> None:
        self._limits = limits
        self._threads = threads
        self._running: Counter[str] = Counter()

    @property
    def max_model_bytes(self) -> int:
        return self._limits.max_model_bytes

    @contextlib.contextmanager
    def slot(self, key_id: str) -> Iterator[None]:
        """Hold one of the places. Raises RequestError (busy)."""
        if self._running.total() >= self._limits.max_uploads:
            raise _busy("too many models arrive at this moment: try again")
        if self._running[key_id] >= self._limits.max_uploads_per_caller:
            raise _busy("too many models of yours arrive at this moment: finish one first")
        self._running[key_id] += 1
        try:
            yield
        finally:
            self._running[key_id] -= 1
            if not self._running[key_id]:
                del self._running[key_id]

    async def receive(self, body: Body, intake: Intake, expected_sha256: str | None) -> None:
        """Write the whole body into `intake`, and finish it. Raises RequestError."""
        piece = bytearray()
        held = 0
        async for chunk in body.chunks(max_bytes=self._limits.max_model_bytes):
            if intake.in_memory or held < _PIECE_BYTES:
                body.hold(len(chunk), self._limits.budget)
                held += len(chunk)
            piece += chunk
            if len(piece) >= _PIECE_BYTES:
                await self.on_thread(functools.partial(intake.write, piece))
                piece = bytearray()
        await self.on_thread(functools.partial(_finish, intake, piece))
        if expected_sha256 is not None and not hmac.compare_digest(expected_sha256, intake.sha256):
            raise RequestError(
                RequestCode.MODEL_DIGEST,
                "what arrived differs from its Content-Digest: it was damaged on the way, send it again",
            )

    async def on_thread(self, call: Callable[[], T]) -> T:
        """Run what blocks. Raises RequestError (busy)."""
        try:
            return await self._threads.run(call)
        except QueueFull:
            raise _busy("the server has too much to store: try again") from None


def _finish(intake: Intake, last: bytearray) -> None:
    if last:
        intake.write(last)
    intake.finish()


def _busy(message: str) -> RequestError:
    return RequestError(RequestCode.BUSY, message)
