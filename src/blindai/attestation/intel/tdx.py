"""Verification of Intel TDX evidence: from bytes to claims. Judging the claims is `tdx_policy`.

1. parse the quote: version, TEE type, every length, nothing but zeros behind it
2. parse the collateral, within its caps
3. one trusted root ends all four certificate chains
4. every certificate, CRL and signed text is valid now
5. no CRL lists the platform or an issuer
6. the trust domain is not in debug mode
7. `dcap-qvl` verifies chains, CRLs, TCB info, QE identity, QE report and the quote's signature
8. the TCB signing certificate signed TCB info and QE identity: `dcap-qvl` takes any leaf under the root
9. claims are taken from what it verified, never from step 1

Not proven here: that the report data are ours, that the measurements are the right ones, that the TCB
level is good enough. A TCB status of OutOfDate is a claim like any other until it is appraised.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding

from blindai.attestation.intel import collateral as intel_collateral
from blindai.attestation.intel import quote as tdx_quote
from blindai.attestation.trust import Trust, fingerprint
from blindai.attestation.types import Floor
from blindai.errors import AttestationError, EvidenceForged, EvidenceRejected, Reason

TEE = "tdx"
MEASUREMENTS = (
    "mrtd", "rtmr0", "rtmr1", "rtmr2", "rtmr3", "mrseam", "mrconfigid", "mrowner", "mrownerconfig",
)  # fmt: skip


@dataclass(frozen=True)
class TdxClaims:
    """What verified TDX evidence says. Field names are Intel's; digests are 48 bytes."""

    mrtd: bytes
    rtmr0: bytes
    rtmr1: bytes
    rtmr2: bytes
    rtmr3: bytes
    mrseam: bytes
    mrconfigid: bytes
    mrowner: bytes
    mrownerconfig: bytes
    td_attributes: bytes
    xfam: bytes
    report_data: bytes
    tcb_status: str
    advisories: tuple[str, ...]
    tcb_evaluation: int
    dynamic_platform: bool
    cached_keys: bool
    smt: bool
    fmspc: str
    root_sha256: str
    freshness: Floor
    not_after: int
    simulated: bool
    tee: str = TEE

    @property
    def platform(self) -> str:
        return f"{self.root_sha256}/{self.fmspc}"

    @property
    def measurements(self) -> Mapping[str, bytes]:
        return {name: getattr(self, name) for name in MEASUREMENTS}


def verify(evidence: bytes, collateral: Any, *, trust: Trust, now: int) -> TdxClaims:
    """Verify a TDX quote with its stapled collateral at Unix time `now`, or raise AttestationError."""
    quote = tdx_quote.parse(evidence)  # 1
    stapled = intel_collateral.parse(collateral)  # 2
    pck_chain = intel_collateral.certificates(quote.pck_chain_pem.removesuffix(b"\0"))
    root = intel_collateral.trusted_root((*stapled.chains, pck_chain), trust)  # 3
    valid = intel_collateral.window(stapled, pck_chain)
    intel_collateral.check_dates(valid, now)  # 4
    intel_collateral.check_revocation(stapled, pck_chain)  # 5
    if quote.debug:  # 6
        raise EvidenceRejected(
            Reason.DEBUG_ENABLED, "the trust domain runs in debug mode: its host can read everything"
        )
    verified = _dcap_verify(quote.signed, stapled.text, root.public_bytes(Encoding.DER), now)  # 7
    intel_collateral.check_signers(stapled)  # 8
    return _claims(  # 9
        verified,
        root_sha256=fingerprint(root),
        freshness=intel_collateral.freshness(stapled),
        not_after=valid.not_after,
        simulated=trust.simulated,
    )


