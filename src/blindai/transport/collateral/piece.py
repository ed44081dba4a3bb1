"""One published piece: the answer it came in, what is taken from it, and until when it may be kept.

Readers check shape only, so that garbage is reported here and now and is not kept. Whether a signature
holds is the verifier's judgement, each time the collateral is used. A reader raises ValueError, with a text
that quotes nothing of what it read.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

MAX_CHAIN = 3


@dataclass(frozen=True)
class Request:
    """What to ask for. `url` may hold a hardware identifier and `headers` a key: both stay unseen."""

    what: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    interval_seconds: float = 0.0  # the least time between two requests to this service

    @property
    def name(self) -> str:
        """The name under which an answer is kept: tells nothing to who lists the folder."""
        return hashlib.sha256(self.url.encode()).hexdigest()


@dataclass(frozen=True)
class Answer:
    """What a service sent: the body, those headers that are data, and when (Unix seconds)."""

    body: bytes
    headers: Mapping[str, str]
    fetched: int


@dataclass(frozen=True)
class Piece:
    """Members of the collateral, and the Unix seconds until which they are of use (None: for ever)."""

    members: Mapping[str, str]
    until: int | None


def crl(body: bytes) -> x509.CertificateRevocationList:
    """Read a CRL in DER, in PEM, or in the hexadecimal text that a PCCS sends."""
    try:
        if body.startswith(b"-----BEGIN"):
            return x509.load_pem_x509_crl(body)
        if re.fullmatch(rb"\s*(?:[0-9A-Fa-f]{2})+\s*", body):
            body = bytes.fromhex(body.decode("ascii"))
        return x509.load_der_x509_crl(body)
    except (ValueError, x509.InvalidVersion) as exc:
        raise ValueError("it is not a CRL") from exc


def crl_end(revoked: x509.CertificateRevocationList) -> int:
    """Return when a CRL is to be replaced."""
    if revoked.next_update_utc is None:  # ValueError too where a date has the year 0, which ASN.1 allows
        raise ValueError("the CRL does not say when it ends")
    return int(revoked.next_update_utc.timestamp())


def crl_hex(revoked: x509.CertificateRevocationList) -> str:
    return revoked.public_bytes(Encoding.DER).hex()


def chain(pem: bytes) -> tuple[x509.Certificate, ...]:
    """Read the certificates of a PEM chain."""
    try:
        certificates = x509.load_pem_x509_certificates(pem)
    except (ValueError, x509.InvalidVersion) as exc:
        raise ValueError("it is not a chain of PEM certificates") from exc
    if len(certificates) > MAX_CHAIN:
        raise ValueError(f"its chain is longer than {MAX_CHAIN}")
    return tuple(certificates)


def chain_pem(certificates: tuple[x509.Certificate, ...]) -> str:
    """Return the one spelling of a chain that the verifier takes; services differ in line ends."""
    return "".join(certificate.public_bytes(Encoding.PEM).decode("ascii") for certificate in certificates)


def chain_end(certificates: tuple[x509.Certificate, ...]) -> int:
    return min(int(certificate.not_valid_after_utc.timestamp()) for certificate in certificates)
