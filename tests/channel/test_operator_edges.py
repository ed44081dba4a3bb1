"""An operator's certificate, and one they issued: valid from the first second to the one before the end."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from blindai.channel import keyset, operator
from blindai.errors import EvidenceForged, EvidenceMalformed, Reason
from blindai.testing import make_keyset
from tests.attestation.scene import NOW

KEY = ec.generate_private_key(ec.SECP256R1())


def certificate(*, ca, start=0, end=10):
    """Return a certificate that the operator's key signed, valid for ten seconds."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "host.example")])
    key = KEY if ca else ec.generate_private_key(ec.SECP256R1())
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime.fromtimestamp(NOW + start, UTC))
        .not_valid_after(datetime.fromtimestamp(NOW + end, UTC))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .sign(KEY, hashes.SHA256())
    )


OWN = certificate(ca=True)
LEAF = certificate(ca=False)
KEYSET = keyset.parse(make_keyset(tls_spki_sha256=bytes(32), now=NOW, not_after=NOW + 20))


def pem(of):
    return of.public_bytes(Encoding.PEM).decode()


STAPLED = {"operator": {"certificate": pem(OWN)}}


@pytest.mark.parametrize("after", [0, 1, 9])
def test_a_certificate_in_its_time_shows_the_operator(after):
    """The first second counts, and the last before the end."""
    shown = operator.shown_by(STAPLED, LEAF, keyset=KEYSET, now=NOW + after)
    assert shown == operator.Shown(operator.spki_sha256(OWN), NOW + 10)


@pytest.mark.parametrize("after", [-1, 10, 11])
def test_a_certificate_out_of_its_time_is_refused(after):
    """One second before it begins, and from its end on."""
    with pytest.raises(EvidenceForged, match="is not valid at this time") as caught:
        operator.shown_by(STAPLED, LEAF, keyset=KEYSET, now=NOW + after)
    assert caught.value.reason == Reason.OPERATOR_FORGED


def test_nothing_stapled_shows_nobody():
    """That is no forgery: whether an operator is needed is for the policy to say."""
    assert operator.shown_by({}, LEAF, keyset=KEYSET, now=NOW) is None


@pytest.mark.parametrize("after", [-1, 5, 6])
def test_a_leaf_out_of_its_time_is_refused(after):
    """The operator's own certificate is still valid, what it issued is not."""
    leaf, stapled = (
        certificate(ca=False, end=5),
        {"operator": {"certificate": pem(certificate(ca=True, start=-5))}},
    )
    with pytest.raises(EvidenceForged, match="but that is not valid at this time") as caught:
        operator.shown_by(stapled, leaf, keyset=KEYSET, now=NOW + after)
    assert (caught.value.reason, caught.value.hint != "") == (Reason.OPERATOR_FORGED, True)
    shown = operator.shown_by(stapled, leaf, keyset=KEYSET, now=NOW + 4)
    assert shown == operator.Shown(operator.spki_sha256(OWN), NOW + 5)


def test_a_leaf_may_end_with_the_keyset_and_no_second_later():
    """What is bound to the evidence ends with it."""
    stapled = {"operator": {"certificate": pem(certificate(ca=True, end=30))}}
    ends = certificate(ca=False, end=20)
    assert operator.shown_by(stapled, ends, keyset=KEYSET, now=NOW).not_after == NOW + 20
    with pytest.raises(EvidenceForged, match="ends later than the server's keys"):
        operator.shown_by(stapled, certificate(ca=False, end=21), keyset=KEYSET, now=NOW)


def test_dates_that_a_stranger_wrote_are_refused():
    """An operator's certificate around the right key, with other dates and a stranger's signature."""
    stranger = ec.generate_private_key(ec.SECP256R1())
    name = OWN.subject
    changed = (
        x509.CertificateBuilder(name, name, KEY.public_key(), 1)
        .not_valid_before(datetime.fromtimestamp(NOW - 99, UTC))
        .not_valid_after(datetime.fromtimestamp(NOW + 99, UTC))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(stranger, hashes.SHA256())
    )
    with pytest.raises(EvidenceForged) as caught:
        operator.shown_by({"operator": {"certificate": pem(changed)}}, LEAF, keyset=KEYSET, now=NOW)
    assert caught.value.reason == Reason.OPERATOR_FORGED


@pytest.mark.parametrize("which", [0, 1], ids=["issuer", "subject"])
def test_a_name_that_cannot_be_read_is_refused(which):
    """A certificate whose issuer or subject is in no alphabet is malformed, and no foreign error."""
    der = bytearray(OWN.public_bytes(Encoding.DER))
    places = [at for at in range(len(der)) if der[at:].startswith(b"host.example")]
    der[places[which]] = 0xFF
    stapled = {"operator": {"certificate": ssl.DER_cert_to_PEM_cert(bytes(der))}}
    with pytest.raises(EvidenceMalformed) as caught:
        operator.shown_by(stapled, LEAF, keyset=KEYSET, now=NOW)
    assert caught.value.reason == Reason.CERTIFICATE_MALFORMED
