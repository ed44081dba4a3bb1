"""How evidence is asked for when the TEE is slow or fails."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from blindai.attestation.types import Evidence
from blindai.channel.keyset import Software
from blindai.errors import RequestCode, RequestError
from blindai.server.attest import Attestations
from blindai.server.identity import new_identity


class StubTee:
    """An attester that waits for `gate`, and fails if told to."""

    tee = "stub"
    simulated = True

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.error: Exception | None = None
        self.at_once = 0
        self.most_at_once = 0

    def evidence(self, report_data: bytes) -> Evidence:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.gate.wait(10)
        self.at_once -= 1
        if self.error is not None:
            raise self.error
        return Evidence("stub", report_data)

    def collateral(self) -> dict[str, object]:
        return {}


@pytest.fixture
def tee():
    stub = StubTee()
    yield stub
    stub.gate.set()


@pytest.fixture(scope="module")
def identity():
    return new_identity(
        ["localhost"],
        now=int(time.time()),
        life_seconds=60,
        software=Software("1", "0"),
        settings={},
        simulated=True,
    )


async def refusal(attestations: Attestations, identity) -> RequestError:
    with pytest.raises(RequestError) as caught:
        await attestations.answer(identity, bytes(32))
    return caught.value


async def test_one_quote_at_a_time(tee, identity):
    """Many clients at once are answered by a TEE that sees one request at a time."""
    attestations = Attestations(tee, timeout_seconds=10, max_waiting=10)
    asks = [asyncio.ensure_future(attestations.answer(identity, bytes([n]) * 32)) for n in range(8)]
    await asyncio.sleep(0)
    tee.gate.set()
    assert len({*await asyncio.gather(*asks)}) == 8
    assert tee.most_at_once == 1
    attestations.close()


async def test_too_many_waiters(tee, identity):
    """Beyond the bound, the refusal comes at once; those who wait are answered."""
    attestations = Attestations(tee, timeout_seconds=10, max_waiting=1)
    asks = [asyncio.ensure_future(attestations.answer(identity, bytes(32))) for _ in range(2)]
    await asyncio.sleep(0)
    assert (await refusal(attestations, identity)).code == RequestCode.ATTESTATION_UNAVAILABLE
    tee.gate.set()
    await asyncio.gather(*asks)
    attestations.close()


async def test_a_tee_that_hangs(tee, identity):
    """A deadline ends the wait; the TEE is not asked again before it has answered."""
    attestations = Attestations(tee, timeout_seconds=0.05, max_waiting=1)
    assert (await refusal(attestations, identity)).code == RequestCode.ATTESTATION_UNAVAILABLE
    assert (await refusal(attestations, identity)).code == RequestCode.ATTESTATION_UNAVAILABLE
    assert tee.most_at_once == 1
    attestations.close()


async def test_a_tee_that_fails(tee, identity, caplog):
    """A failing device is unavailable, whatever it raises; its words stay out of answer and log."""
    attestations = Attestations(tee, timeout_seconds=10, max_waiting=1)
    tee.error = OSError("SECRET")
    tee.gate.set()
    error = await refusal(attestations, identity)
    assert error.code == RequestCode.ATTESTATION_UNAVAILABLE
    assert "SECRET" not in str(error)
    assert "OSError" in caplog.text
    assert "SECRET" not in caplog.text
    attestations.close()
