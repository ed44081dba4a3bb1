"""A TLS key and certificate for a fake server."""

from __future__ import annotations

import hashlib
import ipaddress
import os
import ssl
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import NameOID

from blindai.tee.simulated import pki

_DAY_SECONDS = 24 * 3600


@dataclass(frozen=True)
class TlsIdentity:
    """A P-256 key and a certificate for it."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @classmethod
    def make(
        cls,
        *names: str,
        issuer: TlsIdentity | None = None,
        is_authority: bool = False,
        now: int | None = None,
        key: ec.EllipticCurvePrivateKey | None = None,
    ) -> TlsIdentity:
        """Make a certificate for `names` (hosts or IP addresses), valid for a day on either side of `now`.

        Self-signed without `issuer`. `is_authority` makes an operator's certificate, which may issue others.
        `key` reuses a key under another certificate.
        """
        key = ec.generate_private_key(ec.SECP256R1()) if key is None else key
        moment = int(time.time()) if now is None else now
        uses = ("digital_signature", *(("key_cert_sign", "crl_sign") if is_authority else ()))
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0] if names else "localhost")])
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name if issuer is None else issuer.certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(datetime.fromtimestamp(moment - _DAY_SECONDS, UTC))
            .not_valid_after(datetime.fromtimestamp(moment + _DAY_SECONDS, UTC))
            .add_extension(_alternative_names(names or ("localhost",)), critical=False)
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .add_extension(pki.key_usage(*uses), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(
                    (key if issuer is None else issuer.key).public_key()
                ),
                critical=False,
            )
        )
        signer = key if issuer is None else issuer.key
        return cls(key, builder.sign(signer, hashes.SHA256()))

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(Encoding.PEM).decode("ascii")

    @property
    def spki_sha256(self) -> bytes:
        """SHA-256 of the DER SubjectPublicKeyInfo, as a keyset names it."""
        return hashlib.sha256(
            self.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        ).digest()

    def load_into(self, context: ssl.SSLContext) -> None:
        """Give key and certificate to a context."""
        # `ssl` reads keys from paths only: a private file, gone when this returns.
        key = self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "identity.pem")
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(key + self.pem.encode("ascii"))
            context.load_cert_chain(path)


def _alternative_names(names: Sequence[str]) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName([_general_name(name) for name in names])


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
