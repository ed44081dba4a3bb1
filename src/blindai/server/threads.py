"""Blocking calls from the event loop, on a few threads, with a bounded queue before them."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")


class QueueFull(Exception):  # noqa: N818 - the condition, as queue.Full
    """As many calls wait as may."""


@dataclass(frozen=True)
class _Job:
    call: Callable[[], Any]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]


class BoundedThreads:
    """`threads` threads, and at most `max_waiting` calls that wait for one.

    The threads are daemons, unlike those of concurrent.futures: a model that hangs, or a device that does
    not answer, must not keep the process from ending.
    """

    def __init__(self, name: str, *, threads: int, max_waiting: int) -> None:
        self._max_pending = threads + max_waiting
        self._pending = 0
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._running = [False] * threads  # each thread writes its own place
        self._threads = [
            threading.Thread(target=self._work, args=(number,), name=f"{name}-{number}", daemon=True)
            for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def running(self) -> bool:
        """Whether a call is running now."""
        return any(self._running)

    @property
    def waiting(self) -> int:
        """How many calls wait for a thread now."""
        return max(0, self._pending - sum(self._running))

    async def run(self, call: Callable[[], T]) -> T:
        """Return what `call` returns, or raise what it raises; QueueFull at once if too many wait.

        Cancelling the caller takes a waiting call off the queue. A running one keeps its thread, and its
        place in the count, until it ends.
        """
        if self._pending >= self._max_pending:
            raise QueueFull
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._pending += 1
        self._jobs.put(_Job(call, loop, future))
        try:
            return await future
        finally:
            # An error that was raised holds this frame, and the frame the future, which holds the error: a
            # refused request, with all its bytes, would stay in memory until the garbage collector comes by.
            del future

    def close(self) -> None:
        """Let the threads end after the calls that are queued. Does not wait."""
        for _ in self._threads:
            self._jobs.put(None)

    def _work(self, number: int) -> None:
        while (job := self._jobs.get()) is not None:
            self._running[number] = True
            result: Any = None
            error: BaseException | None = None
            if not job.future.cancelled():
                try:
                    result = job.call()
                except BaseException as exc:  # noqa: BLE001 - carried over to the caller, whatever it is
                    error = exc
            # The loop is closed when the server ended without waiting for this call.
            with contextlib.suppress(RuntimeError):
                job.loop.call_soon_threadsafe(self._settle, job.future, result, error)
            self._running[number] = False
            del job, result, error  # an idle thread must not hold on to somebody's tensors

    def _settle(self, future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
        self._pending -= 1
        if future.cancelled():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)
