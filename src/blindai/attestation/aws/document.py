"""The layout of a Nitro attestation document (AWS Nitro Enclaves, "Verifying the root of trust").

A COSE_Sign1 (RFC 9052): an array, with or without tag 18, of protected header, empty unprotected header,
payload, signature. The payload is a map that carries its own certificates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from blindai.errors import EvidenceMalformed, Reason
from blindai.wire import strict_cbor

MAX_DOCUMENT_BYTES = 32 * 1024
MAX_PAYLOAD_BYTES = 16 * 1024
MAX_CERTIFICATE_BYTES = 1024
MAX_AUTHORITIES = 15
MAX_FIELD_BYTES = 1024
COSE_SIGN1_TAG = 18
ES384_HEADER = bytes.fromhex("a1013822")  # {1: -35}: the algorithm and nothing else
SIGNATURE_BYTES = 96
PCR_BYTES = 48
MAX_PCR = 31


@dataclass(frozen=True)
class Document:
    """A parsed document; nothing in it is verified. `timestamp` is Unix seconds; certificates are DER."""

    signed: bytes
    r: int
    s: int
    timestamp: int
    pcrs: Mapping[int, bytes]
    certificate: bytes
    cabundle: tuple[bytes, ...]
    user_data: bytes | None
    nonce: bytes | None
    public_key: bytes | None


def parse(raw: bytes) -> Document:
    """Read a document, or raise EvidenceMalformed."""
    try:
        parts = strict_cbor.decode(raw, max_bytes=MAX_DOCUMENT_BYTES, tag=COSE_SIGN1_TAG)
        protected, payload, signature = _parts(parts)
        fields = strict_cbor.decode(payload, max_bytes=MAX_PAYLOAD_BYTES)
        if not isinstance(fields, dict):
            raise ValueError("its payload is not a map")
        return Document(
            signed=_to_be_signed(protected, payload),
            r=int.from_bytes(signature[: SIGNATURE_BYTES // 2], "big"),
            s=int.from_bytes(signature[SIGNATURE_BYTES // 2 :], "big"),
            timestamp=_timestamp(fields),
            pcrs=_pcrs(fields),
            certificate=_certificate(fields.get("certificate")),
            cabundle=_cabundle(fields.get("cabundle")),
            user_data=_optional(fields, "user_data"),
            nonce=_optional(fields, "nonce"),
            public_key=_optional(fields, "public_key"),
        )
    except ValueError as exc:
        raise EvidenceMalformed(Reason.DOCUMENT_MALFORMED, f"the Nitro document is malformed: {exc}") from exc


def _parts(parts: Any) -> tuple[bytes, bytes, bytes]:
    if not isinstance(parts, list) or len(parts) != 4:
        raise ValueError("it is not an array of four")
    protected, unprotected, payload, signature = parts
    if protected != ES384_HEADER:
        raise ValueError("its protected header is not ES384 alone")
    if unprotected != {}:
        raise ValueError("its unprotected header is not empty")
    if not isinstance(payload, bytes) or not isinstance(signature, bytes):
        raise ValueError("payload or signature is not a byte string")
    if len(signature) != SIGNATURE_BYTES:
        raise ValueError(f"its signature has not {SIGNATURE_BYTES} bytes")
    return protected, payload, signature


def _to_be_signed(protected: bytes, payload: bytes) -> bytes:
    """Return the Sig_structure: ["Signature1", protected, empty, payload]."""
    head = b"\x84\x6aSignature1" + bytes([0x40 + len(protected)]) + protected + b"\x40"
    return head + _byte_string_head(len(payload)) + payload


def _byte_string_head(length: int) -> bytes:
    if length < 24:
        return bytes([0x40 + length])
    return bytes([0x58, length]) if length < 2**8 else b"\x59" + length.to_bytes(2, "big")


def _timestamp(fields: Mapping[Any, Any]) -> int:
    if fields.get("digest") != "SHA384":
        raise ValueError("its digest is not SHA384")
    if not isinstance(fields.get("module_id"), str) or not fields["module_id"]:
        raise ValueError("it names no module")
    milliseconds = fields.get("timestamp")
    if not isinstance(milliseconds, int) or isinstance(milliseconds, bool) or milliseconds <= 0:
        raise ValueError("it has no time")
    return milliseconds // 1000


def _pcrs(fields: Mapping[Any, Any]) -> Mapping[int, bytes]:
    pcrs = fields.get("pcrs")
    if not isinstance(pcrs, dict) or not {0, 1, 2} <= pcrs.keys():
        raise ValueError("it lacks PCR 0, 1 or 2")
    for index, value in pcrs.items():
        if not isinstance(index, int) or not 0 <= index <= MAX_PCR:
            raise ValueError("a PCR has no index from 0 to 31")
        if not isinstance(value, bytes) or len(value) != PCR_BYTES:
            raise ValueError(f"a PCR has not {PCR_BYTES} bytes")
    return pcrs


def _certificate(value: Any) -> bytes:
    if not isinstance(value, bytes) or not 1 <= len(value) <= MAX_CERTIFICATE_BYTES:
        raise ValueError(f"a certificate is missing, or longer than {MAX_CERTIFICATE_BYTES} bytes")
    return value


def _cabundle(value: Any) -> tuple[bytes, ...]:
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_AUTHORITIES:
        raise ValueError(f"its CA bundle has not 1 to {MAX_AUTHORITIES} certificates")
    return tuple(_certificate(item) for item in value)


def _optional(fields: Mapping[Any, Any], name: str) -> bytes | None:
    value = fields.get(name)
    if value is not None and (not isinstance(value, bytes) or len(value) > MAX_FIELD_BYTES):
        raise ValueError(f"{name} is not a byte string of at most {MAX_FIELD_BYTES} bytes")
    return value
