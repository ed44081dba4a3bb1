"""The certificates behind a report: ARK, ASK or ASVK, and the leaf for one chip, or cloud, at one TCB.

AMD numbers every VCEK 0, so that no CRL can name one: a CRL of the ARK lists signing keys (ASK, ASVK) and
VLEKs. A chip whose key leaked shows as a TCB version below the policy's floor.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from blindai.attestation import chain
from blindai.attestation.amd import product as products
from blindai.attestation.amd.product import TCB_BYTES, Product
from blindai.attestation.chain import Dated
from blindai.attestation.types import Floor
from blindai.errors import EvidenceForged, EvidenceMalformed, EvidenceRejected, Reason
from blindai.wire import strict_json

MAX_COLLATERAL_BYTES = 256 * 1024
_AMD = "1.3.6.1.4.1.3704.1."
_PRODUCT, _HWID, _CSP_ID = "2", "4", "5"
_SPL = "3."
# The number of each TCB component's extension; those that are not here fill the bytes between, in order.
_COMPONENTS = {"bootloader": 1, "tee": 2, "snp": 3, "microcode": 8, "fmc": 9}
_SPARE = (4, 5, 6, 7)


@dataclass(frozen=True)
class Endorsement:
    """Parsed collateral; nothing in it is verified. `chain` is leaf, ASK or ASVK, ARK."""

    chain: tuple[x509.Certificate, ...]
    crl: x509.CertificateRevocationList | None
    leaf: Leaf


@dataclass(frozen=True)
class Leaf:
    """What the leaf says in AMD's extensions. `hwid` is None for a VLEK: it is of a cloud, not a chip."""

    product: Product
    tcb: bytes
    hwid: bytes | None
    key: ec.EllipticCurvePublicKey


def parse(value: Any) -> Endorsement:
    """Read the `amd` member of an answer's collateral, or raise EvidenceMalformed."""
    if value is None:
        raise EvidenceMalformed(
            Reason.COLLATERAL_MISSING, "the server stapled no AMD certificates to its evidence"
        )
    try:
        fields = strict_json.members(value, "amd collateral", {"leaf", "issuer_chain"}, frozenset({"crl"}))
        if not all(isinstance(text, str) for text in fields.values()):
            raise ValueError("a member is not a string")
        if sum(map(len, fields.values())) > MAX_COLLATERAL_BYTES:
            raise EvidenceMalformed(
                Reason.COLLATERAL_TOO_LARGE, f"the AMD collateral exceeds {MAX_COLLATERAL_BYTES} bytes"
            )
        crl = bytes.fromhex(fields["crl"]) if "crl" in fields else None
    except ValueError as exc:
        raise EvidenceMalformed(
            Reason.COLLATERAL_MALFORMED, f"the AMD collateral is malformed: {exc}"
        ) from exc
    (leaf,) = _certificates(fields["leaf"], "AMD's leaf certificate", count=1)
    issuers = _certificates(fields["issuer_chain"], "AMD's issuer chain", count=2)
    return Endorsement(
        chain=(leaf, *issuers),
        crl=None if crl is None else chain.parse_crl(crl, "AMD's CRL"),
        leaf=_leaf(leaf),
    )


def _certificates(pem: str, what: str, *, count: int) -> tuple[x509.Certificate, ...]:
    certificates = chain.parse_pem(pem.encode("utf-8", "replace"), what, max_certificates=count)
    if len(certificates) != count:
        raise _malformed(f"{what} has {len(certificates)} certificates, not {count}")
    return certificates


def _leaf(certificate: x509.Certificate) -> Leaf:
    try:
        values = {
            extension.oid.dotted_string.removeprefix(_AMD): extension.value.value
            for extension in certificate.extensions
            if isinstance(extension.value, x509.UnrecognizedExtension)
        }
        key = certificate.public_key()
    except chain.UNREADABLE as exc:
        raise _malformed("AMD's leaf certificate cannot be read") from exc
    product = products.from_certificate(_ia5_string(values.get(_PRODUCT)))
    if product is None:
        raise _malformed("AMD's leaf certificate names no known product")
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP384R1):
        raise _malformed("the key of AMD's leaf certificate is not on P-384")
    hwid = values.get(_HWID)
    if (hwid is None) == (_CSP_ID not in values):
        raise _malformed("AMD's leaf certificate is neither of a chip (VCEK) nor of a cloud (VLEK)")
    if hwid is not None and len(hwid) != product.hwid_bytes:
        raise _malformed("the chip's id in AMD's leaf certificate has another size than its product's")
    return Leaf(product, _tcb(product, values), hwid, key)


