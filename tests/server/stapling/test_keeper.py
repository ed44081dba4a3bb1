"""The keeper: from the first start to the last failure, what there is stays stapled and its state is said."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading

import pytest

from blindai.attestation.types import TDX_QUOTE, Evidence
from blindai.errors import TeeError, TeeFault, UnreachableError, UsageError
from blindai.server.evidence.stapling import schedule
from blindai.server.evidence.stapling.keeper import Keeper
from blindai.server.evidence.stapling.source import Gathered

DAY = 24 * 3600
NOW = 1_790_000_000


class Vendor:
    """A source that gives what it is told to: `steps` in turn, the last one for ever."""

    def __init__(self, *steps):
        self.steps = list(steps)
        self.asked = []

    def subject(self, evidence):
        if not evidence.value:
            raise UsageError("no evidence")
        return evidence.value

    def gather(self, sample, *, now, anew):
        self.asked.append((sample.value, now, anew))
        step = self.steps.pop(0) if len(self.steps) > 1 else self.steps[0]
        if isinstance(step, threading.Event):
            step.wait(60)
            step = good()
        if isinstance(step, BaseException):
            raise step
        return step


class Clock:
    """Both clocks. `jump` sets the wall's alone."""

    def __init__(self):
        self.unix, self.steady = NOW, 0.0

    def go(self, seconds):
        self.unix += seconds
        self.steady += seconds

    def jump(self, seconds):
        self.unix += seconds


def good(days=28, name="collateral", problems=()):
    return Gathered({"intel": {"name": name}}, NOW + days * DAY, problems)


DOWN = UnreachableError("cannot reach https://pccs.example.org")


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def machine():
    """The machine as it is now: its evidence, or why there is none."""
    return {"evidence": b"a"}


@pytest.fixture
def keeping(clock, machine):
    """Make a keeper; all of them are closed at the end."""

    async def sample():
        value = machine["evidence"]
        if isinstance(value, BaseException):
            raise value
        if value is None:
            await asyncio.Event().wait()
        return Evidence(TDX_QUOTE, value)

    with contextlib.ExitStack() as made:

        def make(source, *, refresh_seconds=6 * 3600, timeout_seconds=30.0):
            keeper = Keeper(
                source,
                sample,
                refresh_seconds=refresh_seconds,
                timeout_seconds=timeout_seconds,
                clock=lambda: clock.unix,
                steady=lambda: clock.steady,
                jitter=lambda: 0,
            )
            made.callback(keeper.close)
            return keeper

        yield make


@contextlib.asynccontextmanager
async def running(keeper):
    """Run the timer; a look at the clocks is never far."""
    task = asyncio.ensure_future(keeper.run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@pytest.fixture(autouse=True)
def _often(monkeypatch):
    monkeypatch.setattr(schedule, "LONGEST_SLEEP_SECONDS", 0.005)


async def until(condition):
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.002)


async def a_while():
    """Let the timer look at the clocks some times."""
    await asyncio.sleep(0.05)


def status(keeper, clock):
    return keeper.state(int(clock.unix)).status


async def test_before_the_start_there_is_nothing(keeping, clock):
    """Missing, and no problem yet."""
    keeper = keeping(Vendor(good()))
    assert keeper.current is None
    state = keeper.state(NOW)
    assert (state.status, state.expires, state.fetched, state.problems) == ("missing", None, None, ())


async def test_the_start_takes_what_was_kept(keeping):
    """Nothing is asked anew: a server comes up without a network."""
    source = Vendor(good())
    keeper = keeping(source)
    await keeper.start()
    assert source.asked == [(b"a", NOW, False)]
    assert keeper.current.collateral == {"intel": {"name": "collateral"}}
    state = keeper.state(NOW)
    assert (state.status, state.expires, state.fetched, state.problems) == ("valid", NOW + 28 * DAY, NOW, ())


@pytest.mark.parametrize(
    "trouble",
    [DOWN, UsageError("no such machine"), OSError("disk"), RuntimeError("broken"), MemoryError()],
    ids=lambda error: type(error).__name__,
)
async def test_a_start_with_nothing_goes_on(keeping, clock, trouble):
    """It does not raise: the server is up, says so, and tries again after a minute."""
    source = Vendor(trouble, good())
    keeper = keeping(source)
    await keeper.start()
    assert (keeper.current, status(keeper, clock)) == (None, "missing")
    assert len(keeper.state(NOW).problems) == 1
    async with running(keeper):
        await a_while()
        assert len(source.asked) == 1
        clock.go(60)
        await until(lambda: keeper.current is not None)
    assert keeper.state(NOW).problems == ()
    assert source.asked[1] == (b"a", NOW + 60, True)


