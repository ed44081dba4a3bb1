"""Collateral for a server, which has to go on: in place of what a service does not give is what was kept.

Piece by piece: a service that is down costs one piece its refresh. Each time that happens is one line in
`problems`, and none of them names a machine.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import anyio

from blindai.attestation.times import shown
from blindai.errors import UnreachableError, UsageError
from blindai.transport.collateral.cache import Cache
from blindai.transport.collateral.collector import Collector, Reader, run_job
from blindai.transport.collateral.piece import Answer, Piece, Request
from blindai.transport.collateral.source import Limits, Source

_DAY_SECONDS = 24 * 3600


@dataclass(frozen=True)
class Fetched:
    """What a job gathered, when the first piece of it ends (None: never), and what went wrong on the way."""

    members: Mapping[str, str]
    until: int | None
    problems: tuple[str, ...]


@dataclass(frozen=True)
class Keeping:
    """Where answers are kept (None: nowhere), whom TLS trusts (None: the system's), and the bounds on all."""

    folder: Path | None
    ca_file: str | None = None
    limits: Limits = field(default_factory=Limits)


class FallbackCollector(Collector):
    """A collector that prefers what has ended to nothing, and what holds to what has ended."""

    def __init__(
        self, source: Source, cache: Cache | None, *, anew: bool, say: Callable[[str], None], now: int
    ) -> None:
        super().__init__(source, cache, refresh=anew, say=say, now=now)
        self.problems: list[str] = []

    async def piece(self, request: Request, read: Reader, *, given: Piece | None = None) -> dict[str, str]:
        """Return the members of the best piece there is, or raise if there is none.

        `given` came in another way: while a day of it is left, and nothing newer was kept, nobody is asked.
        """
        return self._taken(await self._best(request, read, given))

    @property
    def now(self) -> int:
        return self._now

    def take(self, found: Piece) -> dict[str, str]:
        """Return the members of a piece that nobody was asked for; its end counts like that of the others."""
        return self._taken(found)

    async def optional(self, request: Request, read: Reader, *, given: Piece | None = None) -> dict[str, str]:
        """Return the members of a piece that evidence may do without; none if no edition of it holds."""
        try:
            best = await self._best(request, read, given)
        except (UnreachableError, UsageError) as exc:
            self.problems.append(f"{exc}; going on without it")
            return {}
        return self._taken(best) if best.holds(self._now) else {}

    async def _best(self, request: Request, read: Reader, given: Piece | None) -> Piece:
        kept = self._kept(request, read)
        if (
            given is not None
            and given.holds(self._now + _DAY_SECONDS)
            and not self._is_rolled_back(given, kept)
        ):
            return given
        if kept is not None and (kept.is_settled(self._now) or not (self._refresh or kept.is_due(self._now))):
            return kept
        have = [piece for piece in (kept, given) if piece is not None]
        try:
            answer, found = await self._fetched_in_time(request, read)
        except (UnreachableError, UsageError) as exc:
            if not have:
                raise
            return self._instead(str(exc), have)
        if self._is_rolled_back(found, kept):
            return self._instead(f"the service gave an older edition of {request.what} than before", have)
        if not found.holds(self._now):
            return self._instead(
                f"the service gave an edition of {request.what} that has ended", [*have, found]
            )
        self._keep(request, answer)
        return found

    async def _fetched_in_time(self, request: Request, read: Reader) -> tuple[Answer, Piece]:
        # Half of what is left: a service that hangs leaves time to ask the others.
        left = anyio.current_effective_deadline() - anyio.current_time()
        try:
            with anyio.fail_after(left / 2):
                return await self._fetched(request, read)
        except TimeoutError as exc:
            raise UnreachableError(f"{request.what} did not arrive within {left / 2:.0f} seconds") from exc

    def _is_rolled_back(self, found: Piece, kept: Piece | None) -> bool:
        """Whether a service that was set back, or is made to look so, would undo what was known already."""
        return kept is not None and kept.holds(self._now) and found.is_older(kept)

    def _instead(self, problem: str, have: list[Piece]) -> Piece:
        best = max(have, key=lambda piece: float("inf") if piece.until is None else piece.until)
        ends = "" if best.until is None else f", which ends {shown(best.until)}"
        if not best.holds(self._now):
            ends = f", which ended {shown(best.until or 0)}"
        self.problems.append(f"{problem}; going on with the one at hand{ends}")
        return best


def gather(
    job: Callable[[FallbackCollector], Awaitable[dict[str, str]]],
    keeping: Keeping,
    *,
    now: int,
    anew: bool,
    say: Callable[[str], None],
    warn: Callable[[str], None],
) -> Fetched:
    """Run a job under one deadline; `warn` hears of trouble with the cache, `say` of everything else.

    Blocks. Raises UnreachableError or UsageError for a piece that nobody has.
    """

    async def run(source: Source, cache: Cache | None) -> Fetched:
        collector = FallbackCollector(source, cache, anew=anew, say=say, now=now)
        members = await job(collector)
        return Fetched(members, collector.until, tuple(collector.problems))

    cache = None if keeping.folder is None else Cache(keeping.folder, say=warn)
    return run_job(run, cache, say=say, ca_file=keeping.ca_file, limits=keeping.limits)
