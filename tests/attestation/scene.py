"""One simulated server as a client meets it: a machine of any TEE, a TLS key, a policy made from its code.

`attest` goes all the way, from the bytes of an answer to `Attested`, by the code that the transport calls;
`verify` by the public function, from a bundle.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

import blindai
from blindai.attestation import vendors
from blindai.attestation.policy import Policy
from blindai.attestation.trust import ProductionTrust, SimulationTrust, Trust
from blindai.attestation.types import Claims, Floor
from blindai.attestation.verdict import Verdict
from blindai.attestation.verifier import Attested
from blindai.channel.bundle import Bundle, Peer
from blindai.channel.handshake import conclude
from blindai.errors import AttestationError, Reason
from blindai.tee.measurement import Measurements
from blindai.testing import FakeNitro, FakeSgx, FakeSnp, FakeTdx, TlsIdentity, make_answer

NOW = 1_790_000_000
NONCE = bytes(range(32))
TLS = TlsIdentity.make("localhost", now=NOW)

Machine = FakeTdx | FakeSgx | FakeSnp | FakeNitro
FAKES: Mapping[str, type[Machine]] = {fake.tee: fake for fake in (FakeTdx, FakeSgx, FakeSnp, FakeNitro)}
# The fake's default has hyper-threading on, as clouds do, which a strict policy refuses.
_STRICT = {"sev-snp": {"platform_info": 0b100100}}


def machine_of(tee: str, **knobs: Any) -> Machine:
    """Return a machine that a strict policy accepts but for the knobs turned."""
    return FAKES[tee](**{"now": NOW, **_STRICT.get(tee, {}), **knobs})


@functools.cache
def healthy(tee: str) -> Machine:
    """Return the machine with no knob turned; making one takes long."""
    return machine_of(tee)


def peer_of(identity: TlsIdentity = TLS, dialled: str = "localhost") -> Peer:
    """Return what a client knows after a TLS handshake with `identity`."""
    return Peer.from_certificate(dialled, identity.certificate.public_bytes(Encoding.DER))


PEER = peer_of()


def claims_of(machine: Machine) -> Claims:
    """Return what this machine's evidence says; nothing is judged."""
    trust = SimulationTrust([machine.root_sha256])
    return vendors.verify(machine.evidence(bytes(64)), machine.collateral(), trust=trust, now=NOW)


@functools.cache
def _entry_of_healthy(tee: str) -> str:
    return vendors.entry_toml(claims_of(healthy(tee)))


def policy_text(measurements: Measurements, *, top: str = "", entry: str = "", tables: str = "") -> str:
    """Return a policy of exactly these measurements; `top`, `entry` and `tables` add lines."""
    return (
        f'version = 1\n{top}\n[[accept]]\ntee = "tdx"\nmrtd = "{measurements.mrtd.hex()}"\n'
        f'rtmr1 = "{measurements.rtmr1.hex()}"\nrtmr2 = "{measurements.rtmr2.hex()}"\n{entry}\n{tables}\n'
    )


def policy_toml(machine: Machine, *, top: str = "", entry: str = "", tables: str = "") -> str:
    """Return a policy of the code that a machine of this kind runs; `top`, `entry` and `tables` add lines."""
    if isinstance(machine, FakeTdx):
        return policy_text(machine.measurements, top=top, entry=entry, tables=tables)
    return f"version = 1\n{top}\n{_entry_of_healthy(machine.tee)}{entry}\n{tables}\n"


def policy_of(machine: Machine, **lines: str) -> Policy:
    return Policy.from_toml(policy_toml(machine, **lines))


@dataclass(frozen=True)
class Client:
    """What a client demands. The defaults are those of a client of this very machine."""

    policy: Policy | None = None
    trust: Trust | None = None
    floors: Mapping[str, Floor] | None = None
    now: int = NOW
    peer: Peer = PEER

    def conclude(self, body: bytes, machine: Machine) -> Attested:
        return conclude(
            Bundle(self.peer, NONCE, body),
            policy=policy_of(machine) if self.policy is None else self.policy,
            trust=SimulationTrust([machine.root_sha256]) if self.trust is None else self.trust,
            floors=self.floors or {},
            now=self.now,
        )

    def verify(self, body: bytes, machine: Machine, **options: Any) -> Verdict:
        """Judge by the public function, which takes neither a trust nor floors in memory."""
        production = isinstance(self.trust, ProductionTrust)
        return blindai.verify(
            Bundle(self.peer, NONCE, body),
            policy=policy_of(machine) if self.policy is None else self.policy,
            **{"simulation": False if production else machine.root_sha256, "at": self.now, **options},
        )


def answer_of(machine: Machine, **lies: Any) -> bytes:
    """Return this machine's answer about `NONCE` for `TLS`, true but for the lies named."""
    return make_answer(machine, **{"nonce": NONCE, "tls_spki_sha256": TLS.spki_sha256, "now": NOW, **lies})


def attest(machine: Machine, client: Client | None = None, **lies: Any) -> Attested:
    """Let a client judge this machine's answer."""
    return (client or Client()).conclude(answer_of(machine, **lies), machine)


def verify(machine: Machine, client: Client | None = None, **lies: Any) -> Verdict:
    """Let a client judge this machine's answer by the public function."""
    return (client or Client()).verify(answer_of(machine, **lies), machine)


def with_intel(machine: FakeTdx | FakeSgx, **members: str) -> dict[str, Any]:
    """Return this machine's stapled collateral with some members replaced."""
    return {"intel": {**machine.collateral()["intel"], **members}}


def with_amd(machine: FakeSnp, **members: str) -> dict[str, Any]:
    """Return this machine's stapled collateral with some members replaced."""
    return {"amd": {**machine.collateral()["amd"], **members}}


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