@pytest.mark.parametrize(
    "trouble",
    [TeeError(TeeFault.BUSY, "throttled"), ValueError("?"), b"", None],
    ids=["tee", "bug", "odd", "hangs"],
)
async def test_a_machine_without_evidence(keeping, clock, machine, trouble):
    """A device that fails, or hangs, does not stop the timer; when it answers again, all is well."""
    machine["evidence"] = trouble
    source = Vendor(good())
    keeper = keeping(source, timeout_seconds=0.01 if trouble is None else 30)
    await keeper.start()
    assert (status(keeper, clock), source.asked) == ("missing", [])
    machine["evidence"] = b"a"
    async with running(keeper):
        clock.go(60)
        await until(lambda: keeper.current is not None)


async def test_a_minute_after_the_start_and_then_on_the_timer(keeping, clock):
    """What the disk had is of unknown age: it is fetched anew soon, then every six hours."""
    source = Vendor(good())
    keeper = keeping(source)
    await keeper.start()
    async with running(keeper):
        await a_while()
        assert len(source.asked) == 1
        clock.go(60)
        await until(lambda: len(source.asked) == 2)
        clock.go(6 * 3600 - 1)
        await a_while()
        assert len(source.asked) == 2
        clock.go(1)
        await until(lambda: len(source.asked) == 3)
    assert [anew for _, _, anew in source.asked] == [False, True, True]


async def refreshed(keeper, source, clock):
    """Let the next refresh happen, however far it is."""
    before = len(source.asked)
    async with running(keeper):
        clock.go(7 * 3600)
        await until(lambda: len(source.asked) > before)
        await a_while()


async def test_a_failed_refresh_takes_nothing_away(keeping, clock):
    """What was gathered stays stapled, valid, with the problem beside it."""
    source = Vendor(good(), DOWN)
    keeper = keeping(source)
    await keeper.start()
    await refreshed(keeper, source, clock)
    assert keeper.current.collateral == {"intel": {"name": "collateral"}}
    state = keeper.state(int(clock.unix))
    assert (state.status, state.fetched) == ("valid", NOW)
    assert state.problems == ("cannot reach https://pccs.example.org",)


@pytest.mark.parametrize(
    ("days", "after", "expected"),
    [
        (28, 20.9, "valid"),
        (28, 21.1, "ending"),  # a week is left
        (28, 28.1, "expired"),
        (4, 2.9, "valid"),
        (4, 3.1, "ending"),  # a quarter is left
        (4, 4.1, "expired"),
    ],
)
async def test_the_end_comes_near(keeping, clock, days, after, expected):
    """While refreshes fail, "ending" begins a week, or a quarter of its life, before the end."""
    source = Vendor(good(days), DOWN)
    keeper = keeping(source)
    await keeper.start()
    await refreshed(keeper, source, clock)
    assert keeper.state(int(NOW + after * DAY)).status == expected
    assert keeper.current is not None  # whatever the state: the client's policy decides


@pytest.mark.parametrize("after", [21.1, 27])
async def test_near_its_end_but_not_failing_is_valid(keeping, after):
    """Nothing is wrong as long as the last refresh went well."""
    keeper = keeping(Vendor(good()))
    await keeper.start()
    assert keeper.state(int(NOW + after * DAY)).status == "valid"


async def test_pieces_that_were_kept_count_from_when_they_were_new(keeping, clock):
    """A refresh in which one piece fails each time: the end comes near all the same."""
    source = Vendor(good(4), good(4, "new", ("the TCB info failed",)))
    keeper = keeping(source)
    await keeper.start()
    for _ in range(12):  # three and a half days
        await refreshed(keeper, source, clock)
    assert keeper.current.collateral == {"intel": {"name": "new"}}
    state = keeper.state(int(clock.unix))
    assert (state.status, state.problems) == ("ending", ("the TCB info failed",))
    assert state.fetched > NOW


async def test_what_ended_when_it_came_is_said(keeping, clock):
    """Collateral of the past is stapled, expired, and asked for again soon."""
    keeper = keeping(Vendor(good(-1)))
    await keeper.start()
    state = keeper.state(NOW)
    assert (state.status, state.expires) == ("expired", NOW - DAY)
    assert "has ended already" in state.problems[0]


