"""Verification of AMD SEV-SNP evidence: from bytes to claims. Judging the claims is `snp_policy`.

1. parse the report: length, version, signature algorithm, reserved bytes, guest policy
2. parse the collateral, within its caps: leaf (VCEK or VLEK), ASK or ASVK, ARK, CRL
3. the processor that the report tells of (version 3 and later) is of the leaf's product
4. the leaf is of the kind that the report says signed it
5. the ARK is the trusted root of that product
6. each certificate is issued by the next, and the leaf by the authority for its kind (ASK or ASVK); the ARK
   signed the CRL
7. CRL and certificates are valid now
8. the CRL, if there is one, lists neither leaf nor issuer
9. the leaf is for the report's TCB version (`reported_tcb`) and, if a VCEK, for its chip
10. the leaf's key signed the report
11. the guest is not in debug mode

Not proven here: that the report data are ours, that the measurement is the right one, that the TCB version
is high enough (AMD signs no verdict on it), that nothing is revoked if there is no CRL.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA384

from blindai.attestation import chain
from blindai.attestation.amd import endorsement, product, report
from blindai.attestation.amd.endorsement import Leaf
from blindai.attestation.amd.report import Report
from blindai.attestation.trust import Trust, fingerprint, unknown_root
from blindai.attestation.types import Floor
from blindai.errors import EvidenceForged, EvidenceRejected, Reason

TEE = "sev-snp"
MEASUREMENTS = ("measurement", "host_data", "id_key_digest", "author_key_digest")


@dataclass(frozen=True, kw_only=True)
class SnpClaims:
    """What verified SEV-SNP evidence says. Field names are AMD's; each TCB is by component.

    `chip_id` names one processor for life: it is never shown.
    """

    product: str
    version: int
    measurement: bytes
    host_data: bytes
    id_key_digest: bytes
    author_key_digest: bytes
    report_data: bytes
    guest_svn: int
    guest_policy: frozenset[str]
    platform_info: frozenset[str]
    vmpl: int
    mitigations: int
    tcbs: Mapping[str, Mapping[str, int]]
    signing_key: str
    revocation_checked: bool
    root_sha256: str
    freshness: Floor
    not_after: int
    simulated: bool
    chip_id: bytes = field(repr=False)
    tee: str = TEE

    @property
    def platform(self) -> str:
        return f"{self.root_sha256}/{self.product}"

    @property
    def measurements(self) -> Mapping[str, bytes]:
        return {name: getattr(self, name) for name in MEASUREMENTS}

    @property
    def verified(self) -> Mapping[str, str]:
        shown = {
            "chain": "every certificate is issued by the next, up to the pinned root of the product",
            "signature": f"the {self.signing_key} signed the report, for this chip and TCB version"
            if self.signing_key == "vcek"
            else "the vlek signed the report, for this TCB version; it names a cloud, not a chip",
            "debug": "off",
        }
        if self.revocation_checked:
            shown["revocation"] = "AMD's CRL lists neither the leaf nor an issuer"
        return shown


def verify(evidence: bytes, collateral: Any, *, trust: Trust, now: int) -> SnpClaims:
    """Verify a report with its stapled certificates at Unix time `now`, or raise AttestationError."""
    parsed = report.parse(evidence)  # 1
    stapled = endorsement.parse(collateral)  # 2
    leaf = stapled.leaf
    _check_product(parsed, leaf)  # 3
    _check_kind(parsed, leaf)  # 4
    root = stapled.chain[-1]
    if not trust.accepts(leaf.product.vendor, root):  # 5
        raise unknown_root(f"AMD {leaf.product.name}", trust)
    endorsement.check_signatures(stapled)  # 6
    not_after = chain.check_dates(endorsement.validity(stapled), now)  # 7
    endorsement.check_revocation(stapled)  # 8
    endorsement.check_leaf(leaf, reported_tcb=parsed.reported_tcb, chip_id=parsed.chip_id)  # 9
    _check_signature(parsed, leaf)  # 10
    if "debug" in parsed.guest_policy:  # 11
        raise EvidenceRejected(
            Reason.DEBUG_ENABLED, "the guest's policy allows debugging: its host can read everything"
        )
    return SnpClaims(
        product=leaf.product.name,
        version=parsed.version,
        measurement=parsed.measurement,
        host_data=parsed.host_data,
        id_key_digest=parsed.id_key_digest,
        author_key_digest=parsed.author_key_digest,
        report_data=parsed.report_data,
        guest_svn=parsed.guest_svn,
        guest_policy=parsed.guest_policy,
        platform_info=parsed.platform_info,
        vmpl=parsed.vmpl,
        mitigations=parsed.mitigations,
        tcbs=_tcbs(parsed, leaf.product),
        signing_key=report.SIGNING_KEYS[parsed.signing_key],
        revocation_checked=stapled.crl is not None,
        root_sha256=fingerprint(root),
        freshness=endorsement.freshness(stapled.crl),
        not_after=not_after,
        simulated=trust.simulated,
        chip_id=parsed.chip_id,
    )


def _check_product(parsed: Report, leaf: Leaf) -> None:
    # Bytes of a TCB version mean something else on another product: a chip must not pass for one of those.
    if parsed.cpuid is not None and product.from_cpuid(*parsed.cpuid) != leaf.product:
        raise EvidenceForged(
            Reason.PRODUCT_MISMATCH,
            f"the report is not of a {leaf.product.name} processor, as its leaf certificate says",
        )


def _check_kind(parsed: Report, leaf: Leaf) -> None:
    kind = report.VLEK if leaf.hwid is None else report.VCEK
    if parsed.signing_key != kind:
        raise EvidenceForged(
            Reason.SIGNING_KEY_MISMATCH,
            f"the report says that a {report.SIGNING_KEYS[parsed.signing_key]} signed it, "
            f"the stapled leaf is a {report.SIGNING_KEYS[kind]}",
        )


def _check_signature(parsed: Report, leaf: Leaf) -> None:
    try:
        leaf.key.verify(encode_dss_signature(parsed.r, parsed.s), parsed.signed, ec.ECDSA(SHA384()))
    except InvalidSignature as exc:
        raise EvidenceForged(
            Reason.SIGNATURE_INVALID, "the report was not signed by the leaf certificate's key"
        ) from exc


def _tcbs(parsed: Report, of: product.Product) -> Mapping[str, Mapping[str, int]]:
    return {
        "reported_tcb": of.components(parsed.reported_tcb),
        "current_tcb": of.components(parsed.current_tcb),
        "committed_tcb": of.components(parsed.committed_tcb),
        "launch_tcb": of.components(parsed.launch_tcb),
    }
