"""AMD's collateral, from the Key Distribution Service (KDS): a chip's VCEK, its issuers, their CRL.

The service allows few requests, so they are spaced. A VCEK is made for one chip at one TCB and never changes:
it is kept for ever. A chip's identifier is in the URL and in the certificate, and nowhere else.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlencode

from blindai.attestation.amd import product as products
from blindai.attestation.amd.report import REPORT_BYTES, SIGNING_KEYS
from blindai.errors import UsageError
from blindai.transport.collateral import der, piece
from blindai.transport.collateral.collector import Collector, Reader
from blindai.transport.collateral.piece import Answer, Piece, Request
from blindai.transport.collateral.source import service_url

KDS_URL = "https://kdsintf.amd.com"
INTERVAL_SECONDS = 2.0
PRODUCTS = tuple(products.PRODUCTS)
# A new intermediate is rare, and must be seen some day.
CHAIN_SECONDS = 30 * 24 * 3600


@dataclass(frozen=True)
class Tcb:
    """The security version numbers that a VCEK is made for; `fmc` is Turin's alone."""

    bootloader: int
    tee: int
    snp: int
    microcode: int
    fmc: int | None = None


@dataclass(frozen=True)
class Chip:
    """One processor at one TCB. The identifier is not shown, as it names this machine wherever it appears."""

    product: str
    chip_id: bytes = field(repr=False)
    tcb: Tcb

    def __post_init__(self) -> None:
        size = products.PRODUCTS[self.product].hwid_bytes
        if len(self.chip_id) != size:
            raise UsageError(f"the chip id of a {self.product} is {size * 2} hexadecimal digits")
        if not any(self.chip_id):
            raise UsageError(
                "the chip id is zero: the host hides it, and nobody but the host can fetch this certificate"
            )
        if (self.tcb.fmc is not None) != (self.product == "Turin"):
            raise UsageError("the FMC's version number is needed for Turin, and for no other product")
        numbers = (self.tcb.bootloader, self.tcb.tee, self.tcb.snp, self.tcb.microcode, self.tcb.fmc or 0)
        if not all(0 <= number <= 255 for number in numbers):
            raise UsageError("a security version number is between 0 and 255")


@dataclass(frozen=True)
class Signer:
    """Whose key signed a report: one chip's (VCEK) or, for all chips of one cloud, the cloud's (VLEK)."""

    kind: Literal["vcek", "vlek"]
    product: str | None  # None: a report before version 3 does not say
    chip_id: bytes = field(repr=False)  # 64 bytes, as in the report
    tcb: bytes

    def chip(self, product: str | None = None) -> Chip:
        """Return the chip, of a product that the report does not contradict."""
        chosen = product or self.product
        if chosen is None:
            raise UsageError("the report does not tell its product", hint=f"--product {'|'.join(PRODUCTS)}")
        if self.product not in (None, chosen):
            raise UsageError(f"the report is of a {self.product}, not of a {chosen}")
        kind = products.PRODUCTS[chosen]
        if any(self.chip_id[kind.hwid_bytes :]):
            raise UsageError(f"the report's chip id is not that of a {chosen}")
        return Chip(chosen, self.chip_id[: kind.hwid_bytes], Tcb(**kind.components(self.tcb)))


def signer_of(report: bytes) -> Signer:
    """Return who signed an SNP report, as it says. It is not verified: lies only misfetch."""
    version = int.from_bytes(report[:4], "little")
    if len(report) != REPORT_BYTES or version not in (2, 3, 4, 5):
        raise UsageError(f"the file is not an SNP report: {REPORT_BYTES} bytes of version 2 to 5")
    kind = SIGNING_KEYS.get(int.from_bytes(report[0x48:0x4C], "little") >> 2 & 7)
    if kind is None:
        raise UsageError("the report says that no key signed it")
    product = _product(report) if version > 2 else None
    return Signer("vlek" if kind == "vlek" else "vcek", product, report[0x1A0:0x1E0], report[0x180:0x188])


