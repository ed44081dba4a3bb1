"""Certificates and CRLs that break the library below us: what it raises, or warns of, is our own refusal."""

from __future__ import annotations

import datetime
import subprocess
import sys

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from blindai.attestation import chain
from blindai.errors import EvidenceForged, EvidenceMalformed, Reason
from blindai.tee.simulated import authority
from blindai.testing import FakeSnp, Window
from tests.attestation.scene import NOW, assert_refused

SECP384R1 = bytes.fromhex("06052b81040022")
COMMON_NAME, COUNTRY = bytes.fromhex("0603550403"), bytes.fromhex("0603550406")
CRL_NUMBER = x509.ObjectIdentifier("2.5.29.20")


def issued(key):
    return authority.issue("root", Window(-9, 9), NOW, key=key, issuer=None, extensions=[])


def signed_again(holder, old, new):
    """Return the certificate with other bytes of the same length in it, signed by its own key."""
    tbs, whole = holder.certificate.tbs_certificate_bytes, holder.der
    assert old in tbs
    changed = tbs.replace(old, new)
    start = whole.index(tbs) + len(tbs)
    signature = b"\0" + holder.key.sign(changed, ec.ECDSA(hashes.SHA384()))
    content = changed + whole[start : start + 12] + bytes([3, len(signature)]) + signature
    return b"\x30\x82" + len(content).to_bytes(2, "big") + content


def crl_of(holder, *extensions):
    """Return a CRL that `holder` signed, whatever kind of key that is with."""
    moment = datetime.datetime.fromtimestamp(NOW, datetime.UTC)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(holder.certificate.subject)
        .last_update(moment)
        .next_update(moment + datetime.timedelta(days=1))
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    algorithm = None if isinstance(holder.key, ed25519.Ed25519PrivateKey) else hashes.SHA384()
    return builder.sign(holder.key, algorithm)


def ed25519_root():
    """Return a self-signed root whose key no vendor uses."""
    key = ed25519.Ed25519PrivateKey.generate()
    name = x509.Name([])
    moment = datetime.datetime.fromtimestamp(NOW, datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(moment)
        .not_valid_after(moment + datetime.timedelta(days=1))
        .sign(key, None)
    )
    return authority.Holder(certificate, key)


def test_a_crl_is_signed_with_a_key_that_vendors_use():
    """One of Ed25519 is sound, and no vendor's: elliptic curves and RSA are all that is asked for."""
    good, strange = issued(authority.ec_key()), ed25519_root()
    chain.check_crl(crl_of(good), good.certificate, "a CRL")
    crl = crl_of(strange)
    assert crl.is_signature_valid(strange.certificate.public_key())
    assert_refused(
        lambda: chain.check_crl(crl, strange.certificate, "a CRL"), Reason.CRL_FORGED, EvidenceForged
    )


def test_an_issuer_whose_key_cannot_be_read_signed_nothing():
    """On a curve that nobody knows: not to know is not to have checked."""
    good = issued(authority.ec_key())
    issuer = chain.parse_der(signed_again(good, SECP384R1, SECP384R1[:-1] + b"\x7f"), "an issuer")
    assert issuer.subject == good.certificate.subject
    crl = crl_of(good)
    assert_refused(lambda: chain.check_crl(crl, issuer, "a CRL"), Reason.CRL_FORGED, EvidenceForged)


def test_a_crl_number_that_cannot_be_read_is_not_0():
    """Only a CRL without the extension counts as 0: else its author could lower it."""
    holder = issued(authority.ec_key())
    assert chain.crl_number(crl_of(holder), "a CRL") == 0
    assert chain.crl_number(crl_of(holder, x509.CRLNumber(7)), "a CRL") == 7
    crl = crl_of(holder, x509.UnrecognizedExtension(CRL_NUMBER, b"\xff"))
    assert_refused(lambda: chain.crl_number(crl, "a CRL"), Reason.COLLATERAL_MALFORMED, EvidenceMalformed)


YEAR_2056 = Window(-9, 2_713_910_400 - NOW)


def test_a_date_that_python_does_not_have_is_malformed():
    """ASN.1 has a year 0: a certificate or a CRL that begins or ends in it is refused, not undated."""
    holder = authority.issue("root", YEAR_2056, NOW, key=authority.ec_key(), issuer=None, extensions=[])
    old, new = b"20560101000000Z", b"00000101000000Z"
    certificate = chain.parse_der(signed_again(holder, old, new), "a certificate")
    assert_refused(
        lambda: list(chain.dates([certificate], "a chain")), Reason.CERTIFICATE_MALFORMED, EvidenceMalformed
    )
    der = authority.crl(holder, [], YEAR_2056, NOW, number=1)
    assert old in der
    crl = chain.parse_crl(der.replace(old, new), "a CRL")
    assert_refused(lambda: chain.crl_dates(crl, "a CRL"), Reason.COLLATERAL_MALFORMED, EvidenceMalformed)


PARSE = "from blindai.attestation import chain; chain.parse_der(sys.stdin.buffer.read(), 'a leaf')"
TRUST = (
    "import blindai.attestation.vendors; from cryptography import x509; "
    "from blindai.attestation.trust import StapledSimulationTrust; "
    "StapledSimulationTrust().accepts('intel', x509.load_der_x509_certificate(sys.stdin.buffer.read()))"
)


@pytest.mark.parametrize("kind", ["serial number 0", "a name that is too long"])
def test_what_the_library_warns_of_does_not_surface(kind):
    """With warnings as errors, as a client may run, a VCEK parses and a strange root ends well."""
    if kind == "serial number 0":
        code, der = PARSE, FakeSnp(now=NOW).leaf_der
    else:
        code, der = TRUST, signed_again(issued(authority.ec_key()), COMMON_NAME, COUNTRY)
    command = [sys.executable, "-W", "error", "-c", f"import sys; {code}"]
    result = subprocess.run(command, input=der, capture_output=True, check=False)
    assert (result.returncode, result.stderr) == (0, b"")
