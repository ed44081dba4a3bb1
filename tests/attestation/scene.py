"""One simulated server as a client meets it: a machine, a TLS key, a policy made from its measurements.

`attest` goes all the way, from the bytes of an answer to `Attested`, by the code that the transport calls.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from blindai.attestation.policy import Policy
from blindai.attestation.trust import SimulationTrust, Trust
from blindai.attestation.types import Floor
from blindai.attestation.verifier import Attested
from blindai.channel.handshake import Peer, conclude
from blindai.errors import AttestationError, Reason
from blindai.tee.measurement import Measurements
from blindai.testing import FakeTdx, TlsIdentity, make_answer

NOW = 1_790_000_000
NONCE = bytes(range(32))
TLS = TlsIdentity.make("localhost", now=NOW)


def peer_of(identity: TlsIdentity = TLS, dialled: str = "localhost") -> Peer:
    """Return what a client knows after a TLS handshake with `identity`."""
    return Peer.from_certificate(dialled, identity.certificate.public_bytes(Encoding.DER))


PEER = peer_of()


def policy_text(measurements: Measurements, *, top: str = "", entry: str = "", tables: str = "") -> str:
    """Return a policy of exactly these measurements; `top`, `entry` and `tables` add lines."""
    return (
        f'version = 1\n{top}\n[[accept]]\ntee = "tdx"\nmrtd = "{measurements.mrtd.hex()}"\n'
        f'rtmr1 = "{measurements.rtmr1.hex()}"\nrtmr2 = "{measurements.rtmr2.hex()}"\n{entry}\n{tables}\n'
    )


def policy_of(tdx: FakeTdx, **lines: str) -> Policy:
    return Policy.from_toml(policy_text(tdx.measurements, **lines))


@dataclass(frozen=True)
class Client:
    """What a client demands. The defaults are those of a client of this very machine."""

    policy: Policy | None = None
    trust: Trust | None = None
    floors: Mapping[str, Floor] | None = None
    now: int = NOW
    peer: Peer = PEER

    def conclude(self, body: bytes, tdx: FakeTdx) -> Attested:
        return conclude(
            body,
            nonce=NONCE,
            peer=self.peer,
            policy=policy_of(tdx) if self.policy is None else self.policy,
            trust=SimulationTrust([tdx.root_sha256]) if self.trust is None else self.trust,
            floors=self.floors or {},
            now=self.now,
        )


def answer_of(tdx: FakeTdx, **lies: Any) -> bytes:
    """Return this machine's answer about `NONCE` for `TLS`, true but for the lies named."""
    return make_answer(tdx, **{"nonce": NONCE, "tls_spki_sha256": TLS.spki_sha256, "now": NOW, **lies})


def attest(tdx: FakeTdx, client: Client | None = None, **lies: Any) -> Attested:
    """Let a client judge this machine's answer."""
    return (client or Client()).conclude(answer_of(tdx, **lies), tdx)


def with_intel(tdx: FakeTdx, **members: str) -> dict[str, Any]:
    """Return this machine's stapled collateral with some members replaced."""
    return {"intel": {**tdx.collateral()["intel"], **members}}


def refusal(judge: Callable[[], object]) -> AttestationError:
    """Return the AttestationError that `judge` ends in."""
    with pytest.raises(AttestationError) as caught:
        judge()
    return caught.value


def assert_refused(
    judge: Callable[[], object], reason: Reason, kind: type[AttestationError] = AttestationError
) -> None:
    """Assert that `judge` ends in `kind` with this reason."""
    error = refusal(judge)
    assert (error.reason, type(error)) == (reason, kind if kind is not AttestationError else type(error))
