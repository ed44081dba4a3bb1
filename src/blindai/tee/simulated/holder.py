"""Who holds a certificate of a simulated vendor, and what a machine with a throw-away root tells of it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True)
class Holder:
    """A certificate and the private key it speaks of."""

    certificate: x509.Certificate
    key: PrivateKey

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(Encoding.PEM).decode("ascii")

    @property
    def sha256(self) -> str:
        """The fingerprint by which a client opts in: SHA-256 of the DER certificate, in hexadecimal."""
        return hashlib.sha256(self.der).hexdigest()


class Rooted:
    """A machine with a throw-away root; another machine may reuse it."""

    root: Holder

    @property
    def root_der(self) -> bytes:
        return self.root.der

    @property
    def root_pem(self) -> str:
        return self.root.pem

    @property
    def root_sha256(self) -> str:
        """The fingerprint by which a client opts in: SHA-256 of the DER certificate, in hexadecimal."""
        return self.root.sha256
