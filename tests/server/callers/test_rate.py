"""Requests a minute: what goes through, what waits, and what a clock or a crowd can do about it."""

from __future__ import annotations

import copy
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blindai.errors import RequestCode
from blindai.server.callers.rate import Rate, RateLimited


def refused(rate: Rate, key: str, now: float) -> RateLimited:
    with pytest.raises(RateLimited) as caught:
        rate.take(key, now)
    return caught.value


def granted(rate: Rate, key: str, now: float, tries: int) -> int:
    count = 0
    for _ in range(tries):
        try:
            rate.take(key, now)
        except RateLimited:
            continue
        count += 1
    return count


def test_a_burst_then_a_trickle():
    """A minute's worth goes through at once, then one for every part of a minute."""
    rate = Rate(6)
    assert granted(rate, "alice", 100.0, 20) == 6
    error = refused(rate, "alice", 100.0)
    assert (error.code, error.retry_after_seconds) == (RequestCode.RATE_LIMITED, 10)
    assert granted(rate, "alice", 109.9, 5) == 0
    assert granted(rate, "alice", 110.0, 5) == 1
    assert granted(rate, "alice", 1000.0, 20) == 6


def test_zero_is_no_limit():
    """Zero lets everything through and remembers nothing."""
    rate = Rate(0)
    assert granted(rate, "alice", 0.0, 1000) == 1000
    assert len(rate) == 0


def test_keys_do_not_share():
    """One caller's requests take nothing from another's."""
    rate = Rate(2)
    assert granted(rate, "alice", 0.0, 5) == 2
    assert granted(rate, "bob", 0.0, 5) == 2


def test_a_limit_of_its_own():
    """A key may have another limit than the rest."""
    rate = Rate(2)
    for _ in range(5):
        rate.take("alice", 0.0, per_minute=5)
    with pytest.raises(RateLimited):
        rate.take("alice", 0.0, per_minute=5)
    rate.take("alice", 0.0, per_minute=0)


def test_what_is_refused_is_not_counted():
    """Asking too often does not put the next grant off."""
    rate = Rate(60)
    assert granted(rate, "alice", 0.0, 10_000) == 60
    assert granted(rate, "alice", 1.0, 1) == 1


def test_a_clock_that_goes_backwards_gives_nothing_away():
    """However a clock jumps back and forth, no more goes through than by its latest time."""
    rate = Rate(6)
    assert granted(rate, "alice", 1000.0, 10) == 6
    assert granted(rate, "alice", 0.0, 10) == 0
    assert granted(rate, "alice", 1000.0, 10) == 0
    assert granted(rate, "alice", 500.0, 10) == 0
    assert granted(rate, "alice", 1010.0, 10) == 1


@settings(deadline=None)
@given(st.integers(1, 1000), st.floats(0, 1e7), st.integers(0, 10))
def test_whoever_waits_as_told_gets_through(per_minute, start, more):
    """After `retry_after_seconds` the next request is never refused."""
    rate, now = Rate(per_minute), start
    assert granted(rate, "alice", now, per_minute + 1) == per_minute
    for _ in range(more):
        now += refused(rate, "alice", now).retry_after_seconds
        rate.take("alice", now)
        granted(rate, "alice", now, per_minute)


@settings(deadline=None)
@given(st.integers(1, 100), st.lists(st.floats(0, 30), max_size=200))
def test_never_more_than_a_burst_and_the_rate(per_minute, pauses):
    """Over any time, no more than one burst and what the time refills goes through."""
    rate, now, count = Rate(per_minute), 0.0, 0
    for pause in pauses:
        now += pause
        count += granted(rate, "alice", now, 3)
        assert count <= per_minute + now * per_minute / 60 + 0.001


def test_a_crowd_is_bounded():
    """However many keys come, a bounded number of buckets is kept; full ones go first."""
    rate = Rate(1, max_buckets=100)
    for i in range(1000):
        rate.take(f"caller-{i}", float(i) / 1000)
    assert len(rate) == 100
    refused(rate, "caller-999", 1.0)  # those used last are remembered
    rate.take("late", 100.0)
    rate.take("later", 100.0)
    assert len(rate) < 100


def test_a_crowd_does_not_make_one_forgotten():
    """Whoever goes on asking stays remembered, however many others come in between."""
    rate = Rate(10, max_buckets=5)
    assert granted(rate, "alice", 0.0, 9) == 9
    for i in range(4):
        rate.take(f"early-{i}", 0.0)
    rate.take("alice", 0.0)
    for i in range(4):
        rate.take(f"late-{i}", 0.0)
    refused(rate, "alice", 0.0)


def test_nothing_is_kept_of_those_who_left():
    """Buckets that are full again are dropped as others take."""
    rate = Rate(10)
    for i in range(50):
        rate.take(f"caller-{i}", 0.0)
    for _ in range(9):
        for i in range(10):
            rate.take(f"other-{i}", 100.0)
    assert len(rate) == 10


def test_the_error_can_be_copied():
    """It keeps its seconds through a copy and through pickle, as errors of a worker do."""
    rate = Rate(1)
    rate.take("a", 0.0)
    error = refused(rate, "a", 0.0)
    for again in (copy.copy(error), pickle.loads(pickle.dumps(error))):  # noqa: S301
        assert (again.retry_after_seconds, again.code, str(again)) == (60, error.code, str(error))
