"""When collateral is refreshed: well before its end, never in a circle, whatever the clock does."""

from __future__ import annotations

import itertools

import pytest

from blindai.server.evidence.stapling import schedule
from blindai.server.evidence.stapling.schedule import Moment, Next

HOUR, DAY = 3600, 24 * 3600


def test_every_refresh_seconds():
    """Collateral that lasts for weeks is refreshed on the timer."""
    assert schedule.after_success(refresh_seconds=6 * HOUR, life_seconds=29 * DAY, jitter=0) == 6 * HOUR
    assert schedule.after_success(refresh_seconds=6 * HOUR, life_seconds=None, jitter=0) == 6 * HOUR


@pytest.mark.parametrize(
    ("life", "left"), [(40 * DAY, 7 * DAY), (28 * DAY, 7 * DAY), (8 * DAY, 2 * DAY), (4 * HOUR, HOUR)]
)
def test_sooner_where_it_ends_sooner(life, left):
    """At the latest when a quarter of its life is left, or a week."""
    assert schedule.after_success(refresh_seconds=90 * DAY, life_seconds=life, jitter=0) == life - left


@pytest.mark.parametrize("life", [-DAY, 0, 1, 60, 79])
@pytest.mark.parametrize("jitter", [0, 1])
def test_what_ends_at_once_does_not_make_it_run_in_circles(life, jitter):
    """A vendor that publishes what has minutes to live, or none, is asked once a minute at most."""
    assert schedule.after_success(refresh_seconds=6 * HOUR, life_seconds=life, jitter=jitter) >= 60


def test_failures_are_followed_by_growing_pauses():
    """A minute, doubled each time, an hour at most; for ever."""
    pauses = [schedule.after_failure(n, refresh_seconds=6 * HOUR, jitter=0) for n in range(1, 9)]
    assert pauses == [60, 120, 240, 480, 960, 1920, 3600, 3600]
    assert schedule.after_failure(10**9, refresh_seconds=6 * HOUR, jitter=0) == 3600
    assert schedule.after_failure(9, refresh_seconds=300, jitter=0) == 300  # no rarer than in good days


def test_replicas_drift_apart():
    """Those that started together do not ask together: each pause is up to a quarter shorter."""
    for pause in (
        lambda jitter: schedule.after_failure(1, refresh_seconds=HOUR, jitter=jitter),
        lambda jitter: schedule.after_success(refresh_seconds=HOUR, life_seconds=None, jitter=jitter),
        lambda jitter: schedule.after_start(refresh_seconds=HOUR, jitter=jitter),
    ):
        assert pause(1) == pause(0) * 0.75
        assert pause(0) > pause(0.5) > pause(1)


def test_after_a_start_the_disk_is_not_believed_for_long():
    """Nobody knows how old it is: a minute later everything is asked for, but not at every start at once."""
    assert schedule.after_start(refresh_seconds=6 * HOUR, jitter=0) == 60


START = Moment(unix=1_000_000, steady=50)


@pytest.mark.parametrize(
    ("now", "left"),
    [
        (Moment(1_000_010, 60), 90),
        (Moment(1_000_100, 150), 0),
        (Moment(0, 60), 90),  # set back by years: the steady clock counts on
        (Moment(0, 150), 0),
        (Moment(2_000_000, 51), 0),  # set forward, or the machine slept: the collateral may have ended
        (Moment(1_000_060, 51), 40),
    ],
)
def test_a_clock_that_jumps(now, left):
    """What passed is what the faster clock says: nothing stands still for years."""
    assert Next(START, 100).left(now) == left


def test_a_changed_machine_waits_seconds():
    """Not the hours of the timer, and not none: evidence may change with every quote."""
    following = Next(START, 6 * HOUR)
    assert following.left(START, soon=True) == schedule.SOON_SECONDS
    assert following.left(Moment(1_000_100, 150), soon=True) == 0
    assert Next(START, 1).left(START, soon=True) == 1


def test_a_clock_that_jumps_to_and_fro_is_looked_at_in_time():
    """Each refresh starts from both clocks as they are then: none comes at once because of an old jump."""
    for unix, steady in itertools.product((0, 10**6, 10**9), (50, 10**6)):
        now = Moment(unix, steady)
        assert Next(now, 60).left(now) == 60
