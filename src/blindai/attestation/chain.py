"""X.509 chains and revocation lists, whatever the vendor: who issued what, until when, and is it revoked.

`cryptography` compares names and checks signatures (`verify_directly_issued_by`); it does not look at dates,
CA flags or path lengths. Those are checked here. A chain is a sequence of certificates, leaf first.
"""

from __future__ import annotations

import functools
import itertools
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.utils import CryptographyDeprecationWarning

from blindai.attestation.times import shown
from blindai.errors import EvidenceForged, EvidenceMalformed, EvidenceRejected, Reason

# AMD numbers every VCEK 0, which `cryptography` mentions at each parse. For this package only, and once: the
# list of filters is the process's, `catch_warnings` around each parse would race with other threads.
warnings.filterwarnings(
    "ignore",
    message="Parsed a serial number which wasn't positive",
    category=CryptographyDeprecationWarning,
    module=r"blindai\.attestation\.",
)
# Likewise of names that are longer than their kind allows: whoever staples a root chooses its name.
warnings.filterwarnings("ignore", message="Attribute's length must be", module=r"blindai\.attestation\.")

# What `cryptography` raises when it meets bytes that are no certificate, key, extension or signature.
UNREADABLE = (
    ValueError,
    TypeError,
    InvalidSignature,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)


@dataclass(frozen=True)
class Dated:
    """Something with an end. `expired` is the reason for refusing it after `not_after` (Unix seconds)."""

    what: str
    not_before: int
    not_after: int
    expired: Reason = Reason.CERTIFICATE_EXPIRED
    early: Reason = Reason.CERTIFICATE_NOT_YET_VALID


def parse_pem(pem: bytes, what: str, *, max_certificates: int) -> tuple[x509.Certificate, ...]:
    """Read a PEM chain and nothing else, or raise EvidenceMalformed."""
    try:
        chain = x509.load_pem_x509_certificates(pem)
        # Readers of PEM disagree about labels and about text in between: one spelling, or two programs would
        # judge two different chains.
        if b"".join(certificate.public_bytes(Encoding.PEM) for certificate in chain) != pem:
            raise ValueError("text around or inside the certificates")
    except UNREADABLE as exc:
        raise _malformed(f"{what} cannot be read") from exc
    if len(chain) > max_certificates:
        raise _malformed(f"{what} has more than {max_certificates} certificates")
    return tuple(chain)


def parse_der(der: bytes, what: str) -> x509.Certificate:
    """Read one DER certificate and nothing else, or raise EvidenceMalformed."""
    try:
        certificate = x509.load_der_x509_certificate(der)
        if certificate.public_bytes(Encoding.DER) != der:
            raise ValueError("another encoding of the same certificate")
    except UNREADABLE as exc:
        raise _malformed(f"{what} cannot be read") from exc
    return certificate


def check_issued(chains: Iterable[Sequence[x509.Certificate]], what: str) -> None:
    """Raise EvidenceForged unless each is issued by the next, which is an authority.

    What a root says of itself proves nothing: it is trusted by its fingerprint (`trust`), or not at all.
    """
    # Chains share certificates: every pair, and every place of an authority, is checked once.
    issued: dict[tuple[x509.Certificate, x509.Certificate], None] = {}
    authorities: dict[x509.Certificate, int] = {}
    for chain in chains:
        issued |= dict.fromkeys(itertools.pairwise(chain))
        for below, authority in enumerate(chain[1:]):
            authorities[authority] = max(below, authorities.get(authority, 0))
    if not all(_issued_by(subject, issuer) for subject, issuer in issued):
        raise _forged(f"a certificate of {what} was not issued by the one that follows it")
    if not all(_may_issue(authority, below) for authority, below in authorities.items()):
        raise _forged(f"a certificate of {what} was issued by one that may not issue it")


