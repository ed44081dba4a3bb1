"""The certificate table that a host puts beside the reports of a fake SEV-SNP machine."""

from __future__ import annotations

import re
import ssl
import struct
import uuid
from collections.abc import Iterable

from blindai.tee.simulated.snp import SnpMint

_ENTRY = struct.Struct("<16sII")
VCEK = uuid.UUID("63da758d-e664-4564-adc5-f4b93be8accd")
VLEK = uuid.UUID("a8074bc2-a25a-483e-aae6-39c045a0b8a1")
ASK = uuid.UUID("4ab7b379-bbac-4fe4-a02f-05aef327c782")
ARK = uuid.UUID("c0b406a4-a803-4952-9743-3fb6014cd0ae")
CRL = uuid.UUID("92f81bc3-5811-4d3d-97ff-d19f88dc67ea")


def certificate_table(machine: SnpMint, *, crl: bool = True) -> bytes:
    """Return the table of a host that has everything for this machine; without the CRL if not `crl`."""
    stapled = machine.collateral()["amd"]
    ask, ark = map(ssl.PEM_cert_to_DER_cert, _CERTIFICATE.findall(stapled["issuer_chain"]))
    leaf = VCEK if machine.machine.leaf == "vcek" else VLEK
    entries = [(leaf, ssl.PEM_cert_to_DER_cert(stapled["leaf"])), (ASK, ask), (ARK, ark)]
    if crl and "crl" in stapled:
        entries.append((CRL, bytes.fromhex(stapled["crl"])))
    return table_of(entries)


_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n", re.DOTALL)


def table_of(entries: Iterable[tuple[uuid.UUID, bytes]]) -> bytes:
    """Return a table with these blobs, one behind the other."""
    entries = list(entries)
    offset = (len(entries) + 1) * _ENTRY.size
    head = b""
    for guid, blob in entries:
        head += _ENTRY.pack(guid.bytes_le, offset, len(blob))
        offset += len(blob)
    return head + bytes(_ENTRY.size) + b"".join(blob for _, blob in entries)
