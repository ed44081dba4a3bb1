"""The certificates that a host puts beside SEV-SNP reports (the GHCB specification, AMD document 56421).

    entries of 24 bytes: GUID 16, offset u32, length u32 | an entry of zeros | certificates, and padding

The host wrote it: hints. What is here still has to end at a pinned root and to fit the report.
"""

from __future__ import annotations

import ssl
import struct
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

from blindai.attestation import chain
from blindai.errors import EvidenceMalformed

MAX_TABLE_BYTES = 64 * 1024
MAX_ENTRIES = 16
ENTRY = struct.Struct("<16sII")

# GUIDs are written with their first three groups little-endian.
GUIDS = {
    "vcek": uuid.UUID("63da758d-e664-4564-adc5-f4b93be8accd"),
    "vlek": uuid.UUID("a8074bc2-a25a-483e-aae6-39c045a0b8a1"),
    "ask": uuid.UUID("4ab7b379-bbac-4fe4-a02f-05aef327c782"),
    "ark": uuid.UUID("c0b406a4-a803-4952-9743-3fb6014cd0ae"),
    "crl": uuid.UUID("92f81bc3-5811-4d3d-97ff-d19f88dc67ea"),
}
_NAMES = {guid.bytes_le: name for name, guid in GUIDS.items()}


@dataclass(frozen=True)
class CertificateTable:
    """What a table has, in DER; b"" for what it has not. `ask` is the ASVK where the host loaded a VLEK."""

    vcek: bytes = b""
    vlek: bytes = b""
    ask: bytes = b""
    ark: bytes = b""
    crl: bytes = b""

    @property
    def leaf(self) -> bytes:
        """The certificate of the signing key: firmware signs with the VLEK wherever a host loaded one."""
        return self.vlek or self.vcek

    def members(self) -> dict[str, str]:
        """Return what there is of the `amd` collateral: leaf, issuer_chain (both or none), crl."""
        found = {}
        if self.leaf:
            found["leaf"] = ssl.DER_cert_to_PEM_cert(self.leaf)
        if self.ask and self.ark:
            found["issuer_chain"] = "".join(map(ssl.DER_cert_to_PEM_cert, (self.ask, self.ark)))
        if self.crl:
            found["crl"] = self.crl.hex()
        return found


def parse(table: bytes) -> CertificateTable:
    """Read a table, or raise ValueError. Entries of other kinds are passed over, within their bounds."""
    if not table:
        return CertificateTable()
    if len(table) > MAX_TABLE_BYTES:
        raise ValueError(f"a certificate table has at most {MAX_TABLE_BYTES} bytes")
    entries = list(_entries(table))
    _check_places(entries, len(table))
    found: dict[str, bytes] = {}
    for guid, offset, length in entries:
        name = _NAMES.get(guid)
        if name is None:
            continue
        if name in found:
            raise ValueError(f"a certificate table has two entries for {name}")
        found[name] = table[offset : offset + length]
        _check_der(name, found[name])
    return CertificateTable(**found)


def _entries(table: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield GUID, offset and length of every entry before the one of zeros."""
    for index in range(MAX_ENTRIES + 1):
        at = index * ENTRY.size
        if at + ENTRY.size > len(table):
            raise ValueError("a certificate table ends before its last entry")
        entry = ENTRY.unpack_from(table, at)
        if not any(entry[0]):
            if entry[1] or entry[2]:
                raise ValueError("a certificate table has an entry without a kind")
            return
        yield entry
    raise ValueError(f"a certificate table has more than {MAX_ENTRIES} entries")


def _check_places(entries: list[tuple[bytes, int, int]], size: int) -> None:
    """Raise ValueError unless every entry lies behind the entries themselves, and none on another."""
    end = (len(entries) + 1) * ENTRY.size
    for _, offset, length in sorted(entries, key=lambda entry: entry[1:]):
        if not length:
            raise ValueError("a certificate table has an empty entry")
        if offset < end:
            raise ValueError("a certificate table has entries that overlap")
        end = offset + length
        if end > size:
            raise ValueError("a certificate table has an entry beyond its end")


def _check_der(name: str, der: bytes) -> None:
    what = f"the {name} in a certificate table"
    try:
        if name == "crl":
            chain.parse_crl(der, what)
        else:
            chain.parse_der(der, what)
    except EvidenceMalformed as exc:
        raise ValueError(f"{what} is not DER") from exc
