"""What was gathered is verified before it counts: nothing unverified is kept, or decides what is newest.

Else one forged answer would be for ever: a list with a high number and a far end makes all genuine ones look
set back, a certificate that never ends is never asked for again. A poisoned service or folder costs a
refresh, and is said.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from blindai.errors import UnreachableError, UsageError
from blindai.transport.collateral.cache import Cache
from blindai.transport.collateral.collector import run_job
from blindai.transport.collateral.fallback import FallbackCollector
from blindai.transport.collateral.shelf import Fetched, Shelf
from blindai.transport.collateral.source import Limits, Source


class Standing(Enum):
    """What the verifier says of collateral, with evidence of the machine that it is for."""

    VERIFIED = "verified"  # every signature, chain and date: adopted
    REFUSED = "refused"  # signed, and against this machine: stapled, as it is the truth
    UNDECIDED = "undecided"  # refused before every signature was looked at: stapled where nothing better is
    FORGED = "forged"  # not what the vendor signed, or not for this machine: not stapled


@dataclass(frozen=True)
class Judged:
    """`why` is for the operator; empty if there is nothing to be done about."""

    standing: Standing
    why: str = ""


Job = Callable[[FallbackCollector], Awaitable[dict[str, str]]]
Judge = Callable[[Mapping[str, str]], Judged]


@dataclass(frozen=True)
class Keeping:
    """Where answers are kept (None: nowhere), whom TLS trusts (None: the system's), and the bounds on all."""

    folder: Path | None
    ca_file: str | None = None
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True)
class _Attempt:
    collector: FallbackCollector
    fetched: Fetched
    judged: Judged
    error: Exception | None = None

    @property
    def usable(self) -> bool:
        return self.judged.standing is not Standing.FORGED


def gather(
    job: Job,
    keeping: Keeping,
    shelf: Shelf,
    *,
    judge: Judge,
    now: int,
    anew: bool,
    say: Callable[[str], None],
) -> Fetched:
    """Run a job under one deadline; what it gathered and `judge` verified is adopted on the shelf.

    Where that fails and something kept was used, the job is run once more without it. Blocks. Raises
    UnreachableError or UsageError if nothing was gathered that could be stapled.
    """

    async def run(source: Source, _: Cache | None) -> Fetched:
        def collector(*, alone: bool) -> FallbackCollector:
            return FallbackCollector(source, shelf, anew=anew, alone=alone, say=say, now=now)

        attempts = [await _attempt(job, collector(alone=False), judge)]
        if attempts[0].judged.standing is not Standing.VERIFIED and attempts[0].collector.leaned:
            attempts.append(await _attempt(job, collector(alone=True), judge))
        return _settled(attempts, shelf, judge)

    return run_job(run, shelf.cache, say=say, ca_file=keeping.ca_file, limits=keeping.limits)


async def _attempt(job: Job, collector: FallbackCollector, judge: Judge) -> _Attempt:
    try:
        members = await job(collector)
    except (UnreachableError, UsageError) as exc:
        return _Attempt(collector, Fetched({}, None, ()), Judged(Standing.FORGED, str(exc)), exc)
    fetched = Fetched(members, collector.until, tuple(collector.problems))
    return _Attempt(collector, fetched, judge(members))


def _settled(attempts: list[_Attempt], shelf: Shelf, judge: Judge) -> Fetched:
    """Return what to staple after one attempt, or two: the second leant on nothing."""
    first, last = attempts[0], attempts[-1]
    if last.judged.standing is Standing.VERIFIED:
        shelf.adopt(last.fetched, last.collector.answers, last.collector.fresh)
        kept = f"what was kept does not do ({first.judged.why}): everything was fetched anew"
        return last.fetched if last is first else _with(last.fetched, kept)
    usable = next((attempt for attempt in reversed(attempts) if attempt.usable), None)
    if usable is not None and usable.judged.standing is Standing.REFUSED:
        return _with(usable.fetched, usable.judged.why)
    verified = shelf.adopted
    if verified is not None and judge(verified.members).standing is Standing.VERIFIED:
        return Fetched(
            verified.members, verified.until, (f"{_problem(first)}; going on with what was verified",)
        )
    if usable is None:
        raise first.error or UnreachableError(_problem(first))
    # Of its own problems enough is said; where there are none, this is one.
    told = usable.fetched.problems or not usable.judged.why
    return usable.fetched if told else _with(usable.fetched, usable.judged.why)


def _problem(attempt: _Attempt) -> str:
    if attempt.error is not None:
        return str(attempt.error)
    return f"what the services gave does not verify ({attempt.judged.why})"


def _with(fetched: Fetched, problem: str) -> Fetched:
    return Fetched(fetched.members, fetched.until, (*fetched.problems, problem))
