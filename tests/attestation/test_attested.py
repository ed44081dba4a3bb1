"""`Attested` is a proof: it comes from a completed verification, and from nowhere else."""

from __future__ import annotations

import copy
import dataclasses
import pickle

import pytest

from blindai.attestation import verifier
from blindai.attestation.trust import SimulationTrust
from blindai.attestation.types import ChannelFacts
from blindai.attestation.verifier import Attested
from blindai.errors import EvidenceMalformed, Reason
from tests.attestation.scene import NOW, attest, policy_of


def test_it_cannot_be_constructed(tdx):
    """Neither from nothing nor from the facts of another one."""
    facts = attest(tdx)._facts
    for arguments in ((), (facts,), (None, facts), (object(), facts), (True, facts)):
        with pytest.raises(TypeError):
            Attested(*arguments)


def test_it_cannot_be_subclassed():
    """A subclass could answer differently and still pass for it."""
    with pytest.raises(TypeError):
        type("Forged", (Attested,), {})


@pytest.mark.parametrize(
    "name", ["verdict", "tls_spki_sha256", "keyset_sha256", "not_after", "platform", "freshness", "anything"]
)
def test_what_it_says_cannot_be_changed(tdx, name):
    """It has no attribute to set, and no dictionary to put one in."""
    attested = attest(tdx)
    with pytest.raises(AttributeError):
        setattr(attested, name, None)
    assert not hasattr(attested, "__dict__")


def test_its_facts_cannot_be_exchanged(tdx):
    """Not even by someone who knows the private name."""
    attested = attest(tdx)
    facts = dataclasses.replace(attested._facts, tls_spki_sha256=bytes(32))
    with pytest.raises(AttributeError):
        attested._facts = facts
    with pytest.raises(dataclasses.FrozenInstanceError):
        attested._facts.tls_spki_sha256 = bytes(32)


def test_it_cannot_be_copied_with_a_change(tdx):
    """`replace` is for values; a proof is about what was proven."""
    with pytest.raises(TypeError):
        dataclasses.replace(attest(tdx), tls_spki_sha256=bytes(32))  # type: ignore[type-var]


@pytest.mark.parametrize("carry", [pickle.dumps, copy.copy, copy.deepcopy])
def test_it_cannot_leave_the_process_or_be_rebuilt(tdx, carry):
    """A proof read from bytes would be a proof that nobody made."""
    with pytest.raises(TypeError):
        carry(attest(tdx))


def test_it_tells_what_was_proven(tdx):
    """Its text names the TEE and says that it is a simulation."""
    assert "simulated=True" in repr(attest(tdx))
    assert "SIMULATED" in str(attest(tdx).verdict)


def test_no_evidence_is_no_proof(tdx):
    """The parser refuses such an answer first; whoever verifies without it is refused, too."""
    with pytest.raises(EvidenceMalformed) as caught:
        verifier.attest(
            (),
            tdx.collateral(),
            keyset_sha256=bytes(32),
            tls_spki_sha256=bytes(32),
            challenge_root=bytes(32),
            channel=ChannelFacts("localhost", ("localhost",), NOW, NOW + 1, simulated=True, settings={}),
            policy=policy_of(tdx),
            trust=SimulationTrust([tdx.root_sha256]),
            floors={},
            now=NOW,
        )
    assert caught.value.reason == Reason.EVIDENCE_MISSING


def test_it_ends_after_an_hour_at_the_latest(tdx):
    """The collateral lasts thirty days and the keyset one; the proof does not."""
    attested = attest(tdx)
    assert attested.not_after - attested.verdict.at == verifier.MAX_TRUST_SECONDS == 3600
