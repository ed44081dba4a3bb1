"""The layout of Intel quotes: SGX v3, TDX v4 and v5 (Intel DCAP Quoting Library APIs, A.3 and A.4).

Only what must be known before the signature is checked is read here. Measurements are taken from what
`dcap-qvl` verified, never from this parse.

    header 48 | SGX v3: enclave report 384            | u32 length | signature data | zero padding
              | TDX v4: TD report 584                 |
              | TDX v5: u16 type, u32 size, TD report |

    signature data, v3      = ECDSA signature 64 | attestation key 64 | certification
    signature data, v4, v5  = ECDSA signature 64 | attestation key 64 | u16 6 | u32 size | certification
    certification           = QE report 384 | signature 64 | u16 size, auth data | u16 5 | u32 size | PEM

Every length is checked against what it encloses: `dcap-qvl` ignores the outer certification type and the
low bits of the outer length, and accepts any bytes behind the quote.
"""

from __future__ import annotations

from dataclasses import dataclass

from blindai.attestation.intel.reader import Reader
from blindai.errors import EvidenceMalformed, Reason

SGX_TEE_TYPE = 0
TDX_TEE_TYPE = 0x81
ECDSA_P256 = 2
REPORT_DATA_BYTES = 64
ENCLAVE_REPORT_BYTES = 384
TD_REPORT_BYTES = 584  # of TD 1.0; TD 1.5 begins with it
TD_BODY_BYTES = {2: 584, 3: 648}  # v5 body types: TD 1.0 and TD 1.5
QE_REPORT_CERTIFICATION_DATA = 6
PCK_CHAIN = 5
# Where each report keeps its attributes, and the bit in their first byte that means debug.
SGX_ATTRIBUTES_OFFSET, SGX_DEBUG_BIT = 48, 2
TD_ATTRIBUTES_OFFSET, TD_DEBUG_BIT = 120, 1


@dataclass(frozen=True)
class Quote:
    """A quote cut to its signed length, and what the checks beside the signature need.

    Header and report, which the attestation key signed, are the first `body_end` bytes; the last 64 of the
    report proper, from `report_data_at`, are what the guest had signed.
    """

    signed: bytes
    debug: bool
    pck_chain_pem: bytes
    body_end: int
    report_data_at: int

    @property
    def body(self) -> bytes:
        return self.signed[: self.body_end]

    @property
    def report_data(self) -> bytes:
        return self.signed[self.report_data_at : self.report_data_at + REPORT_DATA_BYTES]

    @property
    def signature(self) -> tuple[int, int]:
        """The r and s of the signature over `body`."""
        start, middle, end = (self.body_end + 4 + offset for offset in (0, 32, 64))
        return int.from_bytes(self.signed[start:middle], "big"), int.from_bytes(
            self.signed[middle:end], "big"
        )

    @property
    def attestation_key(self) -> bytes:
        """The public key that `signature` is by: x and y."""
        return self.signed[self.body_end + 4 + 64 :][:64]

    @property
    def all_but_report_data_and_signature(self) -> tuple[bytes, bytes, bytes]:
        return (
            self.signed[: self.report_data_at],
            self.signed[self.report_data_at + REPORT_DATA_BYTES : self.body_end + 4],
            self.signed[self.body_end + 4 + 64 :],
        )


def parse_tdx(raw: bytes) -> Quote:
    """Read a TDX quote, v4 or v5, or raise EvidenceMalformed."""
    reader = Reader(raw, _malformed)
    version = _header(reader, TDX_TEE_TYPE, "TDX", versions=(4, 5))
    body = reader.take(_body_bytes(reader) if version == 5 else TD_BODY_BYTES[2])
    body_end = reader.offset
    length = reader.u32()
    end = reader.offset + length
    reader.take(64 + 64)
    if reader.u16() != QE_REPORT_CERTIFICATION_DATA:
        raise _malformed("its certification data are not of type 6")
    if reader.u32() + reader.offset != end:
        raise _malformed("its signature lengths disagree")
    report_data_at = body_end - len(body) + TD_REPORT_BYTES - REPORT_DATA_BYTES
    debug = bool(body[TD_ATTRIBUTES_OFFSET] & TD_DEBUG_BIT)
    return _quote(raw, reader, end, debug=debug, body_end=body_end, report_data_at=report_data_at)


def parse_sgx(raw: bytes) -> Quote:
    """Read an SGX quote, v3, or raise EvidenceMalformed."""
    reader = Reader(raw, _malformed)
    _header(reader, SGX_TEE_TYPE, "SGX", versions=(3,))
    body = reader.take(ENCLAVE_REPORT_BYTES)
    body_end = reader.offset
    length = reader.u32()
    end = reader.offset + length
    reader.take(64 + 64)
    debug = bool(body[SGX_ATTRIBUTES_OFFSET] & SGX_DEBUG_BIT)
    report_data_at = body_end - REPORT_DATA_BYTES
    return _quote(raw, reader, end, debug=debug, body_end=body_end, report_data_at=report_data_at)


def _header(reader: Reader, expected: int, name: str, *, versions: tuple[int, ...]) -> int:
    version, key_type, tee_type = reader.u16(), reader.u16(), reader.u32()
    if version not in versions:
        raise _malformed(f"version {version} is not {' or '.join(map(str, versions))}")
    if tee_type != expected:
        raise _malformed(f"it is not of {name}")
    if key_type != ECDSA_P256:
        raise _malformed("its attestation key is not ECDSA P-256")
    reader.take(40)
    return version


def _body_bytes(reader: Reader) -> int:
    body_type, size = reader.u16(), reader.u32()
    if TD_BODY_BYTES.get(body_type) != size:
        raise _malformed(f"body type {body_type} of {size} bytes is not TD 1.0 or TD 1.5")
    return size


def _quote(raw: bytes, reader: Reader, end: int, *, debug: bool, body_end: int, report_data_at: int) -> Quote:
    """Read the certification, which must fill the quote to its `end`, and what follows: zeros."""
    reader.take(384 + 64)
    reader.take(reader.u16())
    if reader.u16() != PCK_CHAIN:
        raise _malformed("it does not carry its PCK certificate chain")
    chain = reader.take(reader.u32())
    if reader.offset != end:
        raise _malformed("its certification lengths disagree")
    if raw[end:].strip(b"\0"):
        raise EvidenceMalformed(Reason.QUOTE_TRAILING_BYTES, "bytes other than zero follow the quote")
    return Quote(
        signed=raw[:end],
        debug=debug,
        pck_chain_pem=chain,
        body_end=body_end,
        report_data_at=report_data_at,
    )


def _malformed(what: str) -> EvidenceMalformed:
    return EvidenceMalformed(Reason.QUOTE_MALFORMED, f"the quote is malformed: {what}")
