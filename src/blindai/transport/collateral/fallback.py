"""Collateral for a server, which has to go on: in place of what a service does not give is what was kept.

Piece by piece: a service that is down costs one piece its refresh. Each time that happens is one line in
`problems`, and none of them names a machine. What is chosen here is a proposal: nothing is kept before all of
it was verified together (`adoption`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import anyio

from blindai.attestation.times import shown
from blindai.errors import UnreachableError, UsageError
from blindai.transport.collateral.collector import Collector, Reader
from blindai.transport.collateral.piece import Answer, Piece, Request
from blindai.transport.collateral.shelf import Shelf
from blindai.transport.collateral.source import Source

_DAY_SECONDS = 24 * 3600


@dataclass(frozen=True)
class _Edition:
    """One edition of a piece. `quiet`: it is good enough to ask nobody."""

    answer: Answer
    piece: Piece
    came: str  # "kept", "given" or "fetched"
    quiet: bool = False


class FallbackCollector(Collector):
    """A collector that prefers what has ended to nothing, what holds to that, and the newest to all.

    `alone`: what the services give and nothing else, in case that what was kept is not genuine. `leaned` says
    whether anything else was used. `answers` is what the members came from, `fresh` what is new of it.
    """

    def __init__(
        self, source: Source, shelf: Shelf, *, anew: bool, alone: bool, say: Callable[[str], None], now: int
    ) -> None:
        super().__init__(source, None, refresh=anew, say=say, now=now)
        self.alone = alone
        self.leaned = False
        self.problems: list[str] = []
        self.answers: dict[str, Answer] = {}
        self.fresh: set[str] = set()
        self._shelf = shelf

    @property
    def now(self) -> int:
        return self._now

    async def piece(self, request: Request, read: Reader) -> dict[str, str]:
        """Return the members of the best piece there is, or raise if there is none."""
        return self._chosen(request, await self._best(request, read, None))

    async def optional(self, request: Request, read: Reader, *, given: bytes | None = None) -> dict[str, str]:
        """Return the members of a piece that evidence may do without; none if no edition of it holds.

        `given` is an answer that came in another way. Where all is to be new, it is only one more edition.
        """
        try:
            best = await self._best(request, read, given)
        except (UnreachableError, UsageError) as exc:
            self.problems.append(f"{exc}; going on without it")
            return {}
        return self._chosen(request, best) if best.piece.holds(self._now) else {}

    def take(self, found: Piece) -> dict[str, str]:
        """Return the members of a piece that nobody was asked for; its end counts like that of the others."""
        self.leaned = True
        return self._taken(found)

    def _chosen(self, request: Request, edition: _Edition) -> dict[str, str]:
        self.answers[request.name] = edition.answer
        if edition.came != "kept":
            self.fresh.add(request.name)
        if edition.came != "fetched":
            self.leaned = True
        return self._taken(edition.piece)

    async def _best(self, request: Request, read: Reader, given: bytes | None) -> _Edition:
        have = [] if self.alone else self._at_hand(request, read, given)
        best = _newest(have, self._now)
        if best is not None and best.quiet:
            return best
        try:
            found = await self._fetched_in_time(request, read)
        except (UnreachableError, UsageError) as exc:
            return self._instead(str(exc), best, exc)
        newer = _newest([one for one in have if _undone(one, found, self._now)], self._now)
        if newer is not None and newer.came == "given":
            return newer  # a service that is slower than the host is nobody's fault
        if newer is not None:
            # Set back, or made to look so: it would undo what was known already, a revocation perhaps.
            return self._instead(f"the service gave an older edition of {request.what} than before", newer)
        if not found.piece.holds(self._now):
            best = _newest([*have, found], self._now)
            return self._instead(f"the service gave an edition of {request.what} that has ended", best)
        return found

    def _at_hand(self, request: Request, read: Reader, given: bytes | None) -> list[_Edition]:
        have = []
        kept = self._shelf.read(request.name, now=self._now)
        if kept is not None:
            try:
                piece = read(kept)
                quiet = piece.is_settled(self._now) or not (self._refresh or piece.is_due(self._now))
                have.append(_Edition(kept, piece, "kept", quiet))
            except ValueError:
                self._shelf.damaged()
        if given is not None:
            answer = Answer(given, {}, self._now)
            try:
                piece = read(answer)
                quiet = not self._refresh and piece.holds(self._now + _DAY_SECONDS)
                have.append(_Edition(answer, piece, "given", quiet))
            except ValueError:
                pass  # the host's nonsense: the service has what is needed
        return have

    async def _fetched_in_time(self, request: Request, read: Reader) -> _Edition:
        # Half of what is left: a service that hangs leaves time to ask the others.
        left = anyio.current_effective_deadline() - anyio.current_time()
        try:
            with anyio.fail_after(left / 2):
                return _Edition(*await self._fetched(request, read), "fetched")
        except TimeoutError as exc:
            raise UnreachableError(f"{request.what} did not arrive within {left / 2:.0f} seconds") from exc

    def _instead(self, problem: str, best: _Edition | None, cause: Exception | None = None) -> _Edition:
        if best is None:
            raise cause or UnreachableError(problem)
        end = best.piece.until
        ends = "" if end is None else f", which ends {shown(end)}"
        if not best.piece.holds(self._now):
            ends = f", which ended {shown(end or 0)}"
        self.problems.append(f"{problem}; going on with the one at hand{ends}")
        return best


def _newest(editions: Sequence[_Edition], now: int) -> _Edition | None:
    """Return the newest of those that hold; of those that all have ended, the one that ended last."""
    holding = [one for one in editions if one.piece.holds(now)]
    if not holding:
        return max(editions, key=lambda one: one.piece.until or 0, default=None)
    best, *others = holding
    for other in others:
        if best.piece.is_older(other.piece):
            best = other
    return best


def _undone(known: _Edition, found: _Edition, now: int) -> bool:
    return known.piece.holds(now) and found.piece.is_older(known.piece)
