"""Throw-away certification authorities: every name says that it is a simulation."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from blindai.attestation.trust import SIMULATION_MARK
from blindai.tee.simulated import pki
from blindai.tee.simulated.holder import Holder, PrivateKey
from blindai.tee.simulated.platform import Window

Extension = tuple[x509.ExtensionType, bool]
"""An extension, and whether it is critical."""

CURVES: dict[str, ec.EllipticCurve] = {
    "P-256": ec.SECP256R1(),
    "P-384": ec.SECP384R1(),
    "P-521": ec.SECP521R1(),
}

# AMD signs certificates and CRLs with RSA-PSS, SHA-384 in both places, 48 bytes of salt.
PSS = padding.PSS(mgf=padding.MGF1(hashes.SHA384()), salt_length=48)


def issue(
    role: str,
    window: Window,
    now: int,
    *,
    key: PrivateKey,
    issuer: Holder | None,
    extensions: Sequence[Extension],
    forger: PrivateKey | None = None,
) -> Holder:
    """Issue a certificate, self-signed without `issuer`; a `forger` signs in the name of the issuer."""
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, SIMULATION_MARK),
            x509.NameAttribute(NameOID.COMMON_NAME, f"{SIMULATION_MARK}: {role}"),
        ]
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name if issuer is None else issuer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_moment(now + window.start))
        .not_valid_after(_moment(now + window.end))
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    signer = forger or (key if issuer is None else issuer.key)
    return Holder(builder.sign(signer, hashes.SHA384(), rsa_padding=_padding(signer)), key)


def crl(
    issuer: Holder,
    revoked: Sequence[Holder],
    window: Window,
    now: int,
    *,
    number: int | None,
    forger: PrivateKey | None = None,
) -> bytes:
    """Return a DER CRL that lists the certificates of `revoked`; a `forger` signs in the issuer's name."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(_moment(now + window.start))
        .next_update(_moment(now + window.end))
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), critical=False
        )
    )
    if number is not None:
        builder = builder.add_extension(x509.CRLNumber(number), critical=False)
    for holder in revoked:
        builder = builder.add_revoked_certificate(
            x509.RevokedCertificateBuilder()
            .serial_number(holder.certificate.serial_number)
            .revocation_date(_moment(now + window.start))
            .build()
        )
    signer = forger or issuer.key
    return builder.sign(signer, hashes.SHA384(), rsa_padding=_padding(signer)).public_bytes(Encoding.DER)


def with_serial_zero(holder: Holder, signer: PrivateKey) -> bytes:
    """Return the DER of the same certificate with serial number 0, signed by `signer`.

    The builder refuses that number, rightly; every VCEK of AMD has it, so verifiers have to live with it.
    """
    tbs = holder.certificate.tbs_certificate_bytes
    header = 2 if tbs[1] < 0x80 else 2 + (tbs[1] & 0x7F)
    version, serial = tbs[header : header + 5], header + 5
    rest = tbs[serial + 2 + tbs[serial + 1] :]
    changed = _sequence(version + b"\x02\x01\x00" + rest)
    if not isinstance(signer, rsa.RSAPrivateKey):
        raise TypeError("AMD's authorities have RSA keys")
    signature = signer.sign(changed, PSS, hashes.SHA384())
    whole = holder.der
    algorithm_and_bits = whole[whole.index(tbs) + len(tbs) : -len(signature)]
    return _sequence(changed + algorithm_and_bits + signature)


def ec_key(curve: str = "P-384") -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(CURVES[curve])


@functools.cache
def rsa_key(role: str, bits: int) -> rsa.RSAPrivateKey:
    """Return this process's key for `role`. Keys take long to find; certificates tell the machines apart."""
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def subject_key(key: PrivateKey) -> Extension:
    return x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False


def authority_key(key: PrivateKey) -> Extension:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), False


def basic_constraints(*, is_ca: bool, path_length: int | None = None) -> Extension:
    return x509.BasicConstraints(ca=is_ca, path_length=path_length), True


def key_usage(*uses: str, critical: bool = True) -> Extension:
    """Return a key usage extension with exactly these bits, named as `x509.KeyUsage` names them."""
    return pki.key_usage(*uses), critical


def crl_location() -> Extension:
    # `.invalid` never resolves (RFC 6761): nobody is to fetch a simulation's CRL.
    location = x509.UniformResourceIdentifier("https://simulation.invalid/crl")
    return x509.CRLDistributionPoints([x509.DistributionPoint([location], None, None, None)]), False


def _sequence(content: bytes) -> bytes:
    if len(content) < 0x80:
        return b"\x30" + bytes([len(content)]) + content
    length = len(content).to_bytes((len(content).bit_length() + 7) // 8, "big")
    return b"\x30" + bytes([0x80 | len(length)]) + length + content


def _padding(key: PrivateKey) -> padding.PSS | None:
    return PSS if isinstance(key, rsa.RSAPrivateKey) else None


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
