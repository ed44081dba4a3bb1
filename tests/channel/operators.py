"""Operators and the certificates that they issue for this connection, right and wrong."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from blindai.channel import operator
from blindai.channel.bundle import Peer
from tests.attestation.scene import NOW, TLS, Client, attest, policy_of

DAY_SECONDS = 24 * 3600
CA = x509.BasicConstraints(ca=True, path_length=None)


def usage(**allowed):
    names = (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
        "key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    )  # fmt: skip
    return x509.KeyUsage(**{name: allowed.get(name, False) for name in names})


class Operator:
    """Who runs the server: a certificate as `openssl req -x509` makes it, unless told otherwise."""

    def __init__(
        self, *, key=None, name="host.example", extensions=(CA,), start=-DAY_SECONDS, end=DAY_SECONDS
    ):
        self.key = key or ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.certificate = self._sign(self.key.public_key(), self.name, extensions, start, end)

    def issue(self, *extensions, names=("localhost",), start=-DAY_SECONDS, end=DAY_SECONDS, digest=None):
        """Return a certificate for this connection's TLS key, for the names and the life of its keyset."""
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
        if names:
            extensions = (alternative_names(*names), *extensions)
        return self._sign(TLS.key.public_key(), name, extensions, start, end, digest)

    @property
    def pem(self):
        return self.certificate.public_bytes(Encoding.PEM).decode()

    @property
    def pin(self):
        return operator.spki_sha256(self.certificate)

    def _sign(self, key, subject, extensions, start, end, digest=None):
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(datetime.fromtimestamp(NOW + start, UTC))
            .not_valid_after(datetime.fromtimestamp(NOW + end, UTC))
        )
        for extension in extensions:
            builder = builder.add_extension(extension, critical=True)
        edwards = isinstance(self.key, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey)
        return builder.sign(self.key, None if edwards else digest or hashes.SHA256())


def alternative_names(*names):
    return x509.SubjectAlternativeName([general_name(name) for name in names])


def general_name(name):
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def judged(tdx, leaf, stapled, pin=None, **lies):
    """Attest a server with this certificate that staples this operator."""
    policy = policy_of(tdx, tables=f'[operator]\nspki_sha256 = ["{pin}"]' if pin else "")
    peer = Peer.from_certificate("localhost", leaf.public_bytes(Encoding.DER))
    collateral = {} if stapled is None else {"operator": {"certificate": stapled}}
    return attest(tdx, Client(policy=policy, peer=peer), more_collateral=collateral, **lies)


def check_of(attested):
    return next(check for check in attested.verdict.checks if check.claim == "operator")
