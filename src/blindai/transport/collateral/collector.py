"""Gets each piece from the cache while it holds, and from its service when it does not."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio

from blindai.attestation.times import shown
from blindai.errors import UnreachableError, UsageError
from blindai.transport.collateral.cache import Cache
from blindai.transport.collateral.piece import Answer, Piece, Request
from blindai.transport.collateral.source import Limits, Source

MAX_TIMEOUT_SECONDS = 3600.0
Reader = Callable[[Answer], Piece]


class Collector:
    """The pieces of one collateral. `until` is when the first of those gathered ends (None: never)."""

    def __init__(
        self, source: Source, cache: Cache | None, *, refresh: bool = False, say: Callable[[str], None]
    ) -> None:
        self._source = source
        self._cache = cache
        self._refresh = refresh
        self._say = say
        self.until: int | None = None

    async def piece(self, request: Request, read: Reader) -> dict[str, str]:
        """Return the members that `read` finds in the answer to `request`."""
        found = self._kept(request, read) or await self._fetched(request, read)
        ends = [end for end in (self.until, found.until) if end is not None]
        self.until = min(ends, default=None)
        return dict(found.members)

    def _kept(self, request: Request, read: Reader) -> Piece | None:
        if self._cache is None or self._refresh:
            return None
        now = int(time.time())
        answer = self._cache.read(request.name, now=now)
        if answer is None:
            return None
        try:
            found = read(answer)
        except ValueError:
            self._cache.damaged()
            return None
        return found if found.until is None or now < found.until else None

    async def _fetched(self, request: Request, read: Reader) -> Piece:
        self._say(f"fetching {request.what}")
        answer = await self._source.get(request)
        try:
            found = read(answer)
        except ValueError as exc:
            raise UnreachableError(
                f"the service's answer is not {request.what}: {exc}",
                hint="is --url the address of such a service?",
            ) from exc
        if found.until is not None and found.until <= answer.fetched:
            ended = shown(found.until)
            self._say(f"warning: {request.what} ended {ended}; check the service and this computer's clock")
        elif self._cache is not None:
            self._cache.write(request.name, answer)
        return found


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
    limits = limits or Limits()
    if not 0 < limits.timeout_seconds <= MAX_TIMEOUT_SECONDS:
        raise UsageError(f"a timeout is more than 0 and at most {MAX_TIMEOUT_SECONDS:.0f} seconds")

    async def run() -> tuple[dict[str, str], int | None]:
        cache = None if folder is None else Cache(folder, say=say)
        async with Source(limits=limits, ca_file=ca_file, cache=cache, say=say) as source:
            collector = Collector(source, cache, refresh=refresh, say=say)
            # Around everything: a peer that sends a byte a second defeats a timeout on each read.
            with anyio.fail_after(limits.timeout_seconds):
                members = await job(collector)
            return members, collector.until

    try:
        return anyio.run(run)
    except TimeoutError as exc:
        raise UnreachableError(
            f"the collateral was not fetched within {limits.timeout_seconds:g} seconds",
            hint="try again, or raise --timeout; what arrived is kept in the cache",
        ) from exc