def chip_of(report: bytes, product: str | None = None) -> Chip:
    """Return the chip that an SNP report names. The report is not verified: lies only misfetch."""
    signer = signer_of(report)
    if signer.kind == "vlek":
        raise UsageError(
            "the report is signed by a VLEK, which is given to the cloud provider alone",
            hint="the server must staple it",
        )
    return signer.chip(product)


@dataclass(frozen=True)
class Kds:
    """Where AMD's service is, and how often it may be asked. Methods return a request and its reader."""

    url: str = KDS_URL
    interval_seconds: float = INTERVAL_SECONDS

    @classmethod
    def at(cls, url: str | None, *, interval_seconds: float = INTERVAL_SECONDS) -> Kds:
        return cls(service_url(url or KDS_URL), interval_seconds)

    def vcek(self, chip: Chip) -> tuple[Request, Reader]:
        query = urlencode({name: f"{number:02d}" for name, number in _query(chip.tcb).items()})
        request = self._ask("the VCEK", f"vcek/v1/{chip.product}/{chip.chip_id.hex()}?{query}")
        return request, lambda answer: _vcek(answer, chip)

    def chain(self, product: str, kind: str = "vcek") -> tuple[Request, Reader]:
        return self._ask("AMD's certificates", f"{kind}/v1/{product}/cert_chain"), _chain

    def crl(self, product: str, kind: str = "vcek") -> tuple[Request, Reader]:
        return self._ask("AMD's CRL", f"{kind}/v1/{product}/crl"), _crl

    def _ask(self, what: str, path: str) -> Request:
        return Request(what, f"{self.url}/{path}", interval_seconds=self.interval_seconds)


async def fetch(
    chip: Chip, collector: Collector, *, url: str | None = None, interval_seconds: float = INTERVAL_SECONDS
) -> dict[str, str]:
    """Return the chip's VCEK and its issuers as PEM, and their CRL as hexadecimal DER."""
    kds = Kds.at(url, interval_seconds=interval_seconds)
    return {
        **await collector.piece(*kds.vcek(chip)),
        **await collector.piece(*kds.chain(chip.product)),
        **await collector.piece(*kds.crl(chip.product)),
    }


def _query(tcb: Tcb) -> dict[str, int]:
    fmc = {} if tcb.fmc is None else {"fmcSPL": tcb.fmc}
    return {**fmc, "blSPL": tcb.bootloader, "teeSPL": tcb.tee, "snpSPL": tcb.snp, "ucodeSPL": tcb.microcode}


def _vcek(answer: Answer, chip: Chip) -> Piece:
    # Not by `cryptography`: it will not load a serial number of 0 for ever, and every VCEK has it.
    match der.elements(answer.body):
        case [(0x30, certificate)]:
            if [tag for tag, _ in der.elements(certificate)] != [0x30, 0x30, 0x03]:
                raise ValueError("it is not a certificate")
        case _:
            raise ValueError("it is not a certificate")
    # What is kept for ever has to be the right one.
    if chip.chip_id not in answer.body:
        raise ValueError("it is another chip's certificate")
    return Piece({"leaf": ssl.DER_cert_to_PEM_cert(answer.body)}, until=None)


def _chain(answer: Answer) -> Piece:
    return chain_piece(answer.body, settled_until=answer.fetched + CHAIN_SECONDS)


def chain_piece(pem: bytes, *, settled_until: int | None = None) -> Piece:
    """Read the issuers of a leaf: ASK or ASVK, and ARK. Raises ValueError."""
    issuers = piece.chain(pem)
    if len(issuers) != 2:
        raise ValueError("it is not two certificates")
    return Piece({"issuer_chain": piece.chain_pem(issuers)}, piece.chain_end(issuers), settled_until)


def _crl(answer: Answer) -> Piece:
    return crl_piece(answer.body)


def crl_piece(der: bytes) -> Piece:
    """Read a CRL. Raises ValueError."""
    revoked = piece.crl(der)
    members = {"crl": piece.crl_hex(revoked)}
    return Piece(members, piece.crl_end(revoked), version=piece.crl_version(revoked))


def _product(report: bytes) -> str | None:
    told = products.from_cpuid(report[0x188], report[0x189])
    return None if told is None else told.name
