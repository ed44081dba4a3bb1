"""New keys take over in time, with evidence; what is under old keys ends in order."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from blindai.attestation.types import Evidence
from blindai.channel.keyset import Software
from blindai.errors import TeeError, TeeFault
from blindai.server.evidence.attest import Attestations, QuoteLimits
from blindai.server.keys.identity import Identities, Identity, new_identity
from blindai.server.keys.rotation import Rotation

LIFE_SECONDS = 400
PERIOD_SECONDS = 300


class Clock:
    """A wall clock that a test sets."""

    def __init__(self) -> None:
        self.now = float(int(time.time()))

    def __call__(self) -> float:
        return self.now


class StubTee:
    """An attester that works until it is told otherwise."""

    tee = "stub"
    simulated = True
    works = True
    then_fails = False
    asked = 0

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()

    def evidence(self, report_data: bytes) -> Evidence:
        self.asked += 1
        self.gate.wait(10)
        if not self.works:
            raise TeeError(TeeFault.FAILED, "out of order")
        self.works = not self.then_fails
        return Evidence("stub", report_data)


class Scene:
    """A rotation with its clock, its TEE, and the identities that it was told to cut."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.tee = StubTee()
        self.attestations = Attestations(self.tee, collateral=dict, limits=QuoteLimits(5.0, 10))
        self.first = self.make(int(self.clock()))
        self.identities = Identities(self.first)
        self.ended: list[Identity] = []
        self.failures: list[Exception] = []
        self.rotation = Rotation(
            self.identities,
            self.attestations,
            self.make_or_fail,
            period_seconds=PERIOD_SECONDS,
            cut=self.cut,
            clock=self.clock,
        )

    def make(self, now: int) -> Identity:
        return new_identity(
            ("localhost",),
            now=now,
            life_seconds=LIFE_SECONDS,
            software=Software("1", "0" * 64),
            settings={"telemetry": "none"},
            simulated=True,
        )

    def make_or_fail(self, now: int) -> Identity:
        if self.failures:
            raise self.failures.pop()
        return self.make(now)

    def cut(self, ended) -> None:
        self.ended = [identity for identity in (self.first, self.identities.current) if ended(identity)]

    async def asked(self, count: int) -> None:
        async with asyncio.timeout(10):
            while self.tee.asked < count:
                await asyncio.sleep(0.005)

    async def tick(self) -> None:
        """What the timer does each time it wakes."""
        await self.rotation.tick()


@pytest.fixture
def scene():
    made = Scene()
    yield made
    made.attestations.close()


async def test_keys_are_renewed_after_the_period(scene):
    """Before its period is over an identity stays; after it, another one is current."""
    scene.clock.now += PERIOD_SECONDS - 1
    await scene.tick()
    assert scene.identities.current is scene.first
    scene.clock.now += 1
    await scene.tick()
    assert scene.identities.current is not scene.first
    assert scene.identities.current.not_after == int(scene.clock()) + LIFE_SECONDS


async def test_a_clock_that_was_set_back_renews(scene):
    """With the clock set back the keyset would not have begun: a new one is made."""
    scene.clock.now -= 3600
    await scene.tick()
    assert scene.identities.current is not scene.first


async def test_new_keys_take_over_with_evidence_only(scene):
    """Keys for which the TEE gives no evidence are of no use: the old ones stay, and it is tried again."""
    scene.tee.works = False
    scene.clock.now += PERIOD_SECONDS
    await scene.tick()
    assert scene.identities.current is scene.first
    scene.tee.works = True
    await scene.tick()
    assert scene.identities.current is not scene.first


async def test_a_renewal_that_fails_is_tried_again(scene, caplog):
    """A moment without file descriptors does not leave the server with keys that end."""
    scene.failures = [OSError(24, "SECRET")]
    scene.clock.now += PERIOD_SECONDS
    await scene.tick()
    assert scene.identities.current is scene.first
    assert "OSError" in caplog.text
    assert "SECRET" not in caplog.text
    await scene.tick()
    assert scene.identities.current is not scene.first


async def test_ended_identities_are_cut_and_their_keys_dropped(scene):
    """At the end of its keyset an identity's connections are cut, and a minute later its keys are gone."""
    scene.clock.now += PERIOD_SECONDS
    await scene.tick()
    assert scene.ended == []
    scene.clock.now = scene.first.not_after
    await scene.tick()
    assert scene.ended == [scene.first]
    assert scene.identities.of(scene.first.context) is scene.first
    scene.clock.now += 61
    await scene.tick()
    with pytest.raises(KeyError):
        scene.identities.of(scene.first.context)


async def test_two_rotations_at_once(scene):
    """SIGHUP in the middle of the timer's renewal: one after the other, and the last one is current."""
    made = []
    scene.rotation.make = lambda now: made.append(scene.make(now)) or made[-1]
    await asyncio.gather(scene.rotation.rotate(), scene.rotation.rotate())
    assert len(made) == 2
    assert scene.identities.current is made[1]


async def test_a_rotation_that_was_asked_for_and_failed_follows(scene):
    """What SIGHUP wanted happens as soon as the TEE answers again, long before the period is over."""
    scene.tee.works = False
    await scene.rotation.attempt()
    assert scene.identities.current is scene.first
    scene.tee.works = True
    await scene.tick()
    assert scene.identities.current is not scene.first
    second = scene.identities.current
    await scene.tick()
    assert scene.identities.current is second


async def test_the_timer(scene):
    """The timer does all of this by itself."""
    scene.rotation.period_seconds = 0.16
    task = asyncio.create_task(scene.rotation.run())
    scene.clock.now += PERIOD_SECONDS
    async with asyncio.timeout(20):
        while scene.identities.current is scene.first:
            await asyncio.sleep(0.01)
    task.cancel()


async def test_a_wish_is_not_lost_to_a_rotation_that_runs(scene):
    """A reload while the timer's rotation runs: its own keys follow, though the TEE fails at first."""
    scene.tee.gate.clear()
    running = asyncio.create_task(scene.rotation.rotate())
    await scene.asked(1)
    made = []
    scene.rotation.make = lambda now: made.append(scene.make(now)) or made[-1]
    wish = asyncio.create_task(scene.rotation.attempt())
    await asyncio.sleep(0)
    scene.tee.then_fails = True
    scene.tee.gate.set()
    await asyncio.gather(running, wish)
    assert scene.identities.current not in made
    scene.tee.then_fails = False
    scene.tee.works = True
    await scene.tick()
    assert scene.identities.current is made[-1]


async def test_the_current_keys_are_never_dropped(scene):
    """While the TEE gives no evidence for new keys, the old ones stay, though their keyset has long ended."""
    scene.tee.works = False
    scene.clock.now = scene.first.not_after + 3600
    await scene.tick()
    assert scene.identities.of(scene.identities.current.context) is scene.first
