"""What a quoting enclave does alike for every TEE of this vendor: header, signature, certification.

signature data = signature 64 | attestation key 64 | certification

certification  = QE report 384 | signature 64 | u16 32, auth data | u16 5 | u32 size | PEM chain, NUL

The layouts are those of Intel's DCAP quoting libraries (SGX ECDSA QuoteGenReference, TDX API A.3 and A.4).
Little-endian.
"""

from __future__ import annotations

import hashlib
import struct
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric import ec

from blindai.tee.measurement import SIMULATION_LABEL
from blindai.tee.simulated import pki
from blindai.tee.simulated.platform import IntelPlatform
from blindai.tee.simulated.tcb import QuotingEnclave

REPORT_DATA_BYTES = 64
_ECDSA_P256 = 2
_INTEL_QE_VENDOR = bytes.fromhex("939a7233f79c4ca9940a0db3957f0607")
_PCK_CHAIN = 5
_QE_AUTH_DATA = bytes(range(32))
QE_MRSIGNER = hashlib.sha256(SIMULATION_LABEL + b"quoting enclave signer").digest()
QE_MRENCLAVE = hashlib.sha256(SIMULATION_LABEL + b"quoting enclave").digest()
QE_ATTRIBUTES = bytes.fromhex("1500000000000000e700000000000000")


class Certifier(Protocol):
    """As much of a vendor as certifies an attestation key."""

    @property
    def pck(self) -> pki.Holder: ...

    @property
    def pck_chain_pem(self) -> str: ...


def header(*, version: int, tee_type: int, qe_svn: int = 0, pce_svn: int = 0) -> bytes:
    # The last 24 bytes: 16 for the platform's QE identifier, then zeros, as in genuine quotes.
    return struct.pack(
        "<HHIHH16s20s",
        version,
        _ECDSA_P256,
        tee_type,
        qe_svn,
        pce_svn,
        _INTEL_QE_VENDOR,
        b"SIMULATION - QE\0",
    )


def certify(
    attestation_key: ec.EllipticCurvePrivateKey, certifier: Certifier, enclave: QuotingEnclave, cpu_svn: bytes
) -> bytes:
    """Return the certification: the quoting enclave and the PCK vouch for the attestation key."""
    bound = hashlib.sha256(pki.raw_public_key(attestation_key) + _QE_AUTH_DATA).digest()
    report = enclave_report(
        cpu_svn=cpu_svn,
        attributes=QE_ATTRIBUTES,
        mr_enclave=QE_MRENCLAVE,
        mr_signer=QE_MRSIGNER,
        isv_prod_id=enclave.isv_prod_id,
        isv_svn=enclave.isv_svn,
        report_data=bound,
    )
    # The genuine library counts the C string's terminator into the chain.
    chain = certifier.pck_chain_pem.encode("ascii") + b"\0"
    return (
        report
        + certifier.pck.sign(report)
        + struct.pack("<H", len(_QE_AUTH_DATA))
        + _QE_AUTH_DATA
        + struct.pack("<HI", _PCK_CHAIN, len(chain))
        + chain
    )


def sign(
    platform: IntelPlatform,
    header_and_body: bytes,
    *,
    attestation_key: ec.EllipticCurvePrivateKey,
    certification: bytes,
) -> bytes:
    """Return the quote, with what the platform's knobs do to it before and after it is signed."""
    signed = bytearray(header_and_body)
    if platform.edit_signed is not None:
        platform.edit_signed(signed)
    data = pki.sign(attestation_key, bytes(signed)) + pki.raw_public_key(attestation_key) + certification
    quote = bytearray(signed + struct.pack("<I", len(data)) + data)
    if platform.flipped_bit_at is not None:
        quote[platform.flipped_bit_at] ^= 1
    return bytes(quote) + platform.trailing


def enclave_report(
    *,
    cpu_svn: bytes,
    attributes: bytes,
    mr_enclave: bytes,
    mr_signer: bytes,
    isv_prod_id: int,
    isv_svn: int,
    report_data: bytes,
    misc_select: bytes = bytes(4),
) -> bytes:
    """Return the report of an SGX enclave (384 bytes); `report_data` is filled up with zeros."""
    return struct.pack(
        "<16s4s28s16s32s32s32s96sHH60s64s",
        cpu_svn,
        misc_select,
        b"",
        attributes,
        mr_enclave,
        b"",
        mr_signer,
        b"",
        isv_prod_id,
        isv_svn,
        b"",
        report_data,
    )


def check_report_data(report_data: bytes) -> None:
    if len(report_data) != REPORT_DATA_BYTES:
        raise ValueError(f"report data have {REPORT_DATA_BYTES} bytes")
