"""How evidence is asked for: in batches, one quote at a time, from a TEE that may be slow, hang or fail."""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time

import pytest

from blindai.attestation import binding
from blindai.attestation.types import Evidence
from blindai.channel import answer, challenge
from blindai.channel.keyset import Software
from blindai.errors import RequestCode, RequestError, TeeError, TeeFault
from blindai.server.evidence.attest import Attestations, QuoteLimits
from blindai.server.keys.identity import new_identity


class StubTee:
    """An attester that waits for `gate`, and fails if told to."""

    tee = "stub"
    simulated = True

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.error: Exception | None = None
        self.at_once = 0
        self.most_at_once = 0
        self.asked: list[bytes] = []

    def evidence(self, report_data: bytes) -> Evidence:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.asked.append(report_data)
        self.gate.wait(10)
        self.at_once -= 1
        if self.error is not None:
            raise self.error
        return Evidence("stub", report_data)


@pytest.fixture
def tee():
    stub = StubTee()
    yield stub
    stub.gate.set()


def make_identity():
    return new_identity(
        ["localhost"],
        now=int(time.time()),
        life_seconds=60,
        software=Software("1", "0"),
        settings={},
        simulated=True,
    )


@pytest.fixture(scope="module")
def identity():
    return make_identity()


@pytest.fixture
def desk(tee):
    """What asks the stub; a function, for other limits."""
    made: list[Attestations] = []

    def make(
        *, timeout_seconds=10.0, max_waiting=5000, interval_seconds=0.0, collateral=dict, looked_at=None
    ):
        limits = QuoteLimits(timeout_seconds, max_waiting, interval_seconds, timeout_seconds)
        more = {} if looked_at is None else {"looked_at": looked_at}
        made.append(Attestations(tee, collateral=collateral, limits=limits, **more))
        return made[-1]

    yield make
    tee.gate.set()
    for attestations in made:
        attestations.close()


async def refusal(attestations: Attestations, identity) -> RequestError:
    with pytest.raises(RequestError) as caught:
        await attestations.answer(identity, bytes(32))
    return caught.value


def nonces(count: int) -> list[bytes]:
    return [number.to_bytes(32, "big") for number in range(count)]


def ask_all(attestations, identity, count):
    return [asyncio.ensure_future(attestations.answer(identity, nonce)) for nonce in nonces(count)]


def bound(parts, identity, nonce) -> bool:
    """Whether the evidence in an answer is about this identity's keys and this nonce."""
    parsed = answer.parse(b"".join(parts))
    root = challenge.root_of(nonce, parsed.proof)
    expected = binding.report_data(keyset_sha256=identity.keyset_sha256, challenge_root=root, others=())
    return parsed.evidence[0].value == expected and parsed.keyset.sha256 == identity.keyset_sha256


async def asked(tee, count):
    async with asyncio.timeout(10):
        while len(tee.asked) < count:
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("count", [1, 2, 3, 8, 33])
async def test_one_quote_for_all_who_come_at_once(tee, desk, identity, count):
    """Clients that come at once share a quote; each one's answer is about its own nonce, and no other's."""
    attestations = desk()
    asks = ask_all(attestations, identity, count)
    tee.gate.set()
    answers = await asyncio.gather(*asks)
    assert len(tee.asked) == attestations.quotes == 1
    assert attestations.challenges == count
    for parts, nonce in zip(answers, nonces(count), strict=True):
        assert bound(parts, identity, nonce)
        assert not bound(parts, identity, b"\xff" * 32)
        assert all(not bound(parts, identity, other) for other in nonces(count)[:3] if other != nonce)


async def test_those_who_come_during_a_quote_share_the_next(tee, desk, identity):
    """While one quote is made the others gather: two quotes for a hundred clients, one at a time."""
    attestations = desk()
    first = ask_all(attestations, identity, 1)
    await asked(tee, 1)
    others = ask_all(attestations, identity, 100)
    await asyncio.sleep(0.02)
    tee.gate.set()
    answers = await asyncio.gather(*first, *others)
    assert len(answers) == 101
    assert len(tee.asked) == 2
    assert tee.most_at_once == 1


async def test_a_tree_is_full(tee, desk, identity):
    """More clients than a tree has leaves are split over two quotes, whose paths stay within twelve nodes."""
    attestations = desk()
    tee.gate.set()
    answers = await asyncio.gather(*ask_all(attestations, identity, challenge.MAX_LEAVES + 1))
    assert len(tee.asked) == 2
    depths = {len(answer.parse(b"".join(parts)).proof.path) for parts in (answers[0], answers[-1])}
    assert depths == {challenge.MAX_DEPTH, 0}


