"""Whose enclave it is: the operator's certificate must have issued this connection's certificate."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from blindai.channel import operator
from blindai.channel.bundle import Peer
from blindai.errors import EvidenceForged, EvidenceMalformed, EvidenceRejected, Reason
from tests.attestation.scene import NOW, TLS, Client, assert_refused, attest, refusal
from tests.attestation.vendor_tricks import der_of, pem_of, with_version
from tests.channel.operators import CA, DAY_SECONDS, Operator, alternative_names, check_of, judged, usage

GENUINE = {
    "openssl req -x509": {},
    "with key usage": {"extensions": (CA, usage(key_cert_sign=True, crl_sign=True))},
    "Ed25519": {"key": ed25519.Ed25519PrivateKey.generate()},
    "P-384": {"key": ec.generate_private_key(ec.SECP384R1())},
    "RSA": {"key": rsa.generate_private_key(public_exponent=65537, key_size=2048)},
    "at most leaves below it": {"extensions": (x509.BasicConstraints(ca=True, path_length=0),)},
}


@pytest.mark.parametrize("name", GENUINE)
def test_a_pinned_operator_is_accepted(tdx, name):
    """Their key issued this certificate and the policy names it: the verdict says whose enclave it is."""
    host = Operator(**GENUINE[name])
    check = check_of(judged(tdx, host.issue(), host.pem, host.pin))
    assert (str(check.outcome), check.found) == ("pass", host.pin)


def test_an_operator_that_nobody_demanded_is_shown_as_unknown(tdx):
    """Their key is told, but it proves nothing to a client that does not know it."""
    host = Operator()
    check = check_of(judged(tdx, host.issue(), host.pem))
    assert (str(check.outcome), check.found) == ("unknown", host.pin)


def test_only_a_pinned_operator_ends_a_proof(tdx):
    """A proof ends with the certificate it rests on, and with no other that a server staples."""
    host = Operator(end=600)
    assert judged(tdx, host.issue(), host.pem, host.pin).not_after == NOW + 600
    assert judged(tdx, host.issue(), host.pem).not_after == NOW + 3600
    assert judged(tdx, host.issue(end=300), host.pem, host.pin).not_after == NOW + 300


def test_another_operator_than_the_pinned_one_is_refused(tdx):
    """A genuine operator, but not yours."""
    host = Operator()
    assert_refused(
        lambda: judged(tdx, host.issue(), host.pem, Operator().pin),
        Reason.OPERATOR_MISMATCH,
        EvidenceRejected,
    )


def test_no_operator_where_one_is_pinned_is_refused(tdx):
    """An unknown that the policy needs is a failure."""
    host = Operator()
    assert_refused(
        lambda: judged(tdx, host.issue(), None, host.pin), Reason.OPERATOR_UNKNOWN, EvidenceRejected
    )


HOST = Operator()
FORGED = {
    "another issuer": (HOST, Operator(name="other.example")),
    "the same name with another key": (HOST, Operator()),
    "not a CA": (not_ca := Operator(extensions=(x509.BasicConstraints(ca=False, path_length=None),)), not_ca),
    "no extensions": (bare := Operator(extensions=()), bare),
    "no keyCertSign": (sign := Operator(extensions=(CA, usage(digital_signature=True))), sign),
    "RSA of 2047 bits": (
        weak := Operator(key=rsa.generate_private_key(public_exponent=65537, key_size=2047)),  # noqa: S505
        weak,
    ),
    "P-521": (odd := Operator(key=ec.generate_private_key(ec.SECP521R1())), odd),
    "Ed448": (odder := Operator(key=ed448.Ed448PrivateKey.generate()), odder),
    "a critical extension that is not judged": (
        bound := Operator(
            extensions=(CA, x509.NameConstraints([x509.DNSName("elsewhere.example")], excluded_subtrees=None))
        ),
        bound,
    ),
    "only cRLSign": (crl := Operator(extensions=(CA, usage(crl_sign=True))), crl),
    "expired": (old := Operator(start=-2 * DAY_SECONDS, end=-1), old),
    "ends now": (ending := Operator(end=0), ending),
    "not yet valid": (new := Operator(start=1), new),
}


@pytest.mark.parametrize("name", FORGED)
def test_an_operator_that_did_not_or_may_not_issue_is_refused(tdx, name):
    """Pinned or not: a certificate that is stapled and does not hold is a forgery."""
    issuer, stapled = FORGED[name]
    for pin in (stapled.pin, None):
        error = refusal(lambda pin=pin: judged(tdx, issuer.issue(), stapled.pem, pin))
        assert (error.reason, type(error)) == (Reason.OPERATOR_FORGED, EvidenceForged)


def test_a_leaf_is_no_operator(tdx):
    """What an operator's own server certificate signs is not signed by the operator."""
    middle = Operator(extensions=())
    middle.certificate = HOST._sign(middle.key.public_key(), middle.name, (), -DAY_SECONDS, DAY_SECONDS)
    error = refusal(lambda: judged(tdx, middle.issue(), middle.pem))
    assert error.reason == Reason.OPERATOR_FORGED


