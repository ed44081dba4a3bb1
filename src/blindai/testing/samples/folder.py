"""The files of one sample, put together as a server would have sent them: evidence, collateral, nonce.

Liberal in what a file may be called, because recordings come from many hands. What is in the files is for
the verifiers to judge; a file that is missing or cannot be read is a refusal like any other.
"""

from __future__ import annotations

import base64
import json
import re
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509

from blindai.attestation import chain
from blindai.attestation.types import (
    MAX_EVIDENCE_BYTES,
    NITRO_DOCUMENT,
    SGX_QUOTE,
    SNP_REPORT,
    TDX_QUOTE,
    Collateral,
    Evidence,
)
from blindai.errors import EvidenceMalformed, Reason
from blindai.testing.samples import intel_pieces

MAX_FILE_BYTES = 1024 * 1024
NONCE = "nonce.dat"
# Where SIGNING_KEY says which certificate signed a report: it only chooses between two files.
_SNP_FLAGS, _SNP_VLEK = 0x48, 1
_CERTIFICATES = (".pem", ".der", ".crt", ".cer", ".cert")
_NO_EVIDENCE = (*_CERTIFICATES, ".json", ".md", ".txt", ".crl")
_PEM = re.compile(rb"-----BEGIN (?:CERTIFICATE|X509 CRL)-----([^-]+)-----END", re.ASCII)


@dataclass(frozen=True)
class Recording:
    """What a sample's folder holds. `nonce` is the report data that the evidence is said to carry."""

    evidence: Evidence
    collateral: Collateral
    nonce: bytes | None


def read(folder: Path, tee: str) -> Recording:
    """Return the recording of a covered TEE, or raise EvidenceMalformed."""
    try:
        files = {path.name: path for path in sorted(folder.iterdir()) if path.is_file()}
    except OSError as exc:
        raise EvidenceMalformed(Reason.EVIDENCE_MISSING, f"{folder} cannot be read: {exc}") from exc
    media_type, evidence, collateral = _READERS[tee](files)
    if len(evidence) > MAX_EVIDENCE_BYTES:
        raise EvidenceMalformed(Reason.EVIDENCE_TOO_LARGE, f"the evidence exceeds {MAX_EVIDENCE_BYTES} bytes")
    nonce = _content(files[NONCE]) if NONCE in files else None
    return Recording(Evidence(media_type, evidence), collateral, nonce)


Files = Mapping[str, Path]
Parts = tuple[str, bytes, Collateral]


def _sgx(files: Files) -> Parts:
    return _intel(SGX_QUOTE, files)


def _tdx(files: Files) -> Parts:
    return _intel(TDX_QUOTE, files)


def _intel(media_type: str, files: Files) -> Parts:
    quote = _evidence(files, ("quote.bin", "quote.dat", "quote.hex"), r"quote|\.bin$")
    if "collateral.json" in files:
        return media_type, quote, {"intel": _collateral(files["collateral.json"])}
    pieces = intel_pieces.assemble({name: _content(path) for name, path in files.items()}, quote)
    return media_type, quote, {"intel": pieces} if pieces else {}


def _collateral(path: Path) -> Any:
    try:
        collateral = json.loads(_content(path))
    except (ValueError, RecursionError) as exc:
        raise EvidenceMalformed(Reason.COLLATERAL_MALFORMED, "collateral.json is not JSON") from exc
    if isinstance(collateral, dict):
        # Some programs write the platform's chain here too. Ours is the one in the quote.
        collateral.pop("pck_certificate_chain", None)
    return collateral


def _snp(files: Files) -> Parts:
    report = _evidence(files, ("report.bin", "report.dat", "report.hex"), r"report|\.bin$")
    leaves = _leaves(files, report)
    if not leaves:
        return SNP_REPORT, report, {}
    leaf, *others = _ders(leaves[0])
    stapled = {
        "leaf": ssl.DER_cert_to_PEM_cert(leaf),
        "issuer_chain": "".join(map(ssl.DER_cert_to_PEM_cert, _issuers(files, leaf, others))),
    }
    crls = [path for name, path in files.items() if "crl" in name.lower()]
    if crls:
        stapled["crl"] = b"".join(_ders(crls[0])).hex()
    return SNP_REPORT, report, {"amd": stapled}