async def test_pauses_grow_and_it_recovers(keeping, clock):
    """One attempt after each pause, and never two; after a success all is as on the first day."""
    source = Vendor(DOWN)
    keeper = keeping(source)
    await keeper.start()
    async with running(keeper):
        for count, pause in enumerate((60, 120, 240), start=2):
            clock.go(pause - 1)
            await a_while()
            assert len(source.asked) == count - 1
            clock.go(1)
            await until(lambda count=count: len(source.asked) == count)
        source.steps = [good()]
        clock.go(480)
        await until(lambda: keeper.current is not None)
        source.steps = [DOWN]
        clock.go(6 * 3600)
        await until(lambda: len(source.asked) == 6)
        clock.go(60)
        await until(lambda: len(source.asked) == 7)


async def test_a_clock_set_forward_is_noticed(keeping, clock):
    """The machine slept, or its clock was wrong: what has ended meanwhile is asked for, once."""
    source = Vendor(good(), good(), good(400))
    keeper = keeping(source)
    await keeper.start()
    async with running(keeper):
        clock.go(60)
        await until(lambda: len(source.asked) == 2)
        await a_while()
        clock.jump(40 * DAY)
        await until(lambda: len(source.asked) == 3)
        await a_while()
    assert len(source.asked) == 3
    assert status(keeper, clock) == "valid"


async def test_a_clock_set_back_stops_nothing(keeping, clock):
    """Refreshes go on at the pace of the clock that only grows."""
    source = Vendor(good())
    keeper = keeping(source)
    await keeper.start()
    clock.jump(-1000 * DAY)
    assert status(keeper, clock) == "valid"
    async with running(keeper):
        clock.go(60)
        await until(lambda: len(source.asked) == 2)
        clock.go(6 * 3600)
        await until(lambda: len(source.asked) == 3)


async def test_a_changed_machine_gets_collateral_of_its_own(keeping, clock, machine):
    """New firmware: the old collateral is of no use any more, and what was kept may do for the new one."""
    source = Vendor(good(), good(name="new"))
    keeper = keeping(source)
    await keeper.start()
    machine["evidence"] = b"b"
    keeper.looked_at(Evidence(TDX_QUOTE, b"a"))
    assert keeper.current is not None
    keeper.looked_at(Evidence(TDX_QUOTE, b"b"))
    assert (keeper.current, status(keeper, clock)) == (None, "missing")
    async with running(keeper):
        await a_while()
        assert len(source.asked) == 1
        clock.go(schedule.SOON_SECONDS)
        await until(lambda: keeper.current is not None)
        await a_while()
    assert source.asked[1:] == [(b"b", NOW + 5, False)]
    assert keeper.current.collateral == {"intel": {"name": "new"}}


async def test_a_machine_that_changes_while_it_is_gathered_for(keeping, clock, machine):
    """What arrives is the earlier machine's: it is not stapled to the evidence of the new one."""
    release = threading.Event()
    source = Vendor(release, good(name="new"))
    keeper = keeping(source)
    starting = asyncio.ensure_future(keeper.start())
    try:
        await until(lambda: source.asked)
        machine["evidence"] = b"b"
        keeper.looked_at(Evidence(TDX_QUOTE, b"b"))
    finally:
        release.set()
    await starting
    assert (keeper.current, status(keeper, clock)) == (None, "missing")
    async with running(keeper):
        clock.go(schedule.SOON_SECONDS)
        await until(lambda: keeper.current is not None)
    assert keeper.current.collateral == {"intel": {"name": "new"}}


async def test_a_timer_that_waits_is_woken(keeping, clock, machine):
    """The change is seen while the timer sleeps, and again and again while it is gathered for."""
    source = Vendor(good(), good(name="new"))
    keeper = keeping(source)
    await keeper.start()
    async with running(keeper):
        await a_while()
        machine["evidence"] = b"b"
        for _ in range(100):
            keeper.looked_at(Evidence(TDX_QUOTE, b"b"))
        clock.go(schedule.SOON_SECONDS)
        await until(lambda: keeper.current is not None)
        for _ in range(100):
            keeper.looked_at(Evidence(TDX_QUOTE, b"b"))
        clock.go(schedule.SOON_SECONDS)
        await a_while()
    assert len(source.asked) == 2


