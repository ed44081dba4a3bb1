"""An attacker's own genuine enclave, with the same code and names: only a pinned operator tells it apart."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass

import pytest

import blindai
from blindai.attestation.verdict import Outcome
from blindai.channel import operator
from blindai.errors import AttestationError, EvidenceForged, EvidenceRejected, Reason
from blindai.testing import CapturingPeer, FakeTdx, TlsIdentity, http_response, make_answer
from tests.attestation.scene import policy_of
from tests.client.driving import driven

NOW = int(time.time())
DAY = 24 * 3600
NAMES = ("127.0.0.1", "inference.example")
OPERATOR = TlsIdentity.make("operator.example", is_authority=True, now=NOW)


@pytest.fixture(scope="module")
def tdx():
    """Genuine hardware in the attacker's hands: it signs for whatever keys run there."""
    return FakeTdx(now=NOW)


@dataclass(frozen=True)
class Diversion:
    """What the attacker's server shows: a certificate for a key of its own, and a stapled operator."""

    leaf: TlsIdentity
    stapled: TlsIdentity | None
    reason: Reason


_THEIRS = TlsIdentity.make("operator.example", is_authority=True, now=NOW)
_ENCLAVE = TlsIdentity.make(*NAMES, issuer=OPERATOR, now=NOW)

DIVERSIONS = {
    "no operator": Diversion(TlsIdentity.make(*NAMES, now=NOW), None, Reason.OPERATOR_UNKNOWN),
    "the attacker as operator": Diversion(
        TlsIdentity.make(*NAMES, issuer=_THEIRS, now=NOW), _THEIRS, Reason.OPERATOR_MISMATCH
    ),
    "the victim's operator, who issued nothing": Diversion(
        TlsIdentity.make(*NAMES, now=NOW), OPERATOR, Reason.OPERATOR_FORGED
    ),
    "an issuer of the same name": Diversion(
        TlsIdentity.make(*NAMES, issuer=_THEIRS, now=NOW), OPERATOR, Reason.OPERATOR_FORGED
    ),
    "issued for other names": Diversion(
        TlsIdentity.make("staging.example", issuer=OPERATOR, now=NOW), OPERATOR, Reason.OPERATOR_FORGED
    ),
    "issued, and ended": Diversion(
        TlsIdentity.make(*NAMES, issuer=OPERATOR, now=NOW - 2 * DAY), OPERATOR, Reason.OPERATOR_FORGED
    ),
    "issued for longer than the keys": Diversion(
        TlsIdentity.make(*NAMES, issuer=OPERATOR, now=NOW + DAY // 2), OPERATOR, Reason.OPERATOR_FORGED
    ),
    "issued by another enclave of the operator's": Diversion(
        TlsIdentity.make(*NAMES, issuer=_ENCLAVE, now=NOW), OPERATOR, Reason.OPERATOR_FORGED
    ),
    "another enclave as operator": Diversion(
        TlsIdentity.make(*NAMES, issuer=_ENCLAVE, now=NOW), _ENCLAVE, Reason.OPERATOR_FORGED
    ),
}


@pytest.fixture
def pinned(tmp_path):
    """The file that the operator gave to this client."""
    path = tmp_path / "host_server.pem"
    path.write_text(OPERATOR.pem)
    return path


def diverting(tdx, leaf, stapled):
    def answer(nonce):
        collateral = {} if stapled is None else {"operator": {"certificate": stapled.pem}}
        return http_response(
            make_answer(
                tdx,
                nonce=nonce,
                tls_spki_sha256=leaf.spki_sha256,
                now=NOW,
                names=NAMES,
                more_collateral=collateral,
            )
        )

    metadata = {"name": "blindai", "version": "0", "extensions": []}
    return CapturingPeer(answer, identities=[leaf], response=http_response(json.dumps(metadata).encode()))


@pytest.mark.parametrize("colour", ["sync", "async"])
@pytest.mark.parametrize("name", DIVERSIONS)
def test_a_pinned_operator_tells_an_attackers_enclave_apart(tdx, pinned, colour, name):
    """Same hardware, same code, same names: it is refused, and not one byte of a request is sent to it."""
    shown = DIVERSIONS[name]
    with diverting(tdx, shown.leaf, shown.stapled) as peer:
        with pytest.raises(AttestationError) as refusal:
            with driven(
                colour,
                f"127.0.0.1:{peer.port}",
                policy=policy_of(tdx),
                certificate=pinned,
                simulation=tdx.root_sha256,
                api_key="CANARY-key",
            ) as client:
                client.server()
        peer.wait()
    forged = shown.reason is Reason.OPERATOR_FORGED
    kind = EvidenceForged if forged else EvidenceRejected
    assert (refusal.value.reason, type(refusal.value)) == (shown.reason, kind)
    assert [check.claim for check in refusal.value.verdict.failures] == ["operator"]
    assert peer.request_bytes == b""
    assert peer.connections[0].attestation_request != b""


@pytest.mark.parametrize("name", ["no operator", "the attacker as operator"])
def test_without_a_pinned_operator_the_verdict_says_unknown(tdx, name):
    """The attacker's enclave is what the policy demands; whose it is, nobody asked."""
    shown = DIVERSIONS[name]
    with diverting(tdx, shown.leaf, shown.stapled) as peer:
        with blindai.connect(
            f"127.0.0.1:{peer.port}", policy=policy_of(tdx), simulation=tdx.root_sha256
        ) as client:
            (check,) = [check for check in client.verdict.checks if check.claim == "operator"]
        peer.wait()
    assert check.outcome is Outcome.UNKNOWN
    assert check.found == (operator.spki_sha256(_THEIRS.certificate) if shown.stapled else check.found)
    assert "operator" in str(client.verdict)


def test_the_operators_own_enclave_is_accepted(tdx, pinned):
    """The counterpart: the certificate that the operator issued for these names and this time."""
    with diverting(tdx, _ENCLAVE, OPERATOR) as peer:
        with blindai.connect(
            f"127.0.0.1:{peer.port}", policy=policy_of(tdx), certificate=pinned, simulation=tdx.root_sha256
        ) as client:
            (check,) = [check for check in client.verdict.checks if check.claim == "operator"]
        peer.wait()
    assert (check.outcome, check.found) == (Outcome.PASS, operator.spki_sha256(OPERATOR.certificate))
