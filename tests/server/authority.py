"""Operators' certificates as openssl makes them, and wrong ones that it would not."""

from __future__ import annotations

import shutil
import subprocess
import time
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from blindai.channel.keyset import Software
from blindai.server.keys.identity import new_identity

NOW = int(time.time())
DAY = 24 * 3600
CA = x509.BasicConstraints(ca=True, path_length=None)
SUBJECT = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Example Ltd")])
NAMES = ("localhost", "127.0.0.1", "::1", "inference.example")

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")


def openssl(line):
    done = subprocess.run(line, shell=True, capture_output=True, text=True, check=False)  # noqa: S602
    assert done.returncode == 0, done.stderr


def usage(*allowed):
    names = (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
        "key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    )  # fmt: skip
    return x509.KeyUsage(**{name: name in allowed for name in names})


SIGNS = usage("key_cert_sign", "crl_sign")


def certificate(key, *, subject=SUBJECT, extensions=(CA, SIGNS), start=-DAY, end=30 * DAY, issuer=None):
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer or subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.fromtimestamp(NOW + start, UTC))
        .not_valid_after(datetime.fromtimestamp(NOW + end, UTC))
    )
    for extension in extensions:
        critical = not isinstance(extension, x509.SubjectKeyIdentifier)
        builder = builder.add_extension(extension, critical=critical)
    edwards = isinstance(key, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey)
    return builder.sign(key, None if edwards else hashes.SHA256())


def key_pem(key, encryption=None):
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption())


def write(folder, key, *certificates, key_text=None):
    folder.mkdir(exist_ok=True)
    (folder / "host_server.pem").write_bytes(
        b"".join(each.public_bytes(Encoding.PEM) for each in certificates)
    )
    (folder / "host_server.key").write_bytes(key_pem(key) if key_text is None else key_text)
    (folder / "host_server.key").chmod(0o600)
    return folder


def identity(operator, *, now=NOW, life=DAY):
    return new_identity(
        NAMES,
        now=now,
        life_seconds=life,
        software=Software("1", "0" * 64),
        settings={},
        simulated=True,
        operator=operator,
    )


KEY = ec.generate_private_key(ec.SECP256R1())
