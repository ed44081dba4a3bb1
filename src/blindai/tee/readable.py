"""What a device gave is looked at before it leaves the machine: could a client read it, and is it ours?

A client would refuse it too, and the operator would not see why. Nothing is verified here.
"""

from __future__ import annotations

import struct

from blindai.attestation.amd import report as snp_layout
from blindai.attestation.intel import quote as tdx_layout
from blindai.errors import EvidenceMalformed, TeeError, TeeFault

REPORT_DATA_BYTES = 64
# A header of 48 bytes, in version 5 also the body's type and size (6), then the TD report: 520 and 64.
_TDX_REPORT_DATA_AT = {4: 48 + 520, 5: 48 + 6 + 520}
_TDX_HEAD = struct.Struct("<HHI")  # version, type of the attestation key, TEE
# The kernel's documentation tells the two kinds of quote apart by this size.
_LARGEST_CLASSIC_BYTES = 8 * 1024
_QGS = "the host's quoting service (QGS) has to run, know this machine's PCK certificate, and be reachable"


def check_report_data(report_data: bytes) -> None:
    """Raise ValueError unless these are 64 bytes."""
    if len(report_data) != REPORT_DATA_BYTES:
        raise ValueError(f"report data have {REPORT_DATA_BYTES} bytes")


def tdx_quote(given: bytes) -> tuple[bytes, bytes]:
    """Return a TDX quote cut to its signed length, and the report data in it. Raises TeeError.

    Hosts pad quotes with zeros, to 8000 bytes for example. Clients would accept the zeros; they are cut off
    because everyone who asks for evidence would have to carry them.
    """
    if not given:
        raise TeeError(TeeFault.MALFORMED, "the kernel has no quote to show for the request", hint=_QGS)
    version, tee = _TDX_HEAD.unpack_from(given.ljust(_TDX_HEAD.size, b"\0"))[::2]
    if version not in _TDX_REPORT_DATA_AT or tee != tdx_layout.TDX_TEE_TYPE:
        if len(given) > _LARGEST_CLASSIC_BYTES:
            raise TeeError(
                TeeFault.UNSUPPORTED,
                "the host makes DICE quotes (a CWT of more than 8 KiB), which clients cannot verify",
                hint="have the host's quoting service make ECDSA quotes of version 4 or 5",
            )
        raise TeeError(
            TeeFault.MALFORMED, "what the kernel gave is not a TDX quote of version 4 or 5", hint=_QGS
        )
    try:
        signed = tdx_layout.parse_tdx(given).signed
    except EvidenceMalformed as exc:
        raise TeeError(
            TeeFault.MALFORMED,
            "what the kernel gave is not a quote that clients can verify",
            hint="the host's quoting service must make ECDSA quotes that carry the PCK certificate chain",
        ) from exc
    at = _TDX_REPORT_DATA_AT[version]
    return signed, signed[at : at + REPORT_DATA_BYTES]


def snp_report(given: bytes) -> tuple[bytes, bytes]:
    """Return a SEV-SNP report, and the report data in it. Raises TeeError."""
    try:
        report_data = snp_layout.parse(given).report_data
    except EvidenceMalformed as exc:
        raise TeeError(
            TeeFault.MALFORMED,
            "what the kernel gave is not a SEV-SNP report that clients can verify",
            hint="the firmware must sign with a VCEK or VLEK, and its report be of version 2 to 5",
        ) from exc
    return given, report_data
