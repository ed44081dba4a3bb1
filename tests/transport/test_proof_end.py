"""When a proof ends: with the first thing that it rests on, whatever the clock does."""

from __future__ import annotations

import dataclasses
import time

import httpx2
import pytest

from blindai.attestation.policy import Policy
from blindai.channel import operator
from blindai.errors import AttestationError, Reason
from blindai.testing import CapturingPeer, TlsIdentity, http_response, make_answer
from blindai.transport.sync import AttestedTransport
from tests.transport.dialling import quiet

NOW = int(time.time())


def _client(wanted):
    return httpx2.Client(transport=AttestedTransport(wanted), base_url=wanted.origin.url)


@pytest.mark.parametrize("header", [{}, {"Connection": "close"}])
def test_a_proof_ends_with_its_policy(header, answering, demands):
    """After the policy's end nothing is sent: neither on a pooled connection nor to a known key."""
    clock = [NOW]
    policy = dataclasses.replace(Policy.for_simulation(), expires=NOW + 60)
    with quiet(), answering() as peer:
        with _client(demands(peer, policy=policy, clock=lambda: clock[0])) as session:
            session.get("/v2", headers=header)
            clock[0] += 61
            with pytest.raises(AttestationError) as refusal:
                session.get("/CANARY")
        peer.wait()
    assert refusal.value.reason is Reason.POLICY_EXPIRED
    assert b"CANARY" not in peer.request_bytes


def test_a_proof_ends_with_the_operators_certificate(tdx, demands):
    """A pinned operator whose certificate has ended is not vouched for by an older proof."""
    authority = TlsIdentity.make("operator", is_authority=True, now=NOW - 24 * 3600 + 60)
    leaf = TlsIdentity.make("127.0.0.1", issuer=authority, now=NOW)
    with quiet(), CapturingPeer(_operated(tdx, leaf, authority), identities=[leaf]) as peer:
        clock = [NOW]
        with _client(demands(peer, policy=_pinning(authority), clock=lambda: clock[0])) as session:
            session.get("/v2")
            clock[0] += 61
            with pytest.raises(AttestationError) as refusal:
                session.get("/CANARY")
        peer.wait()
    assert refusal.value.reason is Reason.OPERATOR_FORGED
    assert b"CANARY" not in peer.request_bytes


def test_a_proof_is_about_one_certificate(tdx, demands):
    """Another certificate with the same key is not the one that the pinned operator issued."""
    authority = TlsIdentity.make("operator", is_authority=True)
    leaf = TlsIdentity.make("127.0.0.1", issuer=authority, now=NOW)
    own = TlsIdentity.make("127.0.0.1", key=leaf.key)
    with quiet(), CapturingPeer(_operated(tdx, leaf, authority), identities=[leaf, own]) as peer:
        with _client(demands(peer, policy=_pinning(authority))) as session:
            session.get("/v2", headers={"Connection": "close"})
            with pytest.raises(AttestationError) as refusal:
                session.get("/CANARY")
        peer.wait()
    assert refusal.value.reason is Reason.OPERATOR_FORGED
    assert b"CANARY" not in peer.request_bytes


def test_a_clock_that_is_set_back_does_not_lengthen_a_proof(answering, demands):
    """An hour counted by a clock that jumped back is longer than an hour: the server is attested anew."""
    clock = [NOW]
    with quiet(), answering(not_before=NOW - 7200, not_after=NOW + 7200) as peer:
        with _client(demands(peer, clock=lambda: clock[0])) as session:
            session.get("/v2")
            clock[0] -= 3600
            session.get("/v2")
        peer.wait()
        assert sum(connection.attestation_request != b"" for connection in peer.connections) == 2


def _pinning(authority):
    pinned = frozenset({operator.spki_sha256(authority.certificate)})
    return dataclasses.replace(Policy.for_simulation(), operator_spki_sha256=pinned)


def _operated(tdx, leaf, authority):
    def answer(nonce):
        return http_response(
            make_answer(
                tdx,
                nonce=nonce,
                tls_spki_sha256=leaf.spki_sha256,
                now=NOW,
                names=("127.0.0.1",),
                more_collateral={"operator": {"certificate": authority.pem}},
            )
        )

    return answer
