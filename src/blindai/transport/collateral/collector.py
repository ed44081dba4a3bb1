"""Gets each piece from the cache while it holds, and from its service when it does not."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import anyio

from blindai.attestation.times import shown
from blindai.errors import UnreachableError, UsageError
from blindai.transport.collateral.cache import Cache
from blindai.transport.collateral.lookup import ImpatientLoop
from blindai.transport.collateral.piece import Answer, Piece, Request
from blindai.transport.collateral.source import Limits, Source

MAX_TIMEOUT_SECONDS = 3600.0
Reader = Callable[[Answer], Piece]
T = TypeVar("T")


class Collector:
    """The pieces of one collateral. `until` is when the first of those gathered ends (None: never)."""

    def __init__(
        self,
        source: Source,
        cache: Cache | None,
        *,
        refresh: bool = False,
        say: Callable[[str], None],
        now: int | None = None,
    ) -> None:
        self._source = source
        self._cache = cache
        self._refresh = refresh
        self._say = say
        self._now = int(time.time()) if now is None else now
        self.until: int | None = None

    async def piece(self, request: Request, read: Reader) -> dict[str, str]:
        """Return the members that `read` finds in the answer to `request`."""
        kept = None if self._refresh else self._kept(request, read)
        if kept is not None and not kept.is_due(self._now):
            return self._taken(kept)
        answer, found = await self._fetched(request, read)
        if found.holds(answer.fetched):
            self._keep(request, answer)
        else:
            ended = shown(found.until or 0)
            self._say(f"warning: {request.what} ended {ended}; check the service and this computer's clock")
        return self._taken(found)

    def _taken(self, found: Piece) -> dict[str, str]:
        ends = [end for end in (self.until, found.until) if end is not None]
        self.until = min(ends, default=None)
        return dict(found.members)

    def _kept(self, request: Request, read: Reader) -> Piece | None:
        """Return the piece that is kept, whether it holds or not; None if there is none."""
        answer = None if self._cache is None else self._cache.read(request.name, now=self._now)
        if self._cache is None or answer is None:
            return None
        try:
            return read(answer)
        except ValueError:
            self._cache.damaged()
            return None

    async def _fetched(self, request: Request, read: Reader) -> tuple[Answer, Piece]:
        self._say(f"fetching {request.what}")
        answer = await self._source.get(request)
        try:
            return answer, read(answer)
        except ValueError as exc:
            raise UnreachableError(
                f"the service's answer is not {request.what}: {exc}",
                hint="is --url the address of such a service?",
            ) from exc

    def _keep(self, request: Request, answer: Answer) -> None:
        if self._cache is not None:
            self._cache.write(request.name, answer)


def collect(
    job: Callable[[Collector], Awaitable[dict[str, str]]],
    *,
    folder: Path | None,
    say: Callable[[str], None],
    refresh: bool = False,
    ca_file: str | None = None,
    limits: Limits | None = None,
) -> tuple[dict[str, str], int | None]:
    """Run a job under one deadline and return the members it gathered, and when the first of them ends.

    `folder` is the cache, None for none; `refresh` asks anew for what is kept there.
    """

    async def run(source: Source, cache: Cache | None) -> tuple[dict[str, str], int | None]:
        collector = Collector(source, cache, refresh=refresh, say=say)
        return await job(collector), collector.until

    cache = None if folder is None else Cache(folder, say=say)
    return run_job(run, cache, say=say, ca_file=ca_file, limits=limits or Limits())


def run_job(
    job: Callable[[Source, Cache | None], Awaitable[T]],
    cache: Cache | None,
    *,
    say: Callable[[str], None],
    ca_file: str | None,
    limits: Limits,
) -> T:
    """Run a job with an open source, under one deadline. Blocks. Raises Unreachable- and UsageError."""
    if not 0 < limits.timeout_seconds <= MAX_TIMEOUT_SECONDS:
        raise UsageError(f"a timeout is more than 0 and at most {MAX_TIMEOUT_SECONDS:.0f} seconds")

    async def run() -> T:
        async with Source(limits=limits, ca_file=ca_file, cache=cache, say=say) as source:
            # Around everything: a peer that sends a byte a second defeats a timeout on each read.
            with anyio.fail_after(limits.timeout_seconds):
                return await job(source, cache)

    try:
        return anyio.run(run, backend_options={"loop_factory": ImpatientLoop})
    except TimeoutError as exc:
        raise UnreachableError(
            f"the collateral was not fetched within {limits.timeout_seconds:g} seconds",
            hint="try again, or raise --timeout; what arrived is kept in the cache",
        ) from exc
