"""A fake Intel SGX machine: v3 quotes, as in Intel's SGX ECDSA QuoteGenReference. Little-endian.

header 48 | enclave report 384 | u32 length | signature 64 | attestation key 64 | certification

What signs, certifies and publishes is the simulated vendor of `FakeTdx`; only the body differs.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from typing import Any, ClassVar

from blindai.attestation.types import SGX_QUOTE, Evidence
from blindai.tee.measurement import SIMULATION_LABEL
from blindai.tee.simulated import quoting, tcb
from blindai.tee.simulated.attester import SimulatedVendor
from blindai.tee.simulated.pki import Holder
from blindai.tee.simulated.platform import IntelPlatform

_VERSION = 3
_SGX = 0
_DEBUG = 2
# Flags INIT and MODE64; XFRM x87, SSE, AVX and AVX-512.
_ATTRIBUTES = bytes.fromhex("0500000000000000e700000000000000")
_MR_ENCLAVE = hashlib.sha256(SIMULATION_LABEL + b"enclave").digest()
_MR_SIGNER = hashlib.sha256(SIMULATION_LABEL + b"enclave signer").digest()


@dataclass(frozen=True)
class SgxPlatform(IntelPlatform):
    """Every knob of the fake SGX machine. The defaults are one that a strict policy accepts."""

    quoting_enclave: ClassVar = tcb.SGX_QE
    field_bytes: ClassVar = {
        **IntelPlatform.field_bytes, "mr_enclave": 32, "mr_signer": 32, "attributes": 16, "misc_select": 4,
    }  # fmt: skip
    tcb_info_id: str = "SGX"
    qe_identity_id: str = "QE"

    # The enclave.
    mr_enclave: bytes = _MR_ENCLAVE
    mr_signer: bytes = _MR_SIGNER
    isv_prod_id: int = 1
    isv_svn: int = 1
    attributes: bytes = _ATTRIBUTES  # flags 8, XFRM 8
    misc_select: bytes = bytes(4)
    debug: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (0 <= self.isv_prod_id <= 0xFFFF and 0 <= self.isv_svn <= 0xFFFF):
            raise ValueError("isv_prod_id and isv_svn have 16 bits")


class FakeSgx(SimulatedVendor):
    """A simulated SGX machine; `knobs` are the fields of `SgxPlatform`.

    >>> FakeSgx(debug=True, tcb_status="SWHardeningNeeded", advisories=("INTEL-SA-00615",)).tee
    'sgx'

    `now` is a Unix time (default: the clock's), `root` reuses the `root` of another fake, of a `FakeTdx` too.
    """

    tee = "sgx"

    def __init__(self, *, now: int | None = None, root: Holder | None = None, **knobs: Any) -> None:
        self.platform = SgxPlatform(**knobs)
        super().__init__(self.platform, int(time.time()) if now is None else now, root)
        self._certification = quoting.certify(
            self._attestation_key, self._vendor, tcb.SGX_QE, self.platform.cpu_svn
        )

    def evidence(self, report_data: bytes) -> Evidence:
        """Return a quote that carries these 64 bytes."""
        header = quoting.header(
            version=_VERSION, tee_type=_SGX, qe_svn=tcb.SGX_QE.isv_svn, pce_svn=tcb.PCE_SVN
        )
        quote = quoting.sign(
            self.platform,
            header + _body(self.platform, report_data),
            attestation_key=self._attestation_key,
            certification=self._certification,
        )
        return Evidence(SGX_QUOTE, quote)


def _body(platform: SgxPlatform, report_data: bytes) -> bytes:
    quoting.check_report_data(report_data)
    attributes = bytearray(platform.attributes)
    if platform.debug:
        attributes[0] |= _DEBUG
    return quoting.enclave_report(
        cpu_svn=platform.cpu_svn,
        misc_select=platform.misc_select,
        attributes=bytes(attributes),
        mr_enclave=platform.mr_enclave,
        mr_signer=platform.mr_signer,
        isv_prod_id=platform.isv_prod_id,
        isv_svn=platform.isv_svn,
        report_data=report_data,
    )
