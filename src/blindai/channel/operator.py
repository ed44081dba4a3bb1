"""Whose enclave it is: the operator's certificate issued the certificate of this connection (design 4.6).

The evidence proves what runs, the operator's key who runs it. The server staples its operator's
certificate; it counts only if its key signed the very certificate that ended this connection, and it is
accepted only if the policy pins that key. A thief of the operator's key reads nothing, but could present
another accepted enclave as the operator's.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from blindai.attestation.types import Collateral
from blindai.errors import EvidenceForged, EvidenceMalformed, Reason
from blindai.wire import strict_json

MEMBER = "operator"
MAX_CERTIFICATE_BYTES = 16 * 1024


def spki_sha256(certificate: x509.Certificate) -> str:
    """Return the hexadecimal SHA-256 of the certificate's SubjectPublicKeyInfo."""
    spki = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(spki).hexdigest()


@dataclass(frozen=True)
class Shown:
    """The operator who issued a certificate: the key (SPKI SHA-256, hexadecimal), and Unix seconds."""

    spki_sha256: str
    not_after: int


def shown_by(collateral: Collateral, leaf: x509.Certificate, *, now: int) -> Shown | None:
    """Return the operator who issued `leaf`, or None if none is shown.

    Raises EvidenceForged if one is shown that did not issue it or may not have.
    """
    stapled = collateral.get(MEMBER)
    if stapled is None:
        return None
    issuer = _certificate(stapled)
    try:
        leaf.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm) as exc:
        raise _forged("did not issue the certificate of this connection") from exc
    if not _may_issue(issuer):
        raise _forged("is not a certificate authority (CA:TRUE, keyCertSign)")
    if not issuer.not_valid_before_utc.timestamp() <= now < issuer.not_valid_after_utc.timestamp():
        raise _forged("is not valid at this time")
    return Shown(spki_sha256(issuer), int(issuer.not_valid_after_utc.timestamp()))


def _certificate(stapled: Any) -> x509.Certificate:
    try:
        text = strict_json.members(stapled, "operator", {"certificate"})["certificate"]
        if not isinstance(text, str) or len(text) > MAX_CERTIFICATE_BYTES:
            raise ValueError("not a certificate")
        certificate = x509.load_pem_x509_certificate(text.encode())
        # Read here, where a year that Python does not have is one more malformed certificate.
        _ = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    except (ValueError, x509.InvalidVersion) as exc:
        raise EvidenceMalformed(
            Reason.CERTIFICATE_MALFORMED, "the operator's stapled certificate is malformed"
        ) from exc
    return certificate


def _may_issue(issuer: x509.Certificate) -> bool:
    try:
        if not issuer.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            return False
    except (x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType, ValueError):
        return False
    try:
        return issuer.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    except x509.ExtensionNotFound:
        return True  # `openssl req -x509` writes none, and RFC 5280 then restricts nothing


def _forged(what: str) -> EvidenceForged:
    return EvidenceForged(Reason.OPERATOR_FORGED, f"the stapled operator certificate {what}")
