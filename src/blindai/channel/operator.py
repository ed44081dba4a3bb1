"""Whose enclave it is: the operator's certificate issued the certificate of this connection (design 4.6).

The evidence proves what runs, the operator's key who runs it. The server staples its operator's
certificate; it counts only if its key signed the very certificate that ended this connection, for the names
and within the life of the keyset, and it is accepted only if the policy pins that key. A thief of the
operator's key reads nothing, but could present another accepted enclave as the operator's.
"""

from __future__ import annotations

import hashlib
import ipaddress
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtensionOID, SignatureAlgorithmOID

from blindai.attestation.types import Collateral
from blindai.channel.keyset import Keyset
from blindai.errors import EvidenceForged, EvidenceMalformed, Reason
from blindai.wire import strict_json

MEMBER = "operator"
MAX_CERTIFICATE_BYTES = 16 * 1024
MIN_RSA_BITS = 2048

_UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)


def spki_sha256(certificate: x509.Certificate) -> str:
    """Return the hexadecimal SHA-256 of the certificate's SubjectPublicKeyInfo."""
    spki = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(spki).hexdigest()


@dataclass(frozen=True)
class Shown:
    """The operator who issued a certificate: the key (SPKI SHA-256, hexadecimal).

    `not_after` (Unix seconds) is the first end of the two certificates.
    """

    spki_sha256: str
    not_after: int


def shown_by(collateral: Collateral, leaf: x509.Certificate, *, keyset: Keyset, now: int) -> Shown | None:
    """Return the operator who issued `leaf` for this keyset, or None if none is shown.

    Raises EvidenceForged if one is shown that did not issue it, may not have, or issued it for other names
    or times. Which of the keyset's names counts is appraised with the rest.
    """
    stapled = collateral.get(MEMBER)
    if stapled is None:
        return None
    issuer = _certificate(stapled)
    flaw = flaw_of(issuer)
    if flaw:
        raise _forged(flaw)
    if issuer.issuer == issuer.subject and not _issued(issuer, issuer):
        raise _forged("was changed: it names itself as its issuer, and did not sign itself")
    if not _issued(issuer, leaf):
        raise _forged("did not issue the certificate of this connection")
    if not _valid(issuer, now):
        raise _forged("is not valid at this time", hint=_CLOCK)
    flaw = _flaw_of_leaf(leaf, keyset)
    if flaw:
        raise _forged(f"issued this connection's certificate, but that {flaw}")
    if not _valid(leaf, now):
        raise _forged("issued this connection's certificate, but that is not valid at this time", hint=_CLOCK)
    return Shown(spki_sha256(issuer), min(_end(issuer), _end(leaf)))


_CLOCK = "check this computer's clock, and the server's"


def flaw_of(certificate: x509.Certificate) -> str:
    """Return why this certificate cannot be an operator's, dates aside; "" if it can."""
    try:
        if not sound_key(certificate.public_key()):
            return f"has a key that is neither RSA of {MIN_RSA_BITS} bits or more, P-256, P-384 nor Ed25519"
        authority = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        if _unjudged(certificate):
            return "has a critical extension that is not judged here"
    except x509.ExtensionNotFound:
        authority = False
    except _UNREADABLE:
        return "has a key or an extension that cannot be read"
    if not authority:
        return "is not a certificate authority's (CA:TRUE)"
    try:
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return ""  # `openssl req -x509` writes none, and RFC 5280 then restricts nothing
    return "" if usage.key_cert_sign else "may not sign certificates (keyUsage without keyCertSign)"


def _certificate(stapled: Any) -> x509.Certificate:
    try:
        text = strict_json.members(stapled, "operator", {"certificate"})["certificate"]
        if not isinstance(text, str) or len(text) > MAX_CERTIFICATE_BYTES:
            raise ValueError("not a certificate")
        certificate = x509.load_pem_x509_certificate(text.encode())
        # Read here, where a year that Python does not have, or a name in no alphabet, is one more malformed
        # certificate.
        _ = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        _ = certificate.issuer, certificate.subject
    except (ValueError, TypeError, x509.InvalidVersion) as exc:
        raise EvidenceMalformed(
            Reason.CERTIFICATE_MALFORMED, "the operator's stapled certificate is malformed"
        ) from exc
    return certificate


def sound_key(key: object) -> bool:
    """Return whether an operator's public key is of a kind and size that clients take."""
    if isinstance(key, rsa.RSAPublicKey):
        return key.key_size >= MIN_RSA_BITS  # OpenSSL itself bounds them from above
    if isinstance(key, ec.EllipticCurvePublicKey):
        return isinstance(key.curve, ec.SECP256R1 | ec.SECP384R1)
    return isinstance(key, ed25519.Ed25519PublicKey)


def _issued(issuer: x509.Certificate, leaf: x509.Certificate) -> bool:
    try:
        leaf.verify_directly_issued_by(issuer)
        # Who finds two texts with one SHA-1 makes an innocent signature speak of a key of his own.
        return leaf.signature_algorithm_oid == SignatureAlgorithmOID.ED25519 or isinstance(
            leaf.signature_hash_algorithm, hashes.SHA256 | hashes.SHA384 | hashes.SHA512
        )
    except (*_UNREADABLE, InvalidSignature):
        return False


def _flaw_of_leaf(leaf: x509.Certificate, keyset: Keyset) -> str:
    try:
        _ = leaf.not_valid_before_utc
        if _end(leaf) > keyset.not_after:
            return "ends later than the server's keys"
        extensions = leaf.extensions
        names = _names(extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
        if not names.issuperset(keyset.names):
            return "does not list the names of this server"
        if _unjudged(leaf):
            return "has a critical extension that is not judged here"
        authority = extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound as exc:
        missing = exc.oid == ExtensionOID.SUBJECT_ALTERNATIVE_NAME
        return "lists no names" if missing else ""
    except _UNREADABLE:
        return "cannot be read"
    return "is an authority's itself" if authority else ""


def _names(alternative: x509.SubjectAlternativeName) -> set[str]:
    """Return the names as a keyset writes them: lower case, addresses in their shortest form.

    Wildcards stand for nothing: a keyset has none, so that none of its names equals one.
    """
    hosts = {name.lower() for name in alternative.get_values_for_type(x509.DNSName)}
    addresses = alternative.get_values_for_type(x509.IPAddress)
    single = (ipaddress.IPv4Address, ipaddress.IPv6Address)
    return hosts | {str(address) for address in addresses if isinstance(address, single)}


# RFC 5280: whoever meets a critical extension that he does not know refuses the certificate. Constraints on
# names, for one, would otherwise be passed over.
_JUDGED = (ExtensionOID.BASIC_CONSTRAINTS, ExtensionOID.KEY_USAGE, ExtensionOID.SUBJECT_ALTERNATIVE_NAME)


def _unjudged(certificate: x509.Certificate) -> bool:
    return any(extension.critical and extension.oid not in _JUDGED for extension in certificate.extensions)


def _valid(certificate: x509.Certificate, now: int) -> bool:
    return certificate.not_valid_before_utc.timestamp() <= now < _end(certificate)


def _end(certificate: x509.Certificate) -> int:
    return int(certificate.not_valid_after_utc.timestamp())


def _forged(what: str, *, hint: str = "") -> EvidenceForged:
    return EvidenceForged(Reason.OPERATOR_FORGED, f"the stapled operator certificate {what}", hint=hint)
