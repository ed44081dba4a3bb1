"""What the simulated machine is like, and what its simulated vendor says about it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from blindai.tee.measurement import SIMULATION_LABEL
from blindai.tee.simulated import tcb

DAY_SECONDS = 24 * 3600
YEAR_SECONDS = 365 * DAY_SECONDS
TD_1_0 = 2
TD_1_5 = 3
_SEPT_VE_DISABLE = bytes.fromhex("0000001000000000")
_XFAM = bytes.fromhex("e702060000000000")
# In every genuine FMSPC the first bytes are a CPU signature; these spell "SIM", which no CPU has.
_FMSPC = b"SIM\0\0\0"
_MR_SEAM = hashlib.sha384(SIMULATION_LABEL + b"TDX module").digest()


@dataclass(frozen=True)
class Window:
    """When something is valid, in seconds relative to the `now` it was made with."""

    start: int
    end: int


EXPIRED = Window(-31 * DAY_SECONDS, -DAY_SECONDS)
NOT_YET_VALID = Window(DAY_SECONDS, 31 * DAY_SECONDS)
_COLLATERAL = Window(-DAY_SECONDS, 30 * DAY_SECONDS)
_CERTIFICATES = Window(-2 * DAY_SECONDS, 10 * YEAR_SECONDS)


@dataclass(frozen=True)
class IntelPlatform:
    """The knobs that every TEE of this vendor shares. The defaults are a healthy machine.

    Whatever is turned, the result is signed as the real vendor and the real hardware would sign it; only
    `flipped_bit_at` and `trailing` touch the quote after it was signed.
    """

    quoting_enclave: ClassVar[tcb.QuotingEnclave]
    field_bytes: ClassVar[Mapping[str, int]] = {"fmspc": 6, "cpu_svn": 16}

    # The machine, as its PCK certificate tells. The vendor's TCB levels demand the default `cpu_svn`.
    fmspc: bytes = _FMSPC
    cpu_svn: bytes = bytes(tcb.SGX_COMPONENTS)
    dynamic_platform: bool = False
    cached_keys: bool = False
    smt: bool = False

    # The vendor's judgement. `tcb_status=None`: the machine is below every TCB level.
    tcb_status: str | None = "UpToDate"
    advisories: tuple[str, ...] = ()
    qe_status: str = "UpToDate"
    tcb_evaluation: int = 18
    tcb_info_id: str = ""  # of the other TEE ("SGX", "TDX"): signed TCB info, but not for this quote
    tcb_info_fmspc: bytes | None = None  # default: this machine's
    qe_identity_id: str = ""  # of the other TEE ("QE", "TD_QE"): the identity of its quoting enclave
    qe_identity_mrsigner: bytes | None = None  # default: this machine's quoting enclave; 32 bytes
    edit_tcb_info: Callable[[dict[str, Any]], None] | None = None  # before it is signed
    edit_qe_identity: Callable[[dict[str, Any]], None] | None = None

    # Revocation.
    pck_revoked: bool = False
    platform_ca_revoked: bool = False
    tcb_signer_revoked: bool = False
    pck_crl_number: int = 1
    root_crl_number: int = 1

    # Dates. A piece without a window of its own has that of `collateral`.
    certificates: Window = _CERTIFICATES
    collateral: Window = _COLLATERAL
    tcb_info: Window | None = None
    qe_identity: Window | None = None
    pck_crl: Window | None = None
    root_crl: Window | None = None

    # What is signed: header and body. Whatever this does to them, the signature holds.
    edit_signed: Callable[[bytearray], None] | None = None

    # After signing.
    flipped_bit_at: int | None = None  # offset of the byte whose lowest bit is inverted
    trailing: bytes = b""

    def __post_init__(self) -> None:
        for name, size in self.field_bytes.items():
            if len(getattr(self, name)) != size:
                raise ValueError(f"{name} has {size} bytes")


@dataclass(frozen=True)
class Platform(IntelPlatform):
    """Every knob of the simulated TDX machine. The defaults are one that a strict policy accepts."""

    quoting_enclave: ClassVar = tcb.TD_QE
    field_bytes: ClassVar = {
        **IntelPlatform.field_bytes, "td_attributes": 8, "xfam": 8, "mr_seam": 48, "mr_config_id": 48,
        "mr_owner": 48, "mr_owner_config": 48, "mr_service_td": 48,
    }  # fmt: skip
    tcb_info_id: str = "TDX"
    qe_identity_id: str = "TD_QE"
    module_status: str = "UpToDate"

    # The trust domain. v4 carries a TD 1.0 report; v5 says which (TD_1_0 or TD_1_5).
    quote_version: int = 4
    body_type: int = TD_1_0
    debug: bool = False
    td_attributes: bytes = _SEPT_VE_DISABLE
    xfam: bytes = _XFAM
    mr_seam: bytes = _MR_SEAM
    mr_config_id: bytes = bytes(48)
    mr_owner: bytes = bytes(48)
    mr_owner_config: bytes = bytes(48)
    mr_service_td: bytes = bytes(48)  # TD 1.5 only; other than zero: a service domain is bound

    def __post_init__(self) -> None:
        if (self.quote_version, self.body_type) not in {(4, TD_1_0), (5, TD_1_0), (5, TD_1_5)}:
            raise ValueError("a quote is v4 with a TD 1.0 report, or v5 with a TD 1.0 or TD 1.5 report")
        super().__post_init__()
        if any(self.mr_service_td) and self.body_type != TD_1_5:
            raise ValueError("only a TD 1.5 report has mr_service_td")
