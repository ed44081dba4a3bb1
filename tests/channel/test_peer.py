"""Reading the certificate that a peer showed: its key and nothing else."""

from __future__ import annotations

import hashlib

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from blindai.channel.bundle import Peer
from blindai.errors import EvidenceMalformed, Reason
from blindai.testing import TlsIdentity
from tests.attestation.scene import NOW

IDENTITY = TlsIdentity.make("localhost", now=NOW)
DER = IDENTITY.certificate.public_bytes(Encoding.DER)
EC_KEY = bytes.fromhex("2a8648ce3d0201")
P256 = bytes.fromhex("2a8648ce3d030107")


def test_a_peer_is_known_by_its_key():
    """The digest is that of the DER SubjectPublicKeyInfo, as keysets name it."""
    peer = Peer.from_certificate("a.example", DER)
    spki = IDENTITY.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert peer.tls_spki_sha256 == hashlib.sha256(spki).digest()
    assert peer.dialled == "a.example"


STRANGE = {
    "nothing": b"",
    "PEM": IDENTITY.pem.encode(),
    "truncated": DER[:-1],
    "bytes behind": DER + b"\0",
    "another version": DER.replace(bytes.fromhex("a003020102"), bytes.fromhex("a003020109")),
    "another algorithm": DER.replace(EC_KEY, bytes.fromhex("2a8648ce3d0207")),
    "another curve": DER.replace(P256, bytes.fromhex("2a8648ce3d030105")),
    "a point that is not on the curve": DER.replace(
        bytes.fromhex("03420004"), bytes.fromhex("03420004ff"), 1
    )[: len(DER)],
}


@pytest.mark.parametrize("name", STRANGE)
def test_a_certificate_that_cannot_be_read_is_malformed(name):
    """Whatever a peer shows, it ends in our own error: unknown versions, algorithms and curves too."""
    with pytest.raises(EvidenceMalformed) as caught:
        Peer.from_certificate("a.example", STRANGE[name])
    assert caught.value.reason == Reason.CERTIFICATE_MALFORMED