async def test_padding_is_random(tee, desk, identity):
    """The leaves that fill up a tree differ from quote to quote: they do not tell how many clients waited."""
    attestations = desk()
    tee.gate.set()
    seen = set()
    for _ in range(3):
        answers = await asyncio.gather(*ask_all(attestations, identity, 3))
        beside = {answer.parse(b"".join(parts)).proof.path[0] for parts in answers}
        seen |= beside - {hashlib.sha256(b"\0" + nonce).digest() for nonce in nonces(3)}
    assert len(seen) == 3


async def test_two_keysets_never_share_a_quote(tee, desk, identity):
    """Evidence is about one keyset: clients of an older one get a quote of their own."""
    other = make_identity()
    attestations = desk()
    mixed = [identity, other, identity, other]
    asks = [
        asyncio.ensure_future(attestations.answer(of, nonce))
        for of, nonce in zip(mixed, nonces(4), strict=True)
    ]
    tee.gate.set()
    answers = await asyncio.gather(*asks)
    assert len(tee.asked) == 2
    assert all(bound(parts, of, nonce) for parts, of, nonce in zip(answers, mixed, nonces(4), strict=True))


async def test_too_many_waiters(tee, desk, identity):
    """Beyond the bound, the refusal comes at once; those who wait are answered."""
    attestations = desk(max_waiting=2)
    asks = ask_all(attestations, identity, 2)
    await asyncio.sleep(0)
    assert (await refusal(attestations, identity)).code == RequestCode.ATTESTATION_UNAVAILABLE
    tee.gate.set()
    await asyncio.gather(*asks)
    assert await attestations.answer(identity, bytes(32))


async def test_a_client_that_leaves_gives_its_place_up(tee, desk, identity):
    """A cancelled client is not in the next tree, and its place is free."""
    attestations = desk(max_waiting=2)
    first = ask_all(attestations, identity, 1)
    await asked(tee, 1)
    (gone,) = ask_all(attestations, identity, 1)
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.sleep(0)
    (other,) = ask_all(attestations, identity, 1)
    await asyncio.sleep(0)
    tee.gate.set()
    await asyncio.gather(*first, other)
    assert len(tee.asked) == 2
    assert answer.parse(b"".join(other.result())).proof.path == ()


async def test_a_tee_that_hangs(tee, desk, identity):
    """A deadline ends the wait; later clients are refused at once, and the TEE is left alone meanwhile."""
    attestations = desk(timeout_seconds=0.05)
    assert (await refusal(attestations, identity)).code == RequestCode.ATTESTATION_UNAVAILABLE
    await asyncio.sleep(0.02)
    assert attestations.stuck
    assert (await refusal(attestations, identity)).code == RequestCode.ATTESTATION_UNAVAILABLE
    assert len(tee.asked) == 1
    tee.gate.set()
    async with asyncio.timeout(10):
        while attestations.stuck:
            await asyncio.sleep(0.005)
    assert bound(await attestations.answer(identity, bytes(32)), identity, bytes(32))
    assert not attestations.failing


async def test_a_tee_that_fails(tee, desk, identity, caplog):
    """A failing device is unavailable, whatever it raises; its words stay out of answer and log."""
    attestations = desk()
    tee.error = OSError("SECRET")
    tee.gate.set()
    error = await refusal(attestations, identity)
    assert error.code == RequestCode.ATTESTATION_UNAVAILABLE
    assert "SECRET" not in str(error)
    assert "OSError" in caplog.text
    assert "SECRET" not in caplog.text
    assert attestations.failing
    assert attestations.failures == 1
    tee.error = None
    assert bound(await attestations.answer(identity, bytes(32)), identity, bytes(32))
    assert not attestations.failing


async def test_a_tee_that_fails_is_not_asked_in_a_loop(tee, desk, identity):
    """After a failure clients gather for a while before the device is asked again."""
    attestations = desk()
    tee.error = TeeError(TeeFault.BUSY, "throttled")
    tee.gate.set()
    await refusal(attestations, identity)
    asks = ask_all(attestations, identity, 5)
    await asyncio.sleep(0.1)
    asks += ask_all(attestations, identity, 5)
    outcomes = await asyncio.gather(*asks, return_exceptions=True)
    assert all(isinstance(outcome, RequestError) for outcome in outcomes)
    assert len(tee.asked) == 2


async def test_the_least_time_between_quotes(tee, desk, identity):
    """With an interval set, clients that come one after the other share the quote that it lets through."""
    attestations = desk(interval_seconds=0.3)
    tee.gate.set()
    await attestations.answer(identity, bytes(32))
    asks = []
    for nonce in nonces(5):
        asks.append(asyncio.ensure_future(attestations.answer(identity, nonce)))
        await asyncio.sleep(0.005)
    await asyncio.gather(*asks)
    assert len(tee.asked) == 2