def _dcap_verify(quote: bytes, collateral: str, root_der: bytes, now: int) -> dict[str, Any]:
    # Imported here: a client that meets no Intel evidence need not load 7 MB.
    import dcap_qvl  # noqa: PLC0415

    try:
        # `claims_only` leaves the judgement of the TCB level to our policy; everything cryptographic, and
        # debug, profiling, migration and service domains, it refuses by itself.
        claims = dcap_qvl.QuoteVerifier(root_der).verify_with_policy(
            quote,
            dcap_qvl.QuoteCollateralV3.from_json(collateral),
            now,
            dcap_qvl.QuotePolicy.claims_only(now),
        )
        verified: dict[str, Any] = json.loads(claims.to_json())
    except ValueError as exc:
        raise _refusal(str(exc)) from exc
    return verified


# Words in dcap-qvl's messages that tell refusals apart. This only names the reason of a refusal that has
# already happened; a message that is not listed is a bad signature. Nothing is ever accepted by text.
_REFUSALS: tuple[tuple[str, Reason, type[AttestationError]], ...] = (
    ("No matching TCB level", Reason.TCB_UNKNOWN, EvidenceRejected),
    ("TCB status is invalid", Reason.TCB_REVOKED, EvidenceRejected),
    ("Revoked", Reason.TCB_REVOKED, EvidenceRejected),
    ("Debug", Reason.DEBUG_ENABLED, EvidenceRejected),
    ("SEPT_VE_DISABLE", Reason.PLATFORM_UNSUPPORTED, EvidenceRejected),
    ("service TD", Reason.PLATFORM_UNSUPPORTED, EvidenceRejected),
    ("migration", Reason.PLATFORM_UNSUPPORTED, EvidenceRejected),
    ("Reserved bits", Reason.PLATFORM_UNSUPPORTED, EvidenceRejected),
    ("PKS", Reason.PLATFORM_UNSUPPORTED, EvidenceRejected),
    ("non-TDX TCB info", Reason.COLLATERAL_MISMATCH, EvidenceForged),
    ("Unsupported QE Identity", Reason.COLLATERAL_MISMATCH, EvidenceForged),
    ("Fmspc mismatch", Reason.COLLATERAL_MISMATCH, EvidenceForged),
    ("FMSPC mismatch", Reason.COLLATERAL_MISMATCH, EvidenceForged),
)


def _refusal(message: str) -> AttestationError:
    for words, reason, kind in _REFUSALS:
        if words in message:
            return kind(reason, f"the TDX evidence is refused: {message}")
    return EvidenceForged(Reason.SIGNATURE_INVALID, f"the TDX evidence does not verify: {message}")


def _claims(
    verified: dict[str, Any], *, root_sha256: str, freshness: Floor, not_after: int, simulated: bool
) -> TdxClaims:
    report = verified["report"]
    body = report["TD15"]["base"] if "TD15" in report else report["TD10"]
    pck = verified["platform"]["pck"]
    return TdxClaims(
        mrtd=bytes.fromhex(body["mr_td"]),
        rtmr0=bytes.fromhex(body["rt_mr0"]),
        rtmr1=bytes.fromhex(body["rt_mr1"]),
        rtmr2=bytes.fromhex(body["rt_mr2"]),
        rtmr3=bytes.fromhex(body["rt_mr3"]),
        mrseam=bytes.fromhex(body["mr_seam"]),
        mrconfigid=bytes.fromhex(body["mr_config_id"]),
        mrowner=bytes.fromhex(body["mr_owner"]),
        mrownerconfig=bytes.fromhex(body["mr_owner_config"]),
        td_attributes=bytes.fromhex(body["td_attributes"]),
        xfam=bytes.fromhex(body["xfam"]),
        report_data=bytes.fromhex(body["report_data"]),
        tcb_status=verified["tcb"]["status"],
        advisories=tuple(verified["tcb"]["advisory_ids"]),
        tcb_evaluation=verified["tcb"]["eval_data_number"],
        # "Undefined" (single-socket platforms) is not "True": the feature is absent, not hidden.
        dynamic_platform=pck["dynamic_platform"] == "True",
        cached_keys=pck["cached_keys"] == "True",
        smt=pck["smt_enabled"] == "True",
        fmspc=bytes(pck["fmspc"]).hex(),
        root_sha256=root_sha256,
        freshness=freshness,
        not_after=not_after,
        simulated=simulated,
    )
