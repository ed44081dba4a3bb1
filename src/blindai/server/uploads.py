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
from blindai.server.catalogue.intake import Intake
from blindai.server.http.body import Body, Budget
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


@dataclass(frozen=True)
class Arriving:
    """Bytes of uploads that run: of one caller, and of all."""

    of_caller: int
    of_all: int


class Uploads:
    """A bounded number of uploads at a time, over all and for each caller. For the event loop's thread only.

    A thousand that begin and then dawdle thus hold a known number of files and bytes.
    """

    def __init__(self, limits: UploadLimits, threads: BoundedThreads) -> None:
        self._limits = limits
        self._threads = threads
        self._running: Counter[str] = Counter()
        self._arrived: Counter[str] = Counter()  # bytes of the uploads that run

    @property
    def max_model_bytes(self) -> int:
        return self._limits.max_model_bytes

    @contextlib.contextmanager
    def slot(self, key_id: str) -> Iterator[Callable[[int], Arriving]]:
        """Hold one of the places, and lend a counter of what arrives there: it tells what arrives in all.

        Raises RequestError (busy).
        """
        if self._running.total() >= self._limits.max_uploads:
            raise _busy("too many models arrive at this moment: try again")
        if self._running[key_id] >= self._limits.max_uploads_per_caller:
            raise _busy("too many models of yours arrive at this moment: finish one first")
        mine = 0

        def count(size: int) -> Arriving:
            nonlocal mine
            mine += size
            self._arrived[key_id] += size
            return Arriving(self._arrived[key_id], self._arrived.total())

        self._running[key_id] += 1
        try:
            yield count
        finally:
            self._running[key_id] -= 1
            self._arrived[key_id] -= mine
            if not self._running[key_id]:
                del self._running[key_id], self._arrived[key_id]

    async def receive(
        self, body: Body, intake: Intake, expected_sha256: str | None, admit: Callable[[int], None]
    ) -> None:
        """Write the whole body into `intake`, and finish it. Raises RequestError.

        `admit` is told the size of each piece before it is written, and may raise: a body that does not say
        its length would else be counted when all of it lies on the disk.
        """
        piece = bytearray()
        held = 0
        async for chunk in body.chunks(max_bytes=self._limits.max_model_bytes):
            if intake.in_memory or held < _PIECE_BYTES:
                body.hold(len(chunk), self._limits.budget)
                held += len(chunk)
            piece += chunk
            if len(piece) >= _PIECE_BYTES:
                admit(len(piece))
                await self.on_thread(functools.partial(intake.write, piece))
                piece = bytearray()
        admit(len(piece))
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
