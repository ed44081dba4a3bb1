"""Identities that an operator issued: when they end, and what a plain TLS client makes of them."""

from __future__ import annotations

import shutil
import socket
import ssl
import threading
import time

import pytest
from cryptography import x509

from blindai.channel.keyset import parse
from blindai.errors import UsageError
from blindai.server.keys.operator import Operator, command
from tests.server.authority import CA, KEY, NAMES, NOW, SIGNS, certificate, identity, openssl, write


def test_an_identity_ends_with_its_operator(tmp_path):
    """Neither the keys nor their certificate outlive the operator's certificate."""
    operator = Operator.load(write(tmp_path, KEY, certificate(KEY, end=2 * 3600)), now=NOW)
    made = identity(operator)
    leaf = x509.load_pem_x509_certificate(made.certificate_pem.encode())
    ends = {made.not_after, parse(made.keyset_raw).not_after, int(leaf.not_valid_after_utc.timestamp())}
    assert ends == {NOW + 2 * 3600} == {operator.not_after}
    assert identity(operator, life=3600).not_after == NOW + 3600
    with pytest.raises(UsageError, match="certificate ended at"):
        identity(operator, now=NOW + 2 * 3600)


def test_an_identity_without_an_operator_signs_its_own_certificate():
    """As before: self-signed, and nobody's certificate beside it."""
    made = identity(None)
    leaf = x509.load_pem_x509_certificate(made.certificate_pem.encode())
    leaf.verify_directly_issued_by(leaf)
    assert made.operator_pem is None


def test_the_leaf_says_who_issued_it_and_which_key(tmp_path):
    """By name and key identifier, whichever way the operator's certificate names its own key."""
    named = certificate(KEY, extensions=(CA, SIGNS, x509.SubjectKeyIdentifier(b"chosen by hand")))
    for number, own in enumerate((named, certificate(KEY))):
        operator = Operator.load(write(tmp_path / str(number), KEY, own), now=NOW)
        made = identity(operator)
        leaf = x509.load_pem_x509_certificate(made.certificate_pem.encode())
        authority = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
        expected = [b"chosen by hand", x509.SubjectKeyIdentifier.from_public_key(KEY.public_key()).digest]
        assert authority.key_identifier == expected[number]
        assert leaf.issuer == own.subject
        assert made.operator_pem == operator.certificate_pem


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """The operator's folder, as the documented command makes it, and an identity that it issued."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("operator")
    openssl(command(folder))
    return folder, identity(Operator.load(folder, now=int(time.time())))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("strict", [False, True])
def test_a_plain_tls_client_takes_it_by_the_operators_certificate(served, name, strict):
    """`cafile=host_server.pem` and the host's name are enough, also in Python 3.13's strict default."""
    folder, made = served
    assert shake_hands(made, client(folder / "host_server.pem", strict=strict), name) == "TLSv1.3"


def test_a_plain_tls_client_refuses_another_name_or_operator(served, tmp_path):
    """What it pins is the operator's key, and the name that it dials."""
    folder, made = served
    with pytest.raises(ssl.SSLCertVerificationError, match="ostname mismatch"):
        shake_hands(made, client(folder / "host_server.pem"), "elsewhere.example")
    subject = Operator.load(folder, now=int(time.time())).certificate.subject
    other = write(tmp_path, KEY, certificate(KEY, subject=subject))
    with pytest.raises(ssl.SSLCertVerificationError, match="verify failed"):
        shake_hands(made, client(other / "host_server.pem"), "localhost")


def client(path, *, strict=False):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cafile=path)
    if strict:
        context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def shake_hands(made, context, name):
    """Return the version that a client and this identity agree on."""
    ours, theirs = socket.socketpair()
    ours.settimeout(20)
    theirs.settimeout(20)

    def serve():
        try:
            with made.context.wrap_socket(theirs, server_side=True) as connection:
                connection.recv(1)
        except OSError:
            theirs.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with context.wrap_socket(ours, server_hostname=name) as connection:
            return connection.version()
    finally:
        ours.close()
        thread.join(20)
