"""The security version numbers on which the machine's certificate, quote and collateral agree."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class QuotingEnclave:
    """What the vendor knows a TEE's quoting enclave by, beside its signer."""

    isv_prod_id: int
    isv_svn: int


SGX_COMPONENTS = (3, 3, 2, 2, 4, 1, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0)
PCE_SVN = 13
# Byte 0 is the TDX module's security version, byte 1 its major version (here the module "TDX_01").
TEE_TCB_SVN = bytes([6, 1, 3]) + bytes(13)
TDX_MODULE_ID = "TDX_01"
TDX_MODULE_SVN = TEE_TCB_SVN[0]
SGX_QE = QuotingEnclave(isv_prod_id=1, isv_svn=8)
TD_QE = QuotingEnclave(isv_prod_id=2, isv_svn=6)