def test_a_chain_is_not_walked(tdx):
    """The pinned key must itself have issued the certificate: whom it delegates to is not asked."""
    middle = Operator(name="middle.example")
    middle.certificate = HOST._sign(middle.key.public_key(), middle.name, (CA,), -DAY_SECONDS, DAY_SECONDS)
    for stapled, reason in (
        (middle.pem, Reason.OPERATOR_MISMATCH),
        (HOST.pem, Reason.OPERATOR_FORGED),
    ):
        error = refusal(lambda stapled=stapled: judged(tdx, middle.issue(), stapled, HOST.pin))
        assert error.reason == reason


def test_a_server_that_issues_its_own_certificate_is_its_own_operator_only(tdx):
    """Anyone can be their own CA; it is not the pinned one."""
    own = Operator(key=TLS.key, name="localhost", extensions=(CA, alternative_names("localhost")))
    assert check_of(judged(tdx, own.issue(), own.pem)).found == own.pin
    error = refusal(lambda: judged(tdx, own.issue(), own.pem, HOST.pin))
    assert error.reason == Reason.OPERATOR_MISMATCH
    assert "is it the right file?" in error.hint
    error = refusal(lambda: judged(tdx, own.certificate, own.pem))
    assert error.reason == Reason.OPERATOR_FORGED


def test_an_operators_certificate_up_to_the_largest_is_read(tdx):
    """16 KiB of PEM, and not one character more."""
    longest = HOST.pem + "\n" * (operator.MAX_CERTIFICATE_BYTES - len(HOST.pem))
    assert check_of(judged(tdx, HOST.issue(), longest)).found == HOST.pin
    error = refusal(lambda: judged(tdx, HOST.issue(), longest + "\n"))
    assert error.reason == Reason.CERTIFICATE_MALFORMED


MALFORMED = {
    "text": "certificate",
    "number": {"certificate": 1},
    "null": {"certificate": None},
    "list": [],
    "empty": {},
    "surplus member": {"certificate": HOST.pem, "key": ""},
    "no PEM": {"certificate": "x"},
    "surrogate": {"certificate": "\ud800"},
    "truncated": {"certificate": pem_of(der_of(HOST.pem)[:-1])},
    "another version": {"certificate": with_version(HOST.pem, 9)},
    "too long": {"certificate": HOST.pem + " " * 16 * 1024},
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_operator_is_refused(tdx, name):
    """One certificate, in one member."""
    peer = Peer.from_certificate("localhost", HOST.issue().public_bytes(Encoding.DER))
    collateral = {"operator": MALFORMED[name]}
    assert_refused(
        lambda: attest(tdx, Client(peer=peer), more_collateral=collateral),
        Reason.CERTIFICATE_MALFORMED,
        EvidenceMalformed,
    )


STRANGE = {
    "unknown key algorithm": lambda der: der.replace(
        bytes.fromhex("2a8648ce3d0201"), bytes.fromhex("2a8648ce3d0207")
    ),
    "unknown curve": lambda der: der.replace(
        bytes.fromhex("2a8648ce3d030107"), bytes.fromhex("2a8648ce3d030105")
    ),
    "unknown signature": lambda der: der.replace(
        bytes.fromhex("2a8648ce3d040302"), bytes.fromhex("2a8648ce3d040309")
    ),
}


@pytest.mark.parametrize("name", STRANGE)
def test_an_operator_with_unknown_algorithms_ends_in_our_own_error(tdx, name):
    """`cryptography` has exceptions outside ValueError for these."""
    strange = pem_of(STRANGE[name](der_of(HOST.pem)))
    try:
        judged(tdx, HOST.issue(), strange, HOST.pin)
    except (EvidenceForged, EvidenceMalformed):
        return
    assert name == "unknown signature"  # its own signature is not what it is trusted for


def test_an_operator_with_an_extension_twice_ends_in_our_own_error(tdx):
    """So has it for duplicate extensions: with the key that issued, this is the operator's own text."""
    alternative = x509.SubjectAlternativeName([x509.DNSName("host.example")])
    key_id = x509.SubjectKeyIdentifier(b"12345678")
    host = Operator(extensions=(CA, alternative, key_id))
    twice = der_of(host.pem).replace(bytes.fromhex("551d0e"), bytes.fromhex("551d11"))
    error = refusal(lambda: judged(tdx, host.issue(), pem_of(twice), host.pin))
    assert isinstance(error, EvidenceForged | EvidenceMalformed)
