"""Verification of Intel evidence, SGX and TDX: from a parsed quote to what its signatures say.

1. to 7. collateral and certificate chains hold now, under a trusted root (`intel.vetted`)
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

from blindai.attestation.intel import requoted, vetted
from blindai.attestation.intel.quote import Quote
from blindai.attestation.trust import Trust
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
    pem = quote.pck_chain_pem.removesuffix(b"\0")
    held, not_after = vetted.vet(collateral, pem, tee=tee, trust=trust, now=now)  # 1 to 7
    if quote.debug:  # 8
        raise EvidenceRejected(
            Reason.DEBUG_ENABLED, f"the {tee} guest runs in debug mode: its host can read everything"
        )
    verified = requoted.verify(quote, held, now=now)  # 9
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
        root_sha256=held.root_sha256,
        freshness=held.freshness,
        not_after=not_after,
        simulated=trust.simulated,
    )
    return Verified(verified["report"], platform, held.collateral.event_log)
