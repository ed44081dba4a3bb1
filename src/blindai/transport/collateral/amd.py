"""AMD's collateral, from the Key Distribution Service (KDS): a chip's VCEK, its issuers, their CRL.

The service allows few requests, so they are spaced. A VCEK is made for one chip at one TCB and never changes:
it is kept for ever. A chip's identifier is in the URL and in the certificate, and nowhere else.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from urllib.parse import urlencode

from blindai.attestation.amd import product as products
from blindai.attestation.amd.report import REPORT_BYTES, VLEK
from blindai.errors import UsageError
from blindai.transport.collateral import der, piece
from blindai.transport.collateral.collector import Collector
from blindai.transport.collateral.piece import Answer, Piece, Request
from blindai.transport.collateral.source import service_url

KDS_URL = "https://kdsintf.amd.com"
INTERVAL_SECONDS = 2.0
PRODUCTS = tuple(products.PRODUCTS)
# A new intermediate is rare, and must be seen some day.
_CHAIN_SECONDS = 30 * 24 * 3600


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


def chip_of(report: bytes, product: str | None = None) -> Chip:
    """Return the chip that an SNP report names. The report is not verified: lies only misfetch."""
    version = int.from_bytes(report[:4], "little")
    if len(report) != REPORT_BYTES or version not in (2, 3, 4, 5):
        raise UsageError(f"the file is not an SNP report: {REPORT_BYTES} bytes of version 2 to 5")
    if int.from_bytes(report[0x48:0x4C], "little") >> 2 & 7 == VLEK:
        raise UsageError(
            "the report is signed by a VLEK, which is given to the cloud provider alone",
            hint="the server must staple it",
        )
    said = _product(report) if version > 2 else None
    chosen = product or said
    if chosen is None:
        raise UsageError("the report does not tell its product", hint=f"--product {'|'.join(PRODUCTS)}")
    if said not in (None, chosen):
        raise UsageError(f"the report is of a {said}, not of a {chosen}")
    return Chip(
        chosen, _chip_id(report, chosen), Tcb(**products.PRODUCTS[chosen].components(report[0x180:0x188]))
    )


async def fetch(
    chip: Chip, collector: Collector, *, url: str | None = None, interval_seconds: float = INTERVAL_SECONDS
) -> dict[str, str]:
    """Return the chip's VCEK and its issuers as PEM, and their CRL as hexadecimal DER."""
    base = f"{service_url(url or KDS_URL)}/vcek/v1/{chip.product}"

    def ask(what: str, path: str) -> Request:
        return Request(what, f"{base}/{path}", interval_seconds=interval_seconds)

    query = urlencode({name: f"{number:02d}" for name, number in _query(chip.tcb).items()})
    vcek = ask("the VCEK", f"{chip.chip_id.hex()}?{query}")
    return {
        **await collector.piece(vcek, lambda answer: _vcek(answer, chip)),
        **await collector.piece(ask("AMD's certificates", "cert_chain"), _chain),
        **await collector.piece(ask("AMD's CRL", "crl"), _crl),
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
    issuers = piece.chain(answer.body)
    if len(issuers) != 2:
        raise ValueError("it is not two certificates")
    until = min(piece.chain_end(issuers), answer.fetched + _CHAIN_SECONDS)
    return Piece({"issuer_chain": piece.chain_pem(issuers)}, until)


def _crl(answer: Answer) -> Piece:
    revoked = piece.crl(answer.body)
    return Piece({"crl": piece.crl_hex(revoked)}, piece.crl_end(revoked))


def _product(report: bytes) -> str | None:
    told = products.from_cpuid(report[0x188], report[0x189])
    return None if told is None else told.name


def _chip_id(report: bytes, product: str) -> bytes:
    whole, size = report[0x1A0:0x1E0], products.PRODUCTS[product].hwid_bytes
    if any(whole[size:]):
        raise UsageError(f"the report's chip id is not that of a {product}")
    return whole[:size]
