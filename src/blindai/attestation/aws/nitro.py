"""Verification of AWS Nitro evidence: from bytes to claims. Judging the claims is `nitro_policy`.

1. parse the document: COSE_Sign1 with ES384, sizes, types, no duplicate keys, no bytes behind
2. no collateral is stapled: a document carries its certificates
3. the first certificate of the CA bundle is the trusted root
4. each certificate is issued by the next, and the leaf may issue none
5. the leaf's key, on P-384, signed the document
6. every certificate is valid now (the leaf lives three hours)
7. the enclave is not in debug mode: its PCRs would be zero

Not proven here: that the user data are ours, that the PCRs are the right ones, that the document is recent.
AWS publishes no revocation list for this chain.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA384

from blindai.attestation import chain
from blindai.attestation.aws import document
from blindai.attestation.aws.document import Document
from blindai.attestation.trust import Trust, fingerprint, unknown_root
from blindai.attestation.types import Floor
from blindai.errors import EvidenceForged, EvidenceMalformed, EvidenceRejected, Reason

TEE = "nitro"


@dataclass(frozen=True, kw_only=True)
class NitroClaims:
    """What a verified document says. `pcrs` are 48 bytes each; `timestamp` is Unix seconds, AWS's clock."""

    pcrs: Mapping[int, bytes]
    timestamp: int
    user_data: bytes | None
    nonce: bytes | None
    public_key: bytes | None
    root_sha256: str
    not_after: int
    simulated: bool
    tee: str = TEE

    @property
    def report_data(self) -> bytes:
        """The user data, if they are all that the enclave had signed; else nothing, which no binding equals.

        A nonce or a public key beside them was signed for another protocol.
        """
        if self.nonce is not None or self.public_key is not None:
            return b""
        return self.user_data or b""

    @property
    def platform(self) -> str:
        return self.root_sha256

    @property
    def freshness(self) -> Floor:
        return Floor()

    @property
    def measurements(self) -> Mapping[str, bytes]:
        return {f"pcr{index}": value for index, value in sorted(self.pcrs.items())}

    @property
    def verified(self) -> Mapping[str, str]:
        return {
            "chain": "every certificate is issued by the next, up to the pinned root",
            "signature": "the hypervisor's key signed the document",
            "debug": "off",
        }


def verify(evidence: bytes, collateral: Any, *, trust: Trust, now: int) -> NitroClaims:
    """Verify a Nitro document at Unix time `now`, or raise AttestationError."""
    parsed = document.parse(evidence)  # 1
    if collateral is not None:  # 2
        raise EvidenceMalformed(
            Reason.COLLATERAL_MALFORMED, "a Nitro document carries its certificates: nothing can be stapled"
        )
    certificates = _chain(parsed)
    root = certificates[-1]
    if not trust.accepts("aws", root):  # 3
        raise unknown_root("AWS", trust)
    chain.check_issued([certificates], "the Nitro chain")  # 4
    chain.check_not_authority(certificates[0], "the leaf of the Nitro chain")
    _check_signature(parsed, certificates[0])  # 5
    not_after = chain.check_dates(chain.dates(certificates, "the Nitro chain"), now)  # 6
    if not any(parsed.pcrs[0]):  # 7
        raise EvidenceRejected(
            Reason.DEBUG_ENABLED, "the enclave runs in debug mode: its console shows everything"
        )
    return NitroClaims(
        pcrs=parsed.pcrs,
        timestamp=parsed.timestamp,
        user_data=parsed.user_data,
        nonce=parsed.nonce,
        public_key=parsed.public_key,
        root_sha256=fingerprint(root),
        not_after=not_after,
        simulated=trust.simulated,
    )


def _chain(parsed: Document) -> tuple[x509.Certificate, ...]:
    """Return leaf, intermediates and root: the bundle comes root first."""
    ders = (parsed.certificate, *reversed(parsed.cabundle))
    return tuple(chain.parse_der(der, "a certificate of the Nitro document") for der in ders)


def _check_signature(parsed: Document, leaf: x509.Certificate) -> None:
    try:
        key = leaf.public_key()
        if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP384R1):
            raise EvidenceMalformed(
                Reason.CERTIFICATE_MALFORMED, "the key of the Nitro document's leaf is not on P-384"
            )
        key.verify(encode_dss_signature(parsed.r, parsed.s), parsed.signed, ec.ECDSA(SHA384()))
    except InvalidSignature as exc:
        raise EvidenceForged(
            Reason.SIGNATURE_INVALID, "the document was not signed by its leaf certificate's key"
        ) from exc
    except chain.UNREADABLE as exc:
        raise EvidenceMalformed(
            Reason.CERTIFICATE_MALFORMED, "the key of the Nitro document's leaf cannot be read"
        ) from exc
