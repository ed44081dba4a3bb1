"""Shared by the transport's tests: a fake machine, and the demands of a client that trusts its root."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import pytest

from blindai.attestation.policy import Policy
from blindai.attestation.trust import SimulationTrust
from blindai.testing import CapturingPeer, FakeTdx, http_response, make_answer
from blindai.transport.origin import Origin
from blindai.transport.session import Demands
from tests.transport import dialling

NOW = int(time.time())


@pytest.fixture(scope="session")
def tdx() -> FakeTdx:
    """A healthy simulated machine."""
    return FakeTdx(now=NOW)


@pytest.fixture(params=["sync", "async"])
def dial(request: pytest.FixtureRequest) -> dialling.Dial:
    """One request by each transport."""
    return {"sync": dialling.dial_sync, "async": dialling.dial_async}[request.param]


@pytest.fixture
def demands(tdx: FakeTdx) -> Callable[..., Demands]:
    """Demands for a peer on this machine that the simulation root attests."""

    def make(peer: CapturingPeer, **changes: Any) -> Demands:
        wanted = Demands(
            origin=Origin("127.0.0.1", peer.port),
            policy=Policy.for_simulation(),
            trust=SimulationTrust([tdx.root_sha256]),
            timeout_seconds=10,
        )
        return dataclasses.replace(wanted, **changes)

    return make


@pytest.fixture
def answering(tdx: FakeTdx) -> Callable[..., CapturingPeer]:
    """A peer whose attestation answers are true but for the lies named."""

    def make(
        attester: FakeTdx = tdx, *, spki: bytes | None = None, wrap: Any = http_response, **lies: Any
    ) -> Any:
        def answer(nonce: bytes) -> Any:
            key = peer.spki_sha256 if spki is None else spki
            names = lies.get("names", ("localhost", "127.0.0.1"))
            rest = {name: value for name, value in lies.items() if name != "names"}
            return wrap(make_answer(attester, nonce=nonce, tls_spki_sha256=key, now=NOW, names=names, **rest))

        peer = CapturingPeer(answer)
        return peer

    return make
