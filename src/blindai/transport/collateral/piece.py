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
    """What to ask for. `url` may hold a hardware identifier and `headers` a key: both stay unseen.

    `about` is what the answer depends on and the URL does not say: the machine that asks.
    """

    what: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    interval_seconds: float = 0.0  # the least time between two requests to this service
    about: bytes = field(default=b"", repr=False)

    @property
    def name(self) -> str:
        """The name under which an answer is kept: tells nothing to who lists the folder."""
        about = b" " + self.about if self.about else b""  # no URL has a blank
        return hashlib.sha256(self.url.encode() + about).hexdigest()


@dataclass(frozen=True)
class Answer:
    """What a service sent: the body, those headers that are data, and when (Unix seconds)."""

    body: bytes
    headers: Mapping[str, str]
    fetched: int


@dataclass(frozen=True)
class Piece:
    """Members of the collateral, and the Unix seconds until which they are of use (None: for ever).

    `settled_until` is until when a vendor has no other to give: nobody is asked again before. `version` holds
    numbers that only ever grow, in the pieces of one name: one that is less is an older piece.
    """

    members: Mapping[str, str]
    until: int | None
    settled_until: int | None = None
    version: tuple[int, ...] = ()

    def holds(self, now: int) -> bool:
        return self.until is None or now < self.until

    def is_settled(self, now: int) -> bool:
        """Whether even a refresh need not ask for it."""
        return self.until is None or (
            self.holds(now) and self.settled_until is not None and now < self.settled_until
        )

    def is_due(self, now: int) -> bool:
        """Whether it is to be asked for again, though it may hold."""
        return not self.holds(now) or (self.settled_until is not None and now >= self.settled_until)

    def is_older(self, other: Piece) -> bool:
        return any(mine < its for mine, its in zip(self.version, other.version, strict=False))


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


def crl_version(revoked: x509.CertificateRevocationList) -> tuple[int, int]:
    """Return the number and the date of a CRL, which grow with each issue; 0 where it has no number."""
    try:
        number = revoked.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    except x509.ExtensionNotFound:
        number = 0
    except (x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as exc:
        raise ValueError("the CRL's number cannot be read") from exc
    return number, int(revoked.last_update_utc.timestamp())


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
