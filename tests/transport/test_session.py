"""What all connections of a transport remember: where a proof ends to the second, and how many are kept."""

from __future__ import annotations

import inspect
from dataclasses import dataclass

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from blindai.attestation.appraisal import CLOCK_SKEW_SECONDS
from blindai.attestation.policy import Policy
from blindai.attestation.trust import SimulationTrust, StapledSimulationTrust
from blindai.channel.bundle import Bundle, Peer
from blindai.errors import AttestationError, Reason
from blindai.testing import TlsIdentity, make_answer
from blindai.transport import aio, sync, tls
from blindai.transport import session as transport_session
from blindai.transport.origin import Origin
from blindai.transport.session import Demands, Session
from tests.transport.conftest import NOW
from tests.transport.dialling import quiet

NONCE = bytes(range(32))


def session_of(tdx, clock):
    return Session(
        Demands(
            origin=Origin("localhost", 9924),
            policy=Policy.for_simulation(),
            trust=SimulationTrust([tdx.root_sha256]),
            clock=lambda: clock[0],
        )
    )


def attested_peer(session, tdx):
    """Let `session` attest a new key; return the peer that has it, and the proof."""
    identity = TlsIdentity.make("localhost")
    peer = Peer.from_certificate("localhost", identity.certificate.public_bytes(Encoding.DER))
    body = make_answer(tdx, nonce=NONCE, tls_spki_sha256=identity.spki_sha256, now=NOW)
    with quiet():
        return peer, session.conclude(Bundle(peer, NONCE, body))


def test_a_proof_ends_at_its_moment_and_a_clock_may_be_five_minutes_off(tdx):
    """The last second counts and the end does not; a clock further back than the skew ends the proof."""
    clock = [NOW]
    session = session_of(tdx, clock)
    _, attested = attested_peer(session, tdx)
    for moment, expired in (
        (attested.not_after - 1, False),
        (attested.not_after, True),
        (NOW - CLOCK_SKEW_SECONDS, False),
        (NOW - CLOCK_SKEW_SECONDS - 1, True),
    ):
        clock[0] = moment
        assert session.expired(attested) is expired


def test_the_oldest_of_too_many_keys_is_forgotten(tdx, monkeypatch):
    """A server with ever new keys does not fill the client's memory: the oldest is attested anew."""
    monkeypatch.setattr(transport_session, "MAX_KNOWN_KEYS", 2)
    session = session_of(tdx, [NOW])
    peers = [attested_peer(session, tdx)[0] for _ in range(3)]
    with quiet():
        assert [session.known(peer) is not None for peer in peers] == [False, True, True]


def test_a_stapled_root_is_trusted_on_this_machine_only(dial, answering, demands, monkeypatch):
    """Both transports look at the address that was reached, before TLS begins."""
    monkeypatch.setattr(transport_session, "is_loopback", lambda address: False)
    with answering() as peer:
        with pytest.raises(AttestationError) as caught:
            dial(demands(peer, trust=StapledSimulationTrust()))
        peer.wait()
    assert caught.value.reason is Reason.SIMULATION_MISMATCH
    assert peer.request_bytes == b""
    assert all(connection.attestation_request == b"" for connection in peer.connections)


class _Wire:
    """A TLS connection that keeps what is written to it; nothing waits to be read."""

    def __init__(self):
        self.written = []

    def write(self, buffer, timeout=None):
        self.written.append(buffer)

    def read(self, max_bytes, timeout=None):
        return b"response"

    def get_extra_info(self, info):
        return False if info == "is_readable" else None


class _AsyncWire(_Wire):
    async def write(self, buffer, *_):
        super().write(buffer)

    async def read(self, max_bytes, *_):
        return super().read(max_bytes)


async def _done(result):
    return await result if inspect.isawaitable(result) else result


@pytest.mark.parametrize(
    ("stream_of", "wire_of"), [(sync.AttestedStream, _Wire), (aio.AsyncAttestedStream, _AsyncWire)]
)
async def test_a_proof_is_asked_for_when_a_request_begins(stream_of, wire_of, tdx):
    """One that ends in the middle of an upload lets it finish; the next request does not begin."""
    clock = [NOW]
    session = session_of(tdx, clock)
    _, attested = attested_peer(session, tdx)
    wire = wire_of()
    stream = stream_of(wire, attested, session)
    await _done(stream.write(b"head"))
    assert stream.get_extra_info("is_readable") is False
    clock[0] = attested.not_after
    assert stream.get_extra_info("is_readable") is True
    await _done(stream.write(b"body"))
    await _done(stream.read(100))
    with pytest.raises(AttestationError) as caught:
        await _done(stream.write(b"CANARY"))
    assert caught.value.reason is Reason.KEYSET_EXPIRED
    assert wire.written == [b"head", b"body"]


@dataclass(frozen=True)
class Negotiated:
    """As much of an SSL object as is asked who ended the connection."""

    protocol: str = "TLSv1.3"
    alpn: str | None = tls.ALPN
    certificate: bytes | None = TlsIdentity.make("localhost").certificate.public_bytes(Encoding.DER)

    def version(self):
        return self.protocol

    def selected_alpn_protocol(self):
        return self.alpn

    def getpeercert(self, _binary):
        return self.certificate


@pytest.mark.parametrize(
    ("ssl_object", "reason"),
    [
        (None, Reason.ANSWER_FRAMING),
        (Negotiated(protocol="TLSv1.2"), Reason.ANSWER_FRAMING),
        (Negotiated(alpn="h2"), Reason.ANSWER_FRAMING),
        (Negotiated(alpn=None), Reason.ANSWER_FRAMING),
        (Negotiated(certificate=None), Reason.CERTIFICATE_MALFORMED),
        (Negotiated(certificate=b""), Reason.CERTIFICATE_MALFORMED),
    ],
    ids=["no TLS", "TLS 1.2", "HTTP/2", "no ALPN", "no certificate", "empty certificate"],
)
def test_a_peer_is_who_ended_tls_1_3_for_http_1_1(ssl_object, reason):
    """The context asks for nothing else; what was agreed on is checked all the same."""
    assert tls.peer_of(Negotiated(), "localhost").dialled == "localhost"
    with pytest.raises(AttestationError) as caught:
        tls.peer_of(ssl_object, "localhost")
    assert caught.value.reason is reason
