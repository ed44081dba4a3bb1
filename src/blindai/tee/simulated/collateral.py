"""What the simulated vendor publishes about the machine: signed TCB info and QE identity, CRLs, chains.

The result has the nine members, and their encodings, of the collateral that `dcap-qvl` reads.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from blindai.tee.simulated import pki, tcb
from blindai.tee.simulated.platform import IntelPlatform, Platform, Window
from blindai.tee.simulated.quoting import QE_MRSIGNER

_TCB_DATE = "2024-11-13T00:00:00Z"
_OLDER_TCB_DATE = "2024-03-13T00:00:00Z"
# Those of the quoting enclave under the mask, as the genuine vendor publishes them.
_QE_ATTRIBUTES = "11000000000000000000000000000000"
_QE_ATTRIBUTES_MASK = "FBFFFFFFFFFFFFFF0000000000000000"


def publish(platform: IntelPlatform, vendor: pki.Vendor, now: int, *, renewals: int = 0) -> dict[str, str]:
    """Return the machine's collateral as of `now`; the numbers of both CRLs grow with `renewals`."""
    tcb_info = _tcb_info(platform, now)
    if platform.edit_tcb_info is not None:
        platform.edit_tcb_info(tcb_info)
    qe_identity = _qe_identity(platform, now)
    if platform.edit_qe_identity is not None:
        platform.edit_qe_identity(qe_identity)
    tcb_info_text, tcb_info_signature = _signed(tcb_info, vendor.tcb_signer)
    qe_identity_text, qe_identity_signature = _signed(qe_identity, vendor.tcb_signer)
    root_crl, pck_crl = _crls(platform, vendor, now, renewals)
    signer_chain = vendor.tcb_signer.pem + vendor.root.pem
    return {
        "pck_crl_issuer_chain": vendor.platform_ca.pem + vendor.root.pem,
        "root_ca_crl": root_crl.hex(),
        "pck_crl": pck_crl.hex(),
        "tcb_info_issuer_chain": signer_chain,
        "tcb_info": tcb_info_text,
        "tcb_info_signature": tcb_info_signature,
        "qe_identity_issuer_chain": signer_chain,
        "qe_identity": qe_identity_text,
        "qe_identity_signature": qe_identity_signature,
    }


def _crls(platform: IntelPlatform, vendor: pki.Vendor, now: int, renewals: int) -> tuple[bytes, bytes]:
    issuers = [
        holder
        for holder, revoked in (
            (vendor.platform_ca, platform.platform_ca_revoked),
            (vendor.tcb_signer, platform.tcb_signer_revoked),
        )
        if revoked
    ]
    root_crl = pki.crl(
        vendor.root,
        issuers,
        number=platform.root_crl_number + renewals,
        window=platform.root_crl or platform.collateral,
        now=now,
    )
    pck_crl = pki.crl(
        vendor.platform_ca,
        [vendor.pck] if platform.pck_revoked else [],
        number=platform.pck_crl_number + renewals,
        window=platform.pck_crl or platform.collateral,
        now=now,
    )
    return root_crl, pck_crl


def _tcb_info(platform: IntelPlatform, now: int) -> dict[str, Any]:
    of_tdx = platform.tcb_info_id == "TDX"
    return {
        "id": platform.tcb_info_id,
        "version": 3,
        **_dates(platform.tcb_info or platform.collateral, now),
        "fmspc": (platform.tcb_info_fmspc or platform.fmspc).hex().upper(),
        "pceId": "0000",
        "tcbType": 0,
        "tcbEvaluationDataNumber": platform.tcb_evaluation,
        **(_tdx_module(platform) if of_tdx else {}),
        "tcbLevels": _tcb_levels(platform, of_tdx=of_tdx),
    }


def _tdx_module(platform: IntelPlatform) -> dict[str, Any]:
    module = {"mrsigner": "00" * 48, "attributes": "00" * 8, "attributesMask": "FF" * 8}
    level = {
        "tcb": {"isvsvn": tcb.TDX_MODULE_SVN},
        "tcbDate": _TCB_DATE,
        # An SGX machine has no module to judge; it can still be given TCB info of the wrong TEE.
        "tcbStatus": platform.module_status if isinstance(platform, Platform) else "UpToDate",
    }
    identity = {"id": tcb.TDX_MODULE_ID, **module, "tcbLevels": [level]}
    return {"tdxModule": module, "tdxModuleIdentities": [identity]}


def _tcb_levels(platform: IntelPlatform, *, of_tdx: bool) -> list[dict[str, Any]]:
    """Return the levels, newest first: one that this machine reaches, unless it is below them all."""
    if platform.tcb_status is None:
        return [_tcb_level("UpToDate", _TCB_DATE, of_tdx=of_tdx, pce_svn=tcb.PCE_SVN + 1)]
    reached = _tcb_level(platform.tcb_status, _TCB_DATE, of_tdx=of_tdx, pce_svn=tcb.PCE_SVN)
    if platform.advisories:
        reached["advisoryIDs"] = list(platform.advisories)
    older = _tcb_level("OutOfDate", _OLDER_TCB_DATE, of_tdx=of_tdx, pce_svn=tcb.PCE_SVN - 1)
    return [reached, older]


def _tcb_level(status: str, date: str, *, of_tdx: bool, pce_svn: int) -> dict[str, Any]:
    level: dict[str, Any] = {
        "sgxtcbcomponents": [{"svn": svn} for svn in tcb.SGX_COMPONENTS],
        "pcesvn": pce_svn,
    }
    if of_tdx:
        level["tdxtcbcomponents"] = [{"svn": svn} for svn in tcb.TEE_TCB_SVN]
    return {"tcb": level, "tcbDate": date, "tcbStatus": status}


def _qe_identity(platform: IntelPlatform, now: int) -> dict[str, Any]:
    enclave = platform.quoting_enclave
    level = {"tcb": {"isvsvn": enclave.isv_svn}, "tcbDate": _TCB_DATE, "tcbStatus": platform.qe_status}
    return {
        "id": platform.qe_identity_id,
        "version": 2,
        **_dates(platform.qe_identity or platform.collateral, now),
        "tcbEvaluationDataNumber": platform.tcb_evaluation,
        "miscselect": "00000000",
        "miscselectMask": "FFFFFFFF",
        "attributes": _QE_ATTRIBUTES,
        "attributesMask": _QE_ATTRIBUTES_MASK,
        "mrsigner": (platform.qe_identity_mrsigner or QE_MRSIGNER).hex().upper(),
        "isvprodid": enclave.isv_prod_id,
        "tcbLevels": [level],
    }


def _dates(window: Window, now: int) -> dict[str, str]:
    return {"issueDate": _date(now + window.start), "nextUpdate": _date(now + window.end)}


def _date(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _signed(value: dict[str, Any], signer: pki.Holder) -> tuple[str, str]:
    """Return the exact text that was signed, and the signature in hexadecimal."""
    text = json.dumps(value, separators=(",", ":"))
    return text, signer.sign(text.encode("utf-8")).hex()
