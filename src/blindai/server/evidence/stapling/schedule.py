"""When collateral is fetched again: pure rules, which a clock that jumps cannot stop or make run in circles.

Two clocks are read: the wall's, by which certificates end and which may be set, and one that only ever grows
but may stand still while the machine is suspended. What passed is what the faster of them says.
"""

from __future__ import annotations

from dataclasses import dataclass

DAY_SECONDS = 24 * 3600
FIRST_PAUSE_SECONDS = 60.0
LONGEST_PAUSE_SECONDS = 3600.0
# Look at the clocks at least this often: a wall clock that was set forward wakes nobody up.
LONGEST_SLEEP_SECONDS = 60.0
SOON_SECONDS = 5.0
_MOST_MARGIN_SECONDS = 7 * DAY_SECONDS
_JITTER = 0.25  # replicas that start together must not ask together for ever


@dataclass(frozen=True)
class Moment:
    """Both clocks, read together. `unix` may be set to anything, `steady` never goes back."""

    unix: float
    steady: float

    def since(self, earlier: Moment) -> float:
        """Return the seconds from `earlier` to this moment: never less than the steady clock says."""
        return max(self.unix - earlier.unix, self.steady - earlier.steady)


@dataclass(frozen=True)
class Next:
    """The next refresh: so many seconds after a moment, and if the machine changes, after `soonest` already.

    Evidence of a changed machine may come with every quote: it must not make a server ask and ask.
    """

    since: Moment
    seconds: float
    soonest: float = SOON_SECONDS

    def left(self, now: Moment, *, soon: bool = False) -> float:
        """Return the seconds that are left; `soon` if somebody waits for this refresh."""
        seconds = min(self.seconds, self.soonest) if soon else self.seconds
        return max(0.0, seconds - now.since(self.since))


def margin(life_seconds: float) -> float:
    """Return how long before its end collateral is to be replaced: a quarter of its life, a week at most."""
    return max(0.0, min(life_seconds / 4, _MOST_MARGIN_SECONDS))


def after_success(*, refresh_seconds: float, life_seconds: float | None, jitter: float) -> float:
    """Return the seconds until the next refresh; `life_seconds` is what is left of the first piece to end.

    `jitter` is a number from 0 to 1, drawn for this refresh. A vendor that publishes what is about to end is
    not asked without pause for all that.
    """
    wanted = refresh_seconds
    if life_seconds is not None:
        wanted = min(wanted, life_seconds - margin(life_seconds))
    return max(_least(refresh_seconds), wanted * (1 - _JITTER * jitter))


def after_start(*, refresh_seconds: float, jitter: float) -> float:
    """Return the seconds until what the disk had at the start is fetched anew: nobody knows how old it is."""
    return _least(refresh_seconds) * (1 - _JITTER * jitter)


def after_failure(failures: int, *, refresh_seconds: float, jitter: float) -> float:
    """Return the pause after so many failures in a row (at least one): a minute, doubled up to an hour."""
    doubled = FIRST_PAUSE_SECONDS * (1 << min(failures - 1, 16))
    return min(doubled, LONGEST_PAUSE_SECONDS, refresh_seconds) * (1 - _JITTER * jitter)


def _least(refresh_seconds: float) -> float:
    return min(FIRST_PAUSE_SECONDS, refresh_seconds)
