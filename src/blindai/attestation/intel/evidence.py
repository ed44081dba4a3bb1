"""Verification of Intel evidence, SGX and TDX: from a parsed quote to what its signatures say.

1. the collateral is parsed, within its caps
2. TCB info and QE identity are those of this TEE
3. one trusted root ends all four certificate chains
4. every chain holds, and both CRLs are signed by the authority that they speak for
5. every signed text, CRL and certificate is valid now
6. no CRL lists the platform or an issuer
7. the TCB signing certificate, and no other, comes with TCB info and QE identity
8. the enclave or trust domain is not in debug mode
9. `dcap-qvl` verifies TCB info, QE identity, QE report and the quote's signature, and finds the TCB level
10. claims are taken from what it verified, never from the parse of the quote

Not proven here: that the report data are ours, that the measurements are the right ones, that the TCB
level is good enough. A TCB status of OutOfDate is a claim like any other until it is appraised.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding

from blindai.attestation import chain
from blindai.attestation.intel import collateral as intel_collateral
from blindai.attestation.intel import dcap
from blindai.attestation.intel.quote import Quote
from blindai.attestation.trust import Trust, fingerprint
from blindai.attestation.types import Floor
from blindai.errors import EvidenceRejected, Reason

# "Undefined" (single-socket platforms): the feature is absent, not hidden. Any other word that `dcap-qvl` may
# come to use counts as present.
_ABSENT = ("False", "Undefined")


@dataclass(frozen=True, kw_only=True)
class IntelClaims:
    """What verified Intel evidence says about the platform, whatever runs on it."""

    tee: str
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

    @property
    def platform(self) -> str:
        # Intel numbers TCB info of SGX and of TDX apart.
        return f"{self.root_sha256}/{self.tee}-{self.fmspc}"

    @property
    def verified(self) -> Mapping[str, str]:
        return {
            "chain": "every certificate is issued by the next, up to the pinned root",
            "revocation": "no CRL lists the platform's certificate or an issuer",
            "signature": "the quoting enclave signed the quote, and the platform's key the quoting enclave",
            "debug": "off",
        }


@dataclass(frozen=True)
class Verified:
    """The report that the platform signed, in `dcap-qvl`'s JSON, what is known of the platform, an event log.

    `event_log` is as the server sent it: nothing vouches for it until it replays to a signed RTMR.
    """

    report: Mapping[str, Any]
    platform: IntelClaims
    event_log: bytes | None


def verify(quote: Quote, collateral: Any, *, tee: str, trust: Trust, now: int) -> Verified:
    """Verify a quote with its stapled collateral at Unix time `now`, or raise AttestationError."""
    stapled = intel_collateral.parse(collateral)  # 1
    pck_chain = intel_collateral.certificates(quote.pck_chain_pem.removesuffix(b"\0"))
    intel_collateral.check_tee(stapled, tee)  # 2
    root = intel_collateral.trusted_root((*stapled.chains, pck_chain), trust)  # 3
    intel_collateral.check_signatures(stapled, pck_chain, root)  # 4
    not_after = chain.check_dates(intel_collateral.validity(stapled, pck_chain), now)  # 5
    intel_collateral.check_revocation(stapled, pck_chain)  # 6
    intel_collateral.check_signers(stapled)  # 7
    if quote.debug:  # 8
        raise EvidenceRejected(
            Reason.DEBUG_ENABLED, f"the {tee} guest runs in debug mode: its host can read everything"
        )
    root_der = root.public_bytes(Encoding.DER)
    verified = dcap.verify(quote.signed, stapled.members, root_der=root_der, now=now)  # 9
    pck = verified["platform"]["pck"]
    platform = IntelClaims(  # 10
        tee=tee,
        tcb_status=verified["tcb"]["status"],
        advisories=tuple(verified["tcb"]["advisory_ids"]),
        tcb_evaluation=verified["tcb"]["eval_data_number"],
        dynamic_platform=pck["dynamic_platform"] not in _ABSENT,
        cached_keys=pck["cached_keys"] not in _ABSENT,
        smt=pck["smt_enabled"] not in _ABSENT,
        fmspc=bytes(pck["fmspc"]).hex(),
        root_sha256=fingerprint(root),
        freshness=intel_collateral.freshness(stapled),
        not_after=not_after,
        simulated=trust.simulated,
    )
    return Verified(verified["report"], platform, stapled.event_log)
