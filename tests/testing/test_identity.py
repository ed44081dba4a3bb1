from __future__ import annotations

import hashlib
import ssl
import tempfile
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from blindai.testing import TlsIdentity


def test_the_key_is_named_as_a_keyset_names_it():
    """`spki_sha256` is the digest of the public key in the certificate."""
    identity = TlsIdentity.make("localhost")
    spki = identity.certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert identity.spki_sha256 == hashlib.sha256(spki).digest()


def test_an_operator_issues_a_leaf():
    """A certificate made with `issuer` is signed by it, and one made without is not."""
    operator = TlsIdentity.make("operator", is_authority=True)
    TlsIdentity.make("localhost", issuer=operator).certificate.verify_directly_issued_by(operator.certificate)
    stranger = TlsIdentity.make("operator")
    with pytest.raises(InvalidSignature):
        stranger.certificate.verify_directly_issued_by(operator.certificate)


def test_a_key_can_have_two_certificates():
    """With `key=` the same key gets another certificate."""
    first = TlsIdentity.make("localhost")
    second = TlsIdentity.make("localhost", key=first.key)
    assert first.spki_sha256 == second.spki_sha256
    assert first.certificate != second.certificate


def test_no_key_is_left_on_disk(tmp_path, monkeypatch):
    """Loading a context leaves no file behind."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    TlsIdentity.make("localhost").load_into(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    assert list(Path(tmp_path).iterdir()) == []
