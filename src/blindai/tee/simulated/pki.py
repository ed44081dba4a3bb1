"""The throw-away vendor: root, PCK Platform CA, PCK certificate, TCB signing certificate, CRLs. All P-256.

Every name says that it is a simulation: whoever meets one of these certificates elsewhere can tell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from blindai.attestation.trust import SIMULATION_MARK
from blindai.tee.simulated import holder, sgx_extension
from blindai.tee.simulated.platform import IntelPlatform, Window

# `.invalid` never resolves (RFC 6761): nobody is to fetch a simulation's CRL.
_CRL_URL = "https://simulation.invalid/crl.der"


@dataclass(frozen=True)
class Holder(holder.Holder):
    """One of this vendor, whose keys are all on P-256."""

    key: ec.EllipticCurvePrivateKey

    def sign(self, message: bytes) -> bytes:
        """Return r || s, 32 bytes each, big-endian: the form of quotes and of signed collateral."""
        return sign(self.key, message)


@dataclass(frozen=True)
class Vendor:
    """Everyone who signs something for one machine."""

    root: Holder
    platform_ca: Holder
    pck: Holder
    tcb_signer: Holder

    @property
    def pck_chain_pem(self) -> str:
        return self.pck.pem + self.platform_ca.pem + self.root.pem


def vendor(platform: IntelPlatform, now: int, root: Holder | None = None) -> Vendor:
    """Make a vendor; `root` lets one stay, so that the same anchor vouches for another machine or day."""
    window = platform.certificates
    if root is None:
        root = _issue("Root CA", window, now, issuer=None, path_length=1)
    platform_ca = _issue("PCK Platform CA", window, now, issuer=root, path_length=0)
    pck = _issue(
        "PCK Certificate",
        window,
        now,
        issuer=platform_ca,
        path_length=None,
        extension=x509.UnrecognizedExtension(sgx_extension.OID, sgx_extension.encode(platform)),
    )
    tcb_signer = _issue("TCB Signing", window, now, issuer=root, path_length=None)
    return Vendor(root, platform_ca, pck, tcb_signer)


def crl(issuer: Holder, revoked: Sequence[Holder], *, number: int, window: Window, now: int) -> bytes:
    """Return a DER CRL that lists the certificates of `revoked`."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(_moment(now + window.start))
        .next_update(_moment(now + window.end))
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(_authority_key(issuer.key), critical=False)
    )
    for each in revoked:
        builder = builder.add_revoked_certificate(
            x509.RevokedCertificateBuilder()
            .serial_number(each.certificate.serial_number)
            .revocation_date(_moment(now + window.start))
            .add_extension(x509.CRLReason(x509.ReasonFlags.key_compromise), critical=False)
            .build()
        )
    return builder.sign(issuer.key, hashes.SHA256()).public_bytes(Encoding.DER)


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def sign(key: ec.EllipticCurvePrivateKey, message: bytes) -> bytes:
    """Return r || s, 32 bytes each, big-endian."""
    r, s = decode_dss_signature(key.sign(message, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def raw_public_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return x || y, 32 bytes each, big-endian."""
    point = key.public_key().public_numbers()
    return point.x.to_bytes(32, "big") + point.y.to_bytes(32, "big")


def _issue(
    role: str,
    window: Window,
    now: int,
    *,
    issuer: Holder | None,
    path_length: int | None,
    extension: x509.UnrecognizedExtension | None = None,
) -> Holder:
    """Issue a certificate, self-signed without `issuer`; `path_length=None` means that it is not a CA."""
    key = new_key()
    name = _name(role)
    is_ca = path_length is not None
    uses = ("key_cert_sign", "crl_sign") if is_ca else ("digital_signature", "content_commitment")
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name if issuer is None else issuer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_moment(now + window.start))
        .not_valid_after(_moment(now + window.end))
        # The order and the critical flags are those of the genuine certificates.
        .add_extension(_authority_key(key if issuer is None else issuer.key), critical=False)
        .add_extension(_crl_distribution_point(), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(key_usage(*uses), critical=True)
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=path_length), critical=True)
    )
    if extension is not None:
        builder = builder.add_extension(extension, critical=False)
    signer = key if issuer is None else issuer.key
    return Holder(builder.sign(signer, hashes.SHA256()), key)


def _name(role: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, f"{SIMULATION_MARK}: SGX {role}"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, SIMULATION_MARK),
        ]
    )


def key_usage(*uses: str) -> x509.KeyUsage:
    """Return a key usage with exactly these bits, named as `x509.KeyUsage` names them."""
    every = (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
        "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    )  # fmt: skip
    return x509.KeyUsage(**{use: use in uses for use in every})


def _authority_key(issuer: ec.EllipticCurvePrivateKey) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key())


def _crl_distribution_point() -> x509.CRLDistributionPoints:
    return x509.CRLDistributionPoints(
        [x509.DistributionPoint([x509.UniformResourceIdentifier(_CRL_URL)], None, None, None)]
    )


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
