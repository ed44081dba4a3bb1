"""An operator's certificate is valid from its first second to the one before its end."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from blindai.channel import operator
from blindai.errors import EvidenceForged, Reason
from tests.attestation.scene import NOW

KEY = ec.generate_private_key(ec.SECP256R1())


def certificate(*, ca):
    """Return a certificate that the operator's key signed, valid for ten seconds."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "host.example")])
    key = KEY if ca else ec.generate_private_key(ec.SECP256R1())
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime.fromtimestamp(NOW, UTC))
        .not_valid_after(datetime.fromtimestamp(NOW + 10, UTC))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .sign(KEY, hashes.SHA256())
    )


OWN = certificate(ca=True)
LEAF = certificate(ca=False)
STAPLED = {"operator": {"certificate": OWN.public_bytes(Encoding.PEM).decode()}}


@pytest.mark.parametrize("after", [0, 1, 9])
def test_a_certificate_in_its_time_shows_the_operator(after):
    """The first second counts, and the last before the end."""
    shown = operator.shown_by(STAPLED, LEAF, now=NOW + after)
    assert shown == operator.Shown(operator.spki_sha256(OWN), NOW + 10)


@pytest.mark.parametrize("after", [-1, 10, 11])
def test_a_certificate_out_of_its_time_is_refused(after):
    """One second before it begins, and from its end on."""
    with pytest.raises(EvidenceForged, match="is not valid at this time") as caught:
        operator.shown_by(STAPLED, LEAF, now=NOW + after)
    assert caught.value.reason == Reason.OPERATOR_FORGED


def test_nothing_stapled_shows_nobody():
    """That is no forgery: whether an operator is needed is for the policy to say."""
    assert operator.shown_by({}, LEAF, now=NOW) is None