async def test_a_machine_that_changes_with_every_quote_is_no_storm(keeping, clock, machine):
    """While the vendor is down, one attempt a minute: evidence cannot make a server ask and ask."""
    source = Vendor(good(), DOWN)
    keeper = keeping(source)
    await keeper.start()
    async with running(keeper):
        clock.go(60)
        await until(lambda: len(source.asked) == 2)
        for number in range(50):
            machine["evidence"] = bytes([number + 1])
            keeper.looked_at(Evidence(TDX_QUOTE, bytes([number + 1])))
            clock.go(1)
            await asyncio.sleep(0.001)
    assert len(source.asked) == 2


async def test_a_changed_machine_that_fails_is_asked_ever_less(keeping, clock, machine):
    """The change was noted once: it does not shorten every pause after it."""
    tries = []
    keeper = keeping(Vendor(good()))
    await keeper.start()
    sample = keeper._sample
    keeper._sample = lambda: tries.append(clock.unix - NOW) or sample()
    keeper.looked_at(Evidence(TDX_QUOTE, b"b"))
    machine["evidence"] = TeeError(TeeFault.BUSY, "throttled")
    async with running(keeper):
        for count, pause in enumerate((5, 60, 120), start=1):
            clock.go(pause - 1)
            await a_while()
            clock.go(1)
            await until(lambda count=count: len(tries) == count)
    assert tries == [5, 65, 185]


async def test_evidence_that_cannot_be_read_changes_nothing(keeping):
    """It is not this one's to judge."""
    keeper = keeping(Vendor(good()))
    keeper.looked_at(Evidence(TDX_QUOTE, b"before the start"))
    await keeper.start()
    keeper.looked_at(Evidence(TDX_QUOTE, b""))
    assert keeper.current is not None


async def test_a_vendor_that_hangs_does_not_stop_the_timer(keeping, clock):
    """A name lookup cannot be ended: it is left to itself, said, and when it ended all goes on."""
    release = threading.Event()
    source = Vendor(good(), release, good(name="new"))
    keeper = keeping(source, timeout_seconds=0.02)
    await keeper.start()
    try:
        async with running(keeper):
            clock.go(60)
            await until(lambda: keeper.state(NOW).problems)
            assert "not gathered within 0.04 seconds" in keeper.state(NOW).problems[0]
            clock.go(60)
            await until(lambda: "has not ended" in keeper.state(NOW).problems[0])
            assert keeper.current.collateral == {"intel": {"name": "collateral"}}
            release.set()
            await until(lambda: not keeper._threads.running)
            clock.go(3600)
            await until(lambda: keeper.current.collateral == {"intel": {"name": "new"}})
    finally:
        release.set()


async def test_one_gather_at_a_time_off_the_event_loop(keeping):
    """On a thread of its own, which ends with the keeper."""
    names = []

    class Noting(Vendor):
        def gather(self, sample, *, now, anew):
            names.append(threading.current_thread())
            return super().gather(sample, now=now, anew=anew)

    keeper = keeping(Noting(good()))
    await keeper.start()
    await keeper.start()
    assert {thread.name for thread in names} == {"blindai-collateral-0"}
    assert all(thread.daemon for thread in names)
    keeper.close()
    names[0].join(30)
    assert not names[0].is_alive()


async def test_a_server_that_ends_is_not_held_up(keeping, clock):
    """Cancelled while a vendor hangs, the timer ends at once."""
    release = threading.Event()
    source = Vendor(good(), release)
    keeper = keeping(source)
    await keeper.start()
    try:
        async with running(keeper):
            clock.go(60)
            await until(lambda: len(source.asked) == 2)
    finally:
        release.set()


async def test_the_log_says_what_happened_and_no_contents(keeping, clock, caplog):
    """Each problem, the state, and the next attempt; success too."""
    caplog.set_level(logging.INFO, logger="blindai.server")
    source = Vendor(good(), DOWN, good())
    keeper = keeping(source)
    await keeper.start()
    assert caplog.text == ""  # as it should be
    await refreshed(keeper, source, clock)
    assert "collateral not refreshed: cannot reach https://pccs.example.org" in caplog.text
    assert "collateral is valid until 20" in caplog.text
    assert "trying again in 60 s" in caplog.text
    await refreshed(keeper, source, clock)
    assert "collateral gathered, valid until 20" in caplog.text
    assert "'name'" not in caplog.text