def _tcb(product: Product, values: Mapping[str, bytes]) -> bytes:
    """Return the TCB version that the leaf is for, in the byte order of the product's reports."""
    version = bytearray(TCB_BYTES)
    for name, offset in product.tcb_offsets.items():
        version[offset] = _small_integer(values.get(f"{_SPL}{_COMPONENTS[name]}"))
    between = [offset for offset in range(TCB_BYTES) if offset not in product.tcb_offsets.values()]
    # Milan has four spare numbers (4 to 7), Turin three (5 to 7): the last ones fill the bytes in order.
    for number, offset in zip(_SPARE[-len(between) :], between, strict=True):
        version[offset] = _small_integer(values.get(f"{_SPL}{number}"))
    return bytes(version)


def _small_integer(der: bytes | None) -> int:
    """Read a DER INTEGER from 0 to 255."""
    if der is not None and len(der) == 3 and der[:2] == b"\x02\x01" and der[2] < 0x80:
        return der[2]
    if der is not None and len(der) == 4 and der[:3] == b"\x02\x02\x00" and der[3] >= 0x80:
        return der[3]
    raise _malformed("AMD's leaf certificate lacks a TCB number")


def _ia5_string(der: bytes | None) -> str:
    if der is None or len(der) < 2 or der[0] != 0x16 or der[1] != len(der) - 2:
        raise _malformed("AMD's leaf certificate names no product")
    return der[2:].decode("ascii", "replace")


def validity(endorsement: Endorsement) -> Iterator[Dated]:
    """Yield when the CRL and every certificate are valid."""
    if endorsement.crl is not None:
        yield chain.crl_dates(endorsement.crl, "AMD's CRL")
    yield from chain.dates(endorsement.chain, "AMD's chain")


def check_signatures(endorsement: Endorsement) -> None:
    """Raise EvidenceForged unless the chain holds and the ARK signed the CRL."""
    chain.check_issued([endorsement.chain], "AMD's chain")
    if _is_asvk(endorsement.chain[1]) != (endorsement.leaf.hwid is None):
        raise EvidenceForged(
            Reason.SIGNING_KEY_MISMATCH, "AMD's authority for one kind of key (VCEK, VLEK) issued the other"
        )
    if endorsement.crl is not None:
        chain.check_crl(endorsement.crl, endorsement.chain[-1], "AMD's CRL")


def _is_asvk(issuer: x509.Certificate) -> bool:
    """Whether this is the authority for VLEKs (named SEV-VLEK-Milan), not that for VCEKs (SEV-Milan)."""
    try:
        names = issuer.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    except chain.UNREADABLE:
        return False
    return any("VLEK" in str(name.value) for name in names)


def check_revocation(endorsement: Endorsement) -> None:
    """Raise EvidenceRejected if the CRL lists the leaf or its issuer."""
    if endorsement.crl is None:
        return
    leaf, *issuers = endorsement.chain
    if chain.lists(endorsement.crl, leaf):
        raise EvidenceRejected(Reason.CERTIFICATE_REVOKED, "AMD revoked the key that signed the report")
    if any(chain.lists(endorsement.crl, issuer) for issuer in issuers):
        raise EvidenceRejected(Reason.ISSUER_REVOKED, "AMD revoked the issuer of this platform's key")


def check_leaf(leaf: Leaf, *, reported_tcb: bytes, chip_id: bytes) -> None:
    """Raise EvidenceForged unless the leaf is for this chip (VCEK) at this TCB version."""
    if leaf.tcb != reported_tcb:
        raise EvidenceForged(
            Reason.LEAF_TCB_MISMATCH, "the leaf certificate is for another TCB version than the report's"
        )
    if leaf.hwid is not None and leaf.hwid.ljust(products.CHIP_ID_BYTES, b"\0") != chip_id:
        raise EvidenceForged(
            Reason.CHIP_MISMATCH, "the leaf certificate is for another chip than the report's"
        )


def freshness(crl: x509.CertificateRevocationList | None) -> Floor:
    """Return the numbers that only ever grow; without a CRL there are none."""
    if crl is None:
        return Floor()
    return Floor(
        root_crl=chain.crl_number(crl, "AMD's CRL"), root_crl_date=int(crl.last_update_utc.timestamp())
    )


def _malformed(what: str) -> EvidenceMalformed:
    return EvidenceMalformed(Reason.CERTIFICATE_MALFORMED, what)
