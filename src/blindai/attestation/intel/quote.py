"""The layout of a TDX quote, v4 and v5 (Intel TDX DCAP Quoting Library API, A.3): where it ends, and in what.

Only what must be known before the signature is checked is read here. Measurements are taken from what
`dcap-qvl` verified, never from this parse.

    header 48 | v4: TD report 584                     | u32 length | signature data | zero padding
              | v5: u16 type, u32 size, TD report     |

    signature data = ECDSA signature 64 | attestation key 64 | u16 6 | u32 size |
                     [ QE report 384 | signature 64 | u16 size, auth data | u16 5 | u32 size | PEM chain ]

Every length is checked against what it encloses: `dcap-qvl` ignores the outer certification type and the
low bits of the outer length, and accepts any bytes behind the quote.
"""

from __future__ import annotations

from dataclasses import dataclass

from blindai.errors import EvidenceMalformed, Reason

TDX_TEE_TYPE = 0x81
ECDSA_P256 = 2
TD_BODY_BYTES = {2: 584, 3: 648}  # v5 body types: TD 1.0 and TD 1.5
QE_REPORT_CERTIFICATION_DATA = 6
PCK_CHAIN = 5
DEBUG_BIT = 1


@dataclass(frozen=True)
class TdxQuote:
    """A quote cut to its signed length, and the two things the checks before the signature need."""

    signed: bytes
    debug: bool
    pck_chain_pem: bytes


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self.offset = 0

    def take(self, count: int) -> bytes:
        end = self.offset + count
        if end > len(self._data):
            raise _malformed("it is truncated")
        piece = self._data[self.offset : end]
        self.offset = end
        return piece

    def u16(self) -> int:
        return int.from_bytes(self.take(2), "little")

    def u32(self) -> int:
        return int.from_bytes(self.take(4), "little")


def parse(raw: bytes) -> TdxQuote:
    """Read a TDX quote, or raise EvidenceMalformed."""
    reader = _Reader(raw)
    version = reader.u16()
    key_type = reader.u16()
    tee_type = reader.u32()
    if version not in (4, 5):
        raise _malformed(f"version {version} is not 4 or 5")
    if tee_type != TDX_TEE_TYPE:
        raise _malformed("it is not a TDX quote")
    if key_type != ECDSA_P256:
        raise _malformed("its attestation key is not ECDSA P-256")
    reader.take(40)
    body = reader.take(_body_bytes(reader) if version == 5 else TD_BODY_BYTES[2])
    chain, end = _signature_data(reader)
    if raw[end:].strip(b"\0"):
        raise EvidenceMalformed(Reason.QUOTE_TRAILING_BYTES, "bytes other than zero follow the quote")
    # td_attributes stand at offset 120 of the TD report; bit 0 is DEBUG.
    return TdxQuote(signed=raw[:end], debug=bool(body[120] & DEBUG_BIT), pck_chain_pem=chain)


def _body_bytes(reader: _Reader) -> int:
    body_type, size = reader.u16(), reader.u32()
    if TD_BODY_BYTES.get(body_type) != size:
        raise _malformed(f"body type {body_type} of {size} bytes is not TD 1.0 or TD 1.5")
    return size


def _signature_data(reader: _Reader) -> tuple[bytes, int]:
    """Return the PCK chain and the offset where the quote ends; every inner length must fill its outer."""
    length = reader.u32()
    end = reader.offset + length
    reader.take(64 + 64)
    if reader.u16() != QE_REPORT_CERTIFICATION_DATA:
        raise _malformed("its certification data are not of type 6")
    inner = reader.u32()
    if reader.offset + inner != end:
        raise _malformed("its signature lengths disagree")
    reader.take(384 + 64)
    reader.take(reader.u16())
    if reader.u16() != PCK_CHAIN:
        raise _malformed("it does not carry its PCK certificate chain")
    chain = reader.take(reader.u32())
    if reader.offset != end:
        raise _malformed("its certification lengths disagree")
    return chain, end


def _malformed(what: str) -> EvidenceMalformed:
    return EvidenceMalformed(Reason.QUOTE_MALFORMED, f"the TDX quote is malformed: {what}")