async def test_without_collateral_nobody_is_answered(tee, desk, identity):
    """Where there is nothing to staple, the TEE is not even asked: no client could judge its evidence."""
    attestations = desk(collateral=lambda: None)
    tee.gate.set()
    error = await refusal(attestations, identity)
    assert error.code == RequestCode.ATTESTATION_UNAVAILABLE
    assert "collateral" in str(error)
    assert not tee.asked
    assert not attestations.failing


async def test_evidence_is_looked_at(tee, desk, identity):
    """Every piece of evidence is shown to whoever keeps collateral for the machine."""
    seen = []
    attestations = desk(looked_at=seen.append)
    tee.gate.set()
    await attestations.answer(identity, bytes(32))
    assert [evidence.value for evidence in seen] == tee.asked


async def test_a_sample_is_of_now(tee, desk, identity):
    """A sample asks the device, and is the newest evidence where that fails: the machine may have changed."""
    attestations = desk()
    tee.gate.set()
    await attestations.answer(identity, bytes(32))
    assert (await attestations.sample()).value == bytes(64)
    await attestations.answer(identity, bytes(32))
    tee.error = TeeError(TeeFault.BUSY, "busy")
    assert (await attestations.sample()).value == tee.asked[-2]


async def test_a_machine_that_changed(tee, desk, identity):
    """Evidence for which what was stapled does not fit goes to nobody: clients would take it for forged."""
    stapled = [{}]
    attestations = desk(collateral=lambda: stapled[0], looked_at=lambda _: stapled.__setitem__(0, None))
    tee.gate.set()
    assert "collateral" in str(await refusal(attestations, identity))
    stapled[0] = {}


async def test_a_sample_without_clients(tee, desk):
    """A first look at evidence asks about zeros, which are the hash of nothing."""
    attestations = desk()
    tee.gate.set()
    assert (await attestations.sample()).value == bytes(64)
    assert tee.asked == [bytes(64)]


@pytest.mark.parametrize(
    ("error", "fault"),
    [(TeeError(TeeFault.BUSY, "busy"), TeeFault.BUSY), (OSError("SECRET"), TeeFault.FAILED)],
)
async def test_a_sample_that_fails(tee, desk, error, fault):
    """Whatever the device raises at the start is a TeeError with what to do."""
    attestations = desk()
    tee.error = error
    tee.gate.set()
    with pytest.raises(TeeError) as caught:
        await attestations.sample()
    assert caught.value.fault == fault
    assert "SECRET" not in str(caught.value)


async def test_a_sample_of_a_tee_that_hangs(desk):
    """At the start, a device that does not answer is a TeeError once the time is over."""
    with pytest.raises(TeeError) as caught:
        await desk(timeout_seconds=0.05).sample()
    assert caught.value.fault == TeeFault.TIMEOUT


async def test_a_tee_that_fails_is_asked_again_though_nobody_comes(tee, desk, identity):
    """A server that is not ready is sent nobody: it finds out by itself that its TEE works again."""
    attestations = desk()
    tee.error = TeeError(TeeFault.BUSY, "throttled")
    tee.gate.set()
    await refusal(attestations, identity)
    assert attestations.failing
    tee.error = None
    async with asyncio.timeout(10):
        while attestations.failing:
            await asyncio.sleep(0.01)
    assert tee.asked[1:] == [bytes(64)]
    assert attestations.quotes == 0
    assert bound(await attestations.answer(identity, bytes(32)), identity, bytes(32))


async def test_a_crowd_does_not_keep_the_server_from_its_own(tee, desk, identity):
    """With every place taken by clients, the server still gets evidence for keys of its own."""
    attestations = desk(max_waiting=2)
    asks = ask_all(attestations, identity, 2)
    await asyncio.sleep(0)
    own = asyncio.ensure_future(attestations.answer(make_identity(), bytes(32), ours=True))
    await asyncio.sleep(0)
    tee.gate.set()
    assert len(await asyncio.gather(*asks, own)) == 3


async def test_a_listener_that_fails_harms_nobody(tee, desk, identity):
    """Whoever looks at evidence and fails costs no client its answer, now or later."""

    def broken(_evidence):
        raise ValueError("SECRET")

    attestations = desk(looked_at=broken)
    tee.gate.set()
    for _ in range(2):
        assert bound(await attestations.answer(identity, bytes(32)), identity, bytes(32))


async def test_places_are_random(tee, desk, identity):
    """Where a nonce stands does not tell how many came before it."""
    attestations = desk()
    tee.gate.set()
    seen = set()
    for _ in range(8):
        answers = await asyncio.gather(*ask_all(attestations, identity, 33))
        seen.add(answer.parse(b"".join(answers[0])).proof.index)
    assert len(seen) > 2
