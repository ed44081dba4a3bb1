"""The bytes of a TDX quote, v4 and v5 (Intel TDX DCAP Quoting Library API, A.3 and A.4). Little-endian.

header 48 | v4: TD report 584                    | u32 length | signature data
          | v5: u16 type, u32 size, TD report    |

signature data = signature 64 | attestation key 64 | u16 6 | u32 size |
                 [ QE report 384 | signature 64 | u16 32, auth data | u16 5 | u32 size | PEM chain, NUL ]
"""

from __future__ import annotations

import hashlib
import struct

from cryptography.hazmat.primitives.asymmetric import ec

from blindai.tee.measurement import SIMULATION_LABEL, Measurements
from blindai.tee.simulated import pki, tcb
from blindai.tee.simulated.platform import TD_1_5, Platform

REPORT_DATA_BYTES = 64
_ECDSA_P256 = 2
_TDX = 0x81
_INTEL_QE_VENDOR = bytes.fromhex("939a7233f79c4ca9940a0db3957f0607")
_QE_REPORT_CERTIFICATION_DATA = 6
_PCK_CHAIN = 5
_DEBUG = 1
_QE_AUTH_DATA = bytes(range(32))
QE_MRSIGNER = hashlib.sha256(SIMULATION_LABEL + b"quoting enclave signer").digest()
QE_MRENCLAVE = hashlib.sha256(SIMULATION_LABEL + b"quoting enclave").digest()
QE_ATTRIBUTES = bytes.fromhex("1500000000000000e700000000000000")


def mint(
    platform: Platform,
    measurements: Measurements,
    report_data: bytes,
    *,
    attestation_key: ec.EllipticCurvePrivateKey,
    certification: bytes,
) -> bytes:
    """Return a quote that carries `report_data`, signed by the key that `certification` certifies."""
    signed = _header(platform) + _body(platform, measurements, report_data)
    signature = pki.sign(attestation_key, signed)
    data = signature + pki.raw_public_key(attestation_key) + certification
    quote = bytearray(signed + struct.pack("<I", len(data)) + data)
    if platform.flipped_bit_at is not None:
        quote[platform.flipped_bit_at] ^= 1
    return bytes(quote) + platform.trailing


def certify(attestation_key: ec.EllipticCurvePrivateKey, vendor: pki.Vendor) -> bytes:
    """Return the certification data: the quoting enclave and the PCK vouch for the attestation key."""
    report = _qe_report(hashlib.sha256(pki.raw_public_key(attestation_key) + _QE_AUTH_DATA).digest())
    # The genuine library counts the C string's terminator into the chain.
    chain = vendor.pck_chain_pem.encode("ascii") + b"\0"
    inner = (
        report
        + vendor.pck.sign(report)
        + struct.pack("<H", len(_QE_AUTH_DATA))
        + _QE_AUTH_DATA
        + struct.pack("<HI", _PCK_CHAIN, len(chain))
        + chain
    )
    return struct.pack("<HI", _QE_REPORT_CERTIFICATION_DATA, len(inner)) + inner


def _header(platform: Platform) -> bytes:
    # The last 24 bytes: 16 for the platform's QE identifier, then zeros, as in genuine quotes.
    return struct.pack(
        "<HHIHH16s20s",
        platform.quote_version,
        _ECDSA_P256,
        _TDX,
        0,
        0,
        _INTEL_QE_VENDOR,
        b"SIMULATION - QE\0",
    )


def _body(platform: Platform, measurements: Measurements, report_data: bytes) -> bytes:
    if len(report_data) != REPORT_DATA_BYTES:
        raise ValueError(f"report data have {REPORT_DATA_BYTES} bytes")
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


def _qe_report(bound: bytes) -> bytes:
    """Return the quoting enclave's SGX report (384 bytes); its report data bind the attestation key."""
    return struct.pack(
        "<16sI28s16s32s32s32s96sHH60s64s",
        bytes(tcb.SGX_COMPONENTS),
        0,  # misc_select
        b"",
        QE_ATTRIBUTES,
        QE_MRENCLAVE,
        b"",
        QE_MRSIGNER,
        b"",
        tcb.QE_ISV_PROD_ID,
        tcb.QE_ISV_SVN,
        b"",
        bound,
    )
