"""The body of a TDX quote, v4 and v5 (Intel TDX DCAP Quoting Library API, A.3 and A.4). Little-endian.

header 48 | v4: TD report 584                    | u32 length | signature data
          | v5: u16 type, u32 size, TD report    |

The certification inside the signature data has a wrapper that SGX's v3 quotes do not have: u16 6 | u32 size.
"""

from __future__ import annotations

import struct

from cryptography.hazmat.primitives.asymmetric import ec

from blindai.tee.measurement import Measurements
from blindai.tee.simulated import quoting, tcb
from blindai.tee.simulated.platform import TD_1_5, Platform

_TDX = 0x81
_QE_REPORT_CERTIFICATION_DATA = 6
_DEBUG = 1


def mint(
    platform: Platform,
    measurements: Measurements,
    report_data: bytes,
    *,
    attestation_key: ec.EllipticCurvePrivateKey,
    certification: bytes,
) -> bytes:
    """Return a quote that carries `report_data`, signed by the key that `certification` certifies."""
    header = quoting.header(version=platform.quote_version, tee_type=_TDX)
    return quoting.sign(
        platform,
        header + _body(platform, measurements, report_data),
        attestation_key=attestation_key,
        certification=certification,
    )


def certify(
    attestation_key: ec.EllipticCurvePrivateKey,
    certifier: quoting.Certifier,
    cpu_svn: bytes = bytes(tcb.SGX_COMPONENTS),
) -> bytes:
    """Return the certification data: the quoting enclave and the PCK vouch for the attestation key."""
    inner = quoting.certify(attestation_key, certifier, tcb.TD_QE, cpu_svn)
    return struct.pack("<HI", _QE_REPORT_CERTIFICATION_DATA, len(inner)) + inner


def _body(platform: Platform, measurements: Measurements, report_data: bytes) -> bytes:
    quoting.check_report_data(report_data)
    attributes = bytearray(platform.td_attributes)
    if platform.debug:
        attributes[0] |= _DEBUG
    report = b"".join(
        (
            tcb.TEE_TCB_SVN,
            platform.mr_seam,
            bytes(48),  # mr_signer_seam: zero for Intel's own module
            bytes(8),  # seam_attributes
            bytes(attributes),
            platform.xfam,
            measurements.mrtd,
            platform.mr_config_id,
            platform.mr_owner,
            platform.mr_owner_config,
            measurements.rtmr0,
            measurements.rtmr1,
            measurements.rtmr2,
            measurements.rtmr3,
            report_data,
        )
    )
    if platform.body_type == TD_1_5:
        report += tcb.TEE_TCB_SVN + platform.mr_service_td
    if platform.quote_version == 4:
        return report
    return struct.pack("<HI", platform.body_type, len(report)) + report