def _leaves(files: Files, report: bytes) -> list[Path]:
    """Return the files that may be the leaf, the likeliest first."""
    vlek = len(report) > _SNP_FLAGS and report[_SNP_FLAGS] >> 2 & 7 == _SNP_VLEK
    kinds = ("vlek", "vcek") if vlek else ("vcek", "vlek")
    exact = [files[f"{kind}{end}"] for kind in kinds for end in _CERTIFICATES if f"{kind}{end}" in files]
    named = [path for kind in kinds for name, path in files.items() if kind in name.lower()]
    return [*exact, *(path for path in named if path.suffix.lower() in _CERTIFICATES)]


def _issuers(files: Files, leaf: bytes, beside: list[bytes]) -> list[bytes]:
    """Return the other certificates, the self-signed one last: whatever order they were recorded in."""
    paths = [
        path
        for name, path in files.items()
        if path.suffix.lower() in _CERTIFICATES and not re.search("vcek|vlek|crl", name.lower())
    ]
    ders = [*beside, *(der for path in paths for der in _ders(path))]
    found = {der: _names(der) for der in ders if der != leaf}
    ordered = sorted(found, key=lambda der: found[der].self_issued)
    if len(ordered) <= 2:
        return ordered
    # ASK and ASVK of one product, or the chains of several: those that the names lead to.
    above = _names(leaf).issuer
    signers = [der for der in ordered if found[der].subject == above and not found[der].self_issued]
    roots = [der for der in ordered if any(found[der].subject == found[signer].issuer for signer in signers)]
    return [*signers, *roots]


@dataclass(frozen=True)
class _Names:
    subject: x509.Name
    issuer: x509.Name

    @property
    def self_issued(self) -> bool:
        return self.issuer == self.subject


def _names(der: bytes) -> _Names:
    certificate = chain.parse_der(der, "a recorded certificate")
    try:
        return _Names(certificate.subject, certificate.issuer)
    except chain.UNREADABLE as exc:
        raise EvidenceMalformed(
            Reason.CERTIFICATE_MALFORMED, "a recorded certificate cannot be read"
        ) from exc


def _nitro(files: Files) -> Parts:
    return NITRO_DOCUMENT, _evidence(files, ("attestation_doc.cbor",), r"\.(cbor|cose|bin)$"), {}


_READERS: dict[str, Callable[[Files], Parts]] = {
    "sgx": _sgx,
    "tdx": _tdx,
    "snp": _snp,
    "sev-snp": _snp,
    "nitro": _nitro,
}
COVERED = frozenset(_READERS)


def _evidence(files: Files, names: Sequence[str], pattern: str) -> bytes:
    """Return the first file with one of these names or, failing that, the only one whose name fits."""
    exact = [files[name] for name in names if name in files]
    fitting = [
        path
        for name, path in files.items()
        if re.search(pattern, name.lower()) and path.suffix.lower() not in _NO_EVIDENCE and name != NONCE
    ]
    if not exact and len(fitting) != 1:
        which = ", ".join(path.name for path in fitting) or "none is there"
        raise EvidenceMalformed(Reason.EVIDENCE_MISSING, f"which file is the evidence? ({which})")
    chosen = exact[0] if exact else fitting[0]
    content = _content(chosen)
    return _from_hexadecimal(content) if chosen.suffix.lower() == ".hex" else content


def _from_hexadecimal(text: bytes) -> bytes:
    try:
        return bytes.fromhex(text.decode("ascii"))
    except ValueError as exc:
        raise EvidenceMalformed(Reason.EVIDENCE_MISSING, "the evidence is not hexadecimal text") from exc


def _ders(path: Path) -> list[bytes]:
    """Return what a file of certificates holds, PEM or DER. No certificate is parsed here."""
    content = _content(path)
    if b"-----BEGIN" not in content:
        return [content]
    try:
        ders = [base64.b64decode(b"".join(body.split()), validate=True) for body in _PEM.findall(content)]
    except ValueError as exc:
        raise EvidenceMalformed(Reason.CERTIFICATE_MALFORMED, f"{path.name} is not PEM") from exc
    if not ders:
        raise EvidenceMalformed(Reason.CERTIFICATE_MALFORMED, f"{path.name} holds no certificate")
    return ders


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as exc:
        raise EvidenceMalformed(Reason.EVIDENCE_MISSING, f"{path.name} cannot be read: {exc}") from exc
    if len(content) > MAX_FILE_BYTES:
        raise EvidenceMalformed(Reason.EVIDENCE_TOO_LARGE, f"{path.name} exceeds {MAX_FILE_BYTES} bytes")
    return content
