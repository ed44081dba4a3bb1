"""Verification of Intel TDX evidence: from bytes to claims. Judging the claims is `tdx_policy`.

1. parse the quote: version, TEE type, every length, nothing but zeros behind it
2. everything that Intel evidence has in common (`intel.evidence`)
3. claims are taken from what was verified
4. an event log, if there is one, replays to the RTMRs of those claims
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from blindai.attestation.intel import event_log, evidence
from blindai.attestation.intel.evidence import IntelClaims
from blindai.attestation.intel.quote import parse_tdx
from blindai.attestation.trust import Trust

TEE = "tdx"
MEASUREMENTS = (
    "mrtd", "rtmr0", "rtmr1", "rtmr2", "rtmr3", "mrseam", "mrconfigid", "mrowner", "mrownerconfig",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class TdxClaims(IntelClaims):
    """What verified TDX evidence says. Field names are Intel's; digests are 48 bytes.

    `events` are the digests measured into each RTMR, where a log was stapled that replays to them.
    """

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
    events: Mapping[str, frozenset[bytes]] | None
    tee: str = TEE

    @property
    def measurements(self) -> Mapping[str, bytes]:
        return {name: getattr(self, name) for name in MEASUREMENTS}


def verify(quote: bytes, collateral: Any, *, trust: Trust, now: int) -> TdxClaims:
    """Verify a TDX quote with its stapled collateral at Unix time `now`, or raise AttestationError."""
    parsed = parse_tdx(quote)  # 1
    verified = evidence.verify(parsed, collateral, tee=TEE, trust=trust, now=now)  # 2
    report = verified.report
    body = report["TD15"]["base"] if "TD15" in report else report["TD10"]
    rtmrs = {name: bytes.fromhex(body[f"rt_{name.removeprefix('rt')}"]) for name in event_log.REGISTERS}
    log = verified.event_log
    return TdxClaims(  # 3
        mrtd=bytes.fromhex(body["mr_td"]),
        rtmr0=rtmrs["rtmr0"],
        rtmr1=rtmrs["rtmr1"],
        rtmr2=rtmrs["rtmr2"],
        rtmr3=rtmrs["rtmr3"],
        mrseam=bytes.fromhex(body["mr_seam"]),
        mrconfigid=bytes.fromhex(body["mr_config_id"]),
        mrowner=bytes.fromhex(body["mr_owner"]),
        mrownerconfig=bytes.fromhex(body["mr_owner_config"]),
        td_attributes=bytes.fromhex(body["td_attributes"]),
        xfam=bytes.fromhex(body["xfam"]),
        report_data=bytes.fromhex(body["report_data"]),
        events=None if log is None else event_log.measured(log, rtmrs),  # 4
        **vars(verified.platform),
    )
