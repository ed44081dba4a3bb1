"""Diversion: a genuine machine of the attacker's, with the same code and the same names, answers instead.

Nothing in its evidence is false. Without a pinned operator it is accepted, and the verdict says that nobody
knows whose it is: the residual that the documentation names. A pinned operator tells it apart.
"""

from __future__ import annotations

import pytest
from cryptography import x509

import blindai
from blindai.attestation.verdict import Outcome
from blindai.channel import answer
from blindai.channel import operator as operators
from blindai.errors import AttestationError, EvidenceRejected, Reason
from blindai.testing import TlsIdentity
from tests.attacks.conftest import NAMES
from tests.attacks.middle import Middle, pass_on
from tests.attacks.refusing import nothing_read, served
from tests.client.driving import driven

THEIRS = TlsIdentity.make("attacker.example", is_authority=True)
DIVERSIONS = {
    "no operator": Reason.OPERATOR_UNKNOWN,
    "the attacker": Reason.OPERATOR_MISMATCH,
    "the victim, whose certificate everybody can read": Reason.OPERATOR_FORGED,
}


@pytest.fixture
def diverting(enclave, operator):
    """The attacker's enclave, which shows one of these as its operator."""

    def make(shown):
        leaf = TlsIdentity.make(*NAMES, issuer=THEIRS if shown == "the attacker" else None)
        pem = {
            "no operator": None,
            "the attacker": THEIRS.pem,
        }.get(shown, (operator / "host_server.pem").read_text())
        stapled = {} if pem is None else {"more_collateral": {"operator": {"certificate": pem}}}
        return enclave(identities=[leaf], **stapled)

    return make


@pytest.fixture
def demanded(vendor, policy):
    """What a user who does not know the operator demands."""
    return {"policy": policy, "simulation": vendor.root.sha256, "api_key": "CANARY-key", "attempts": 1}


def pin_of(folder):
    pem = (folder / "host_server.pem").read_bytes()
    return operators.spki_sha256(x509.load_pem_x509_certificate(pem))


def operator_of(verdict):
    (check,) = [check for check in verdict.checks if check.claim == "operator"]
    return check


@pytest.mark.parametrize("shown", ["no operator", "the attacker"])
def test_without_a_pinned_operator_the_verdict_says_unknown(shown, diverting, victim, demanded, colour):
    """Client after client meets the same address; only one claim, which nobody demanded, is not passed."""
    with diverting(shown) as own, Middle(pass_on(victim.port), pass_on(own.port)) as middle:
        verdicts = []
        for _ in range(2):
            with driven(colour, f"127.0.0.1:{middle.port}", **demanded) as client:
                verdicts.append(client.verdict)
                client.server()
        own.wait()
    assert [operator_of(verdict).outcome for verdict in verdicts] == [Outcome.UNKNOWN] * 2
    assert "unknown operator: " in str(verdicts[1])
    told = [{c.claim for c in verdict.checks if c.outcome is Outcome.PASS} for verdict in verdicts]
    assert told[0] == told[1]
    assert b"CANARY" in own.request_bytes  # the residual: this is why an operator is to be pinned
    assert b"CANARY" not in middle.wire


@pytest.mark.parametrize("pinned_by", ["certificate=", "[operator]"])
@pytest.mark.parametrize("shown", DIVERSIONS)
def test_with_a_pinned_operator_it_is_refused(
    shown, pinned_by, diverting, victim, demanded, operator, colour
):
    """The client of a moment ago is connected to the operator's server; the next one is diverted in vain."""
    if pinned_by == "certificate=":
        demanded["certificate"] = operator / "host_server.pem"
    else:
        text = f'{victim.ready["policy"]}\n[operator]\nspki_sha256 = ["{pin_of(operator)}"]\n'
        demanded["policy"] = blindai.Policy.from_toml(text)
    with diverting(shown) as own, Middle(pass_on(victim.port), pass_on(own.port)) as middle:
        address = f"127.0.0.1:{middle.port}"
        with driven(colour, address, **demanded) as client:
            assert operator_of(client.verdict).outcome is Outcome.PASS
        with pytest.raises(AttestationError) as refusal, driven(colour, address, **demanded):
            pass
        nothing_read(own)
    assert refusal.value.reason is DIVERSIONS[shown]
    assert [check.claim for check in refusal.value.verdict.failures] == ["operator"]
    assert b"CANARY" not in middle.wire


def test_between_two_real_servers_only_the_operator_differs(vendor, victim, operator, demanded, colour):
    """Two processes of this server, each with its operator: what one is asked, the other never sees."""
    theirs = vendor.operator(f"another {colour}")
    settings = {"tls_dir": str(theirs), "metrics_address": "127.0.0.1:0"}
    pinned = {"certificate": operator / "host_server.pem"}
    with vendor.server(**settings) as other, Middle(pass_on(victim.port), pass_on(other.port)) as middle:
        address = f"127.0.0.1:{middle.port}"
        with driven(colour, address, **demanded, **pinned) as client:
            assert operator_of(client.verdict).found == pin_of(operator)
        with pytest.raises(EvidenceRejected) as refusal, driven(colour, address, **demanded, **pinned):
            pass
        assert refusal.value.reason is Reason.OPERATOR_MISMATCH
        assert set(served(other)) == {answer.PATH}
        with driven(colour, address, **demanded) as client:
            check = operator_of(client.verdict)
            client.server()
        assert (check.outcome, check.found) == (Outcome.UNKNOWN, pin_of(theirs))
        assert set(served(other)) == {answer.PATH, "/v2"}
