"""Verification of Intel SGX evidence: from bytes to claims. Judging the claims is `sgx_policy`.

1. parse the quote: version, TEE type, every length, nothing but zeros behind it
2. everything that Intel evidence has in common (`intel.evidence`)
3. claims are taken from what was verified
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from blindai.attestation.intel import evidence
from blindai.attestation.intel.evidence import IntelClaims
from blindai.attestation.intel.quote import parse_sgx
from blindai.attestation.trust import Trust
from blindai.errors import EvidenceMalformed, Reason

TEE = "sgx"
MEASUREMENTS = ("mr_enclave", "mr_signer", "config_id")


@dataclass(frozen=True, kw_only=True)
class SgxClaims(IntelClaims):
    """What verified SGX evidence says. Field names are Intel's; `attributes_*` are 8 bytes, as in the report.

    `config_id` (64 bytes) and `config_svn` are set by whoever launches an enclave with key separation and
    sharing: code may depend on them, so that `mr_enclave` alone does not say what runs.
    """

    mr_enclave: bytes
    mr_signer: bytes
    config_id: bytes
    config_svn: int
    isv_prod_id: int
    isv_svn: int
    attributes_flags: bytes
    attributes_xfrm: bytes
    misc_select: bytes
    report_data: bytes
    tee: str = TEE

    @property
    def measurements(self) -> Mapping[str, bytes]:
        return {name: getattr(self, name) for name in MEASUREMENTS}


def verify(quote: bytes, collateral: Any, *, trust: Trust, now: int) -> SgxClaims:
    """Verify an SGX quote with its stapled collateral at Unix time `now`, or raise AttestationError."""
    parsed = parse_sgx(quote)  # 1
    verified = evidence.verify(parsed, collateral, tee=TEE, trust=trust, now=now)  # 2
    if verified.event_log is not None:
        raise EvidenceMalformed(Reason.COLLATERAL_MALFORMED, "an event log means nothing beside an SGX quote")
    body = verified.report["SgxEnclave"]
    attributes = bytes.fromhex(body["attributes"])
    return SgxClaims(  # 3
        mr_enclave=bytes.fromhex(body["mr_enclave"]),
        mr_signer=bytes.fromhex(body["mr_signer"]),
        config_id=bytes.fromhex(body["reserved3"])[32:],  # bytes 160 to 255 of the report; CONFIGID from 192
        config_svn=int.from_bytes(bytes.fromhex(body["reserved4"])[:2], "little"),  # bytes 260 and 261
        isv_prod_id=body["isv_prod_id"],
        isv_svn=body["isv_svn"],
        attributes_flags=attributes[:8],
        attributes_xfrm=attributes[8:],
        misc_select=body["misc_select"].to_bytes(4, "little"),
        report_data=bytes.fromhex(body["report_data"]),
        **vars(verified.platform),
    )
