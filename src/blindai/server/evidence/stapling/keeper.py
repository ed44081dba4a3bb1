"""Keeps stapled collateral: gathers it at the start, refreshes it on a timer, and says how it stands.

Whatever fails, what was gathered before stays in use: a client's policy decides what it is still good for.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Literal

from blindai.attestation.times import shown
from blindai.attestation.types import Evidence
from blindai.errors import BlindAIError, UsageError
from blindai.server.evidence.stapling import schedule
from blindai.server.evidence.stapling.schedule import Moment, Next
from blindai.server.evidence.stapling.source import CollateralSource, Gathered
from blindai.server.threads import BoundedThreads, QueueFull

Status = Literal["valid", "ending", "expired", "missing"]

_log = logging.getLogger("blindai.server")


@dataclass(frozen=True)
class CollateralState:
    """How the collateral stands: for health and metrics.

    "ending": still valid, but the last refresh failed and the end is near. `expires` is when the first piece
    ends, `fetched` when all of it was put together (Unix seconds). `problems` are those of the last refresh.
    """

    status: Status
    expires: int | None
    fetched: int | None
    problems: tuple[str, ...]


@dataclass(frozen=True)
class _Held:
    gathered: Gathered
    subject: Hashable
    fetched: int
    whole_since: int  # when it was last gathered without a problem: its life is reckoned from there


class Keeper:
    """Everything but `gather` happens on one event loop. One gather runs at a time, on a thread of its own.

    `timeout_seconds` is how long a gather takes by itself at most; after twice that, sample included, it is
    given up: a name lookup that hangs cannot be ended, and must not stop the timer.
    """

    def __init__(
        self,
        source: CollateralSource,
        sample: Callable[[], Awaitable[Evidence]],
        *,
        refresh_seconds: float,
        timeout_seconds: float = 60.0,
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._source = source
        self._sample = sample
        self._refresh_seconds = refresh_seconds
        self._timeout_seconds = timeout_seconds
        self._clock = clock
        self._steady = steady
        self._jitter = jitter
        self._threads = BoundedThreads("blindai-collateral", threads=1, max_waiting=0)
        self._held: _Held | None = None
        self._subject: Hashable = None  # of the newest evidence, once `_seen`
        self._seen = False
        self._changed = asyncio.Event()
        self._problems: tuple[str, ...] = ()
        self._failures = 0
        self._next = Next(self._moment(), 0.0)

    @property
    def current(self) -> Gathered | None:
        """What to staple: None if there is nothing, or nothing for the machine as it is now."""
        held = self._held
        return held.gathered if held is not None and held.subject == self._subject else None

    def state(self, now: int) -> CollateralState:
        """Return how the collateral stands at Unix time `now`."""
        held = self._held
        if held is None or held.subject != self._subject:
            return CollateralState("missing", None, None, self._problems)
        expires = held.gathered.expires
        return CollateralState(self._status(held, now), expires, held.fetched, self._problems)

    async def start(self) -> None:
        """Gather for the first time, from what was kept if that holds. Never raises: `run` tries again."""
        await self._refresh(anew=False)
        if not self._failures:
            pause = schedule.after_start(refresh_seconds=self._refresh_seconds, jitter=self._jitter())
            self._next = Next(self._moment(), pause)

    async def run(self) -> None:
        """Refresh on the timer, until it is cancelled."""
        while True:
            await self._until_due()
            # For a changed machine, what was kept of it (by another start, by a neighbour) is quicker.
            anew = not self._changed.is_set()
            self._changed.clear()
            await self._refresh(anew=anew)

    def looked_at(self, evidence: Evidence) -> None:
        """Note the newest evidence: if the machine changed, collateral for it is gathered soon."""
        try:
            subject = self._source.subject(evidence)
        except UsageError:
            return  # it will be said by the next refresh, which takes a sample of its own
        if self._seen and subject != self._subject:
            self._subject = subject
            self._changed.set()

    def close(self) -> None:
        """End the thread, after what it is doing. Does not wait."""
        self._threads.close()

    async def _until_due(self) -> None:
        while True:
            soon = self._changed.is_set()
            left = self._next.left(self._moment(), soon=soon)
            if not left:
                return
            left = min(left, schedule.LONGEST_SLEEP_SECONDS)
            if soon:
                await asyncio.sleep(left)
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._changed.wait()

    async def _refresh(self, *, anew: bool) -> None:
        """Gather, and note what came of it. Raises nothing but CancelledError."""
        try:
            async with asyncio.timeout(2 * self._timeout_seconds):
                subject, gathered = await self._gather(anew=anew)
        except BlindAIError as exc:
            self._failed((str(exc),))
        except TimeoutError:
            self._failed((f"it was not gathered within {2 * self._timeout_seconds:g} seconds",))
        except QueueFull:
            self._failed(("an earlier refresh has not ended yet",))
        except Exception as exc:  # noqa: BLE001 - whatever it is, the timer goes on
            self._failed((f"{type(exc).__name__} while it was gathered",))
        else:
            self._note(subject, gathered)

    async def _gather(self, *, anew: bool) -> tuple[Hashable, Gathered]:
        evidence = await self._sample()
        subject = self._source.subject(evidence)
        self._subject, self._seen = subject, True
        self._changed.clear()  # if this very sample set it
        now = int(self._clock())
        gathered = await self._threads.run(lambda: self._source.gather(evidence, now=now, anew=anew))
        return subject, gathered  # the machine may have changed again meanwhile

    def _note(self, subject: Hashable, gathered: Gathered) -> None:
        now, before = int(self._clock()), self._held
        ended = gathered.expires is not None and gathered.expires <= now
        whole = not gathered.problems and not ended
        same = before is not None and before.subject == subject
        since = before.whole_since if before is not None and same and not whole else now
        self._held = _Held(gathered, subject, now, since)
        if not whole:
            self._failed(gathered.problems or ("the vendor's services gave what has ended already",))
            return
        recovered = self._failures > 0
        self._problems, self._failures = (), 0
        life = None if gathered.expires is None else gathered.expires - now
        self._next = Next(
            self._moment(),
            schedule.after_success(
                refresh_seconds=self._refresh_seconds, life_seconds=life, jitter=self._jitter()
            ),
        )
        end = "" if gathered.expires is None else f", valid until {shown(gathered.expires)}"
        _log.log(logging.INFO if recovered else logging.DEBUG, "collateral gathered%s", end)

    def _failed(self, problems: tuple[str, ...]) -> None:
        self._problems = problems
        self._failures += 1
        pause = schedule.after_failure(
            self._failures, refresh_seconds=self._refresh_seconds, jitter=self._jitter()
        )
        self._next = Next(self._moment(), pause, soonest=schedule.FIRST_PAUSE_SECONDS)
        state = self.state(int(self._clock()))
        until = "" if state.expires is None else f" until {shown(state.expires)}"
        for problem in problems:
            _log.warning("collateral not refreshed: %s", problem)
        _log.warning("collateral is %s%s; trying again in %.0f s", state.status, until, pause)

    def _status(self, held: _Held, now: int) -> Status:
        expires = held.gathered.expires
        if expires is None:
            return "valid"
        if now >= expires:
            return "expired"
        near = expires - now < schedule.margin(expires - held.whole_since)
        return "ending" if self._failures and near else "valid"

    def _moment(self) -> Moment:
        return Moment(self._clock(), self._steady())