# Whether one certificate signed another never changes, and a vendor's authorities are the same for all of its
# platforms: the last few are remembered, by all bytes of both. Dates and revocation are judged every time.
@functools.lru_cache(maxsize=32)
def _issued_by(subject: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        subject.verify_directly_issued_by(issuer)
    except UNREADABLE:
        return False
    return True


def _may_issue(authority: x509.Certificate, below: int) -> bool:
    """Whether it is a CA that may have `below` other CAs beneath it."""
    try:
        extensions = authority.extensions
        constraints = extensions.get_extension_for_class(x509.BasicConstraints).value
        usage = extensions.get_extension_for_class(x509.KeyUsage).value
    except (*UNREADABLE, x509.ExtensionNotFound):
        return False
    longest = constraints.path_length
    return constraints.ca and usage.key_cert_sign and (longest is None or below <= longest)


def check_not_authority(certificate: x509.Certificate, what: str) -> None:
    """Raise EvidenceForged if the certificate may issue others: a vendor's signing key is no authority."""
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        return
    except UNREADABLE as exc:
        raise _malformed(f"{what} cannot be read") from exc
    if constraints.ca:
        raise _forged(f"{what} is an authority's")


def dates(certificates: Iterable[x509.Certificate], what: str) -> Iterator[Dated]:
    """Yield when each certificate is valid."""
    for certificate in dict.fromkeys(certificates):
        try:
            start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        except UNREADABLE as exc:  # ASN.1 has a year 0, Python has none
            raise _malformed(f"a date of a certificate of {what} cannot be read") from exc
        yield Dated(f"a certificate of {what}", int(start.timestamp()), int(end.timestamp()))


def crl_dates(crl: x509.CertificateRevocationList, what: str) -> Dated:
    """Return when a CRL may be used, or raise EvidenceMalformed: one without an end lasts for ever."""
    try:
        start, end = crl.last_update_utc, crl.next_update_utc
    except UNREADABLE as exc:  # ASN.1 has a year 0, Python has none
        raise EvidenceMalformed(Reason.COLLATERAL_MALFORMED, f"a date of {what} cannot be read") from exc
    if end is None:
        raise EvidenceMalformed(Reason.COLLATERAL_MALFORMED, f"{what} does not say when it ends")
    return Dated(
        what,
        int(start.timestamp()),
        int(end.timestamp()),
        expired=Reason.CRL_EXPIRED,
        early=Reason.COLLATERAL_NOT_YET_VALID,
    )


def check_dates(pieces: Iterable[Dated], now: int) -> int:
    """Return the first end (Unix seconds), or raise EvidenceRejected unless every piece is valid at `now`."""
    ends = []
    for piece in pieces:
        if now < piece.not_before:
            raise EvidenceRejected(
                piece.early,
                f"{piece.what} is valid from {shown(piece.not_before)}, the clock says {shown(now)}",
                hint="check this computer's clock",
            )
        if now >= piece.not_after:
            raise EvidenceRejected(
                piece.expired,
                f"{piece.what} was valid until {shown(piece.not_after)}, the clock says {shown(now)}",
                hint="the server must refresh what it staples; check this computer's clock too",
            )
        ends.append(piece.not_after)
    return min(ends)


def parse_crl(der: bytes, what: str) -> x509.CertificateRevocationList:
    """Read a DER CRL, or raise EvidenceMalformed."""
    try:
        return x509.load_der_x509_crl(der)
    except UNREADABLE as exc:
        raise EvidenceMalformed(Reason.COLLATERAL_MALFORMED, f"{what} cannot be read") from exc


def check_crl(crl: x509.CertificateRevocationList, issuer: x509.Certificate, what: str) -> None:
    """Raise EvidenceForged unless `issuer` signed the list."""
    try:
        key = issuer.public_key()
        signed = (
            isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey)
            and crl.issuer == issuer.subject
            and crl.is_signature_valid(key)
        )
    except UNREADABLE:
        signed = False
    if not signed:
        raise EvidenceForged(Reason.CRL_FORGED, f"{what} is not signed by the authority that it speaks for")


def lists(crl: x509.CertificateRevocationList, certificate: x509.Certificate) -> bool:
    """Whether the CRL revokes the certificate."""
    try:
        return crl.get_revoked_certificate_by_serial_number(certificate.serial_number) is not None
    except UNREADABLE:
        return True  # an entry that cannot be read may be this one


def crl_number(crl: x509.CertificateRevocationList, what: str) -> int:
    """Return the number that grows with each issue; 0 where the CRL has none."""
    try:
        return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    except x509.ExtensionNotFound:
        return 0
    except UNREADABLE as exc:
        raise EvidenceMalformed(Reason.COLLATERAL_MALFORMED, f"{what} cannot be read") from exc


def _malformed(what: str) -> EvidenceMalformed:
    return EvidenceMalformed(Reason.CERTIFICATE_MALFORMED, what)


def _forged(what: str) -> EvidenceForged:
    return EvidenceForged(Reason.CHAIN_INVALID, what)
