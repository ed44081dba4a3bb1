"""Intel's collateral, from the Provisioning Certification Service (PCS, v4) or a cache of it (PCCS).

Five requests make the nine members that `dcap-qvl` reads. TCB info and QE identity are signed as text: they
are cut out of the answer, byte for byte.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal
from urllib.parse import unquote, urlencode, urlsplit

from cryptography import x509
from cryptography.x509.oid import NameOID

from blindai.attestation.chain import UNREADABLE
from blindai.errors import UsageError
from blindai.transport.collateral import der, piece
from blindai.transport.collateral.collector import Collector
from blindai.transport.collateral.piece import Answer, Piece, Request
from blindai.transport.collateral.source import service_url
from blindai.wire import strict_json

PCS_URL = "https://api.trustedservices.intel.com"
ROOT_CRL_URL = "https://certificates.trustedservices.intel.com/IntelSGXRootCA.der"
API_KEY_HEADER = "Ocp-Apim-Subscription-Key"
_MAX_JSON_BYTES = 256 * 1024
_SGX_EXTENSION = x509.ObjectIdentifier("1.2.840.113741.1.13.1")
_FMSPC = bytes.fromhex("2a864886f84d010d0104")  # that OID with .4
_BEGIN, _END = b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----"
_TDX = 0x81
_UNREADABLE = (
    ValueError,
    x509.InvalidVersion,
    x509.ExtensionNotFound,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)


@dataclass(frozen=True)
class Platform:
    """What collateral is published by: a family of machines, not one machine."""

    fmspc: str
    ca: Literal["processor", "platform"]
    tee: Literal["sgx", "tdx"]

    def __post_init__(self) -> None:
        if not re.fullmatch("[0-9A-F]{12}", self.fmspc):
            raise UsageError("an FMSPC is 12 hexadecimal digits")


@dataclass(frozen=True)
class Service:
    """Where to ask. The key goes to `url` alone."""

    url: str = PCS_URL
    root_crl_url: str = ROOT_CRL_URL
    update: Literal["standard", "early"] | None = None
    api_key: str | None = field(default=None, repr=False)

    @classmethod
    def at(
        cls,
        url: str | None = None,
        *,
        root_crl_url: str | None = None,
        update: Literal["standard", "early"] | None = None,
        api_key: str | None = None,
    ) -> Service:
        """Return the service at a URL: a PCS keeps its root CRL elsewhere, a PCCS has a copy."""
        if api_key is not None and not re.fullmatch("[!-~]+", api_key):
            raise UsageError("the API key is empty, or holds what no header can hold")
        base = service_url(url or PCS_URL)
        # Configuration files of the DCAP libraries have the address with this path.
        base = re.sub(r"/(?:sgx|tdx)/certification/v4$", "", base)
        if root_crl_url is None:
            is_pcs = f".{urlsplit(base).hostname}".endswith(".trustedservices.intel.com")
            root_crl_url = ROOT_CRL_URL if is_pcs else f"{base}/sgx/certification/v4/rootcacrl"
        return cls(base, service_url(root_crl_url), update, api_key)


def platform_of(quote: bytes) -> Platform:
    """Return the platform that a quote's certificate names. The quote is not verified: lies only misfetch."""
    version, tee = int.from_bytes(quote[:2], "little"), int.from_bytes(quote[4:8], "little")
    if version not in (3, 4, 5) or (version > 3 and tee not in (0, _TDX)):
        raise UsageError("the file is not an SGX or TDX quote")
    start = quote.find(_BEGIN)
    end = quote.find(_END, start)
    if start < 0 or end < 0:
        raise UsageError(
            "the quote does not carry its PCK certificate", hint="say what is known: --fmspc, --ca, --tee"
        )
    try:
        leaf = x509.load_pem_x509_certificate(quote[start : end + len(_END)])
        return Platform(_fmspc(leaf), _issuer(leaf), "tdx" if version > 3 and tee == _TDX else "sgx")
    except (*UNREADABLE, x509.ExtensionNotFound) as exc:
        raise UsageError("the quote's first certificate is not a PCK certificate") from exc


async def fetch(platform: Platform, service: Service, collector: Collector) -> dict[str, str]:
    """Return the nine members of a platform's collateral, as the services gave them."""
    headers = {} if service.api_key is None else {API_KEY_HEADER: service.api_key}
    update = {} if service.update is None else {"update": service.update}

    def ask(what: str, tee: str, path: str, **query: str) -> Request:
        asked = f"?{urlencode(query)}" if query else ""
        return Request(what, f"{service.url}/{tee}/certification/v4/{path}{asked}", headers)

    tcb = ask("the TCB info", platform.tee, "tcb", fmspc=platform.fmspc, **update)
    identity = ask("the QE identity", platform.tee, "qe/identity", **update)
    pck_crl = ask("the PCK CRL", "sgx", "pckcrl", ca=platform.ca, encoding="der")
    root_crl = Request("the root CRL", service.root_crl_url)
    return {
        **await collector.piece(tcb, lambda answer: _tcb_info(answer, platform)),
        **await collector.piece(identity, lambda answer: _qe_identity(answer, platform)),
        **await collector.piece(pck_crl, _pck_crl),
        **await collector.piece(root_crl, _root_crl),
    }


def _tcb_info(answer: Answer, platform: Platform) -> Piece:
    names = ("tcb-info-issuer-chain", "sgx-tcb-info-issuer-chain")
    found, value = _signed(answer, "tcbInfo", "tcb_info", names)
    if value.get("id") != platform.tee.upper() or str(value.get("fmspc")).upper() != platform.fmspc:
        raise ValueError("it is about another platform")
    return found


def _qe_identity(answer: Answer, platform: Platform) -> Piece:
    names = ("sgx-enclave-identity-issuer-chain",)
    found, value = _signed(answer, "enclaveIdentity", "qe_identity", names)
    if value.get("id") != {"sgx": "QE", "tdx": "TD_QE"}[platform.tee]:
        raise ValueError("it is about another enclave")
    return found


def _pck_crl(answer: Answer) -> Piece:
    revoked = piece.crl(answer.body)
    issuers = _issuers(answer, ("sgx-pck-crl-issuer-chain",))
    members = {"pck_crl_issuer_chain": piece.chain_pem(issuers), "pck_crl": piece.crl_hex(revoked)}
    until = min(piece.crl_end(revoked), piece.chain_end(issuers))
    return Piece(members, until, version=piece.crl_version(revoked))


def _root_crl(answer: Answer) -> Piece:
    revoked = piece.crl(answer.body)
    members = {"root_ca_crl": piece.crl_hex(revoked)}
    return Piece(members, piece.crl_end(revoked), version=piece.crl_version(revoked))


def _signed(answer: Answer, name: str, member: str, headers: Sequence[str]) -> tuple[Piece, dict[str, Any]]:
    """Read `{NAME: {...}, "signature": "..."}`: the piece, and the decoded value."""
    value = strict_json.decode_object(answer.body, max_bytes=_MAX_JSON_BYTES)
    signature, inner = value.get("signature"), value.get(name)
    if not isinstance(inner, dict) or not isinstance(signature, str):
        raise ValueError("it is not a signed text")
    if not re.fullmatch("[0-9A-Fa-f]{128}", signature):
        raise ValueError("its signature is not one of ECDSA P-256")
    issuers = _issuers(answer, headers)
    members = {
        f"{member}_issuer_chain": piece.chain_pem(issuers),
        member: _text_of(answer.body.decode(), name),
        f"{member}_signature": signature,
    }
    until = min(_date(inner, "nextUpdate"), piece.chain_end(issuers))
    evaluation = inner.get("tcbEvaluationDataNumber")
    if not isinstance(evaluation, int):
        raise ValueError("it does not say its evaluation number")
    return Piece(members, until, version=(evaluation, _date(inner, "issueDate"))), inner


def _date(value: dict[str, Any], name: str) -> int:
    try:
        date = datetime.strptime(f"{value.get(name)}+0000", "%Y-%m-%dT%H:%M:%SZ%z")
    except ValueError:
        raise ValueError("it does not say from when and until when it is of use") from None
    return int(date.timestamp())


def _text_of(text: str, name: str) -> str:
    """Return a member's value as it was written: decoded and written anew, its signature would not hold.

    `text` is an object that the strict decoder took: every member's name occurs once.
    """
    decoder = json.JSONDecoder()
    blank = re.compile(r"[ \t\r\n]*[{,:]?[ \t\r\n]*")
    position = 0
    while True:
        key, position = decoder.raw_decode(text, _past(blank, text, position))
        start = _past(blank, text, position)
        _, position = decoder.raw_decode(text, start)
        if key == name:
            return text[start:position]


def _past(pattern: re.Pattern[str], text: str, position: int) -> int:
    match = pattern.match(text, position)
    return match.end() if match else position


def _issuers(answer: Answer, names: Sequence[str]) -> tuple[x509.Certificate, ...]:
    found = [answer.headers[name] for name in names if name in answer.headers]
    if len(found) != 1:
        raise ValueError("it comes without its issuers' certificates")
    # `unquote_plus` would make blanks of the "+" of base64.
    return piece.chain(unquote(found[0]).encode())


def _fmspc(leaf: x509.Certificate) -> str:
    """Find the FMSPC among the pairs of OID and value in the certificate's SGX extension."""
    extension = leaf.extensions.get_extension_for_oid(_SGX_EXTENSION).value.public_bytes()
    ((_, pairs),) = der.elements(extension)
    for tag, pair in der.elements(pairs):
        match der.elements(pair) if tag == 0x30 else []:
            case [(0x06, oid), (0x04, value)] if oid == _FMSPC:
                return value.hex().upper()
    raise ValueError("no FMSPC")


def _issuer(leaf: x509.Certificate) -> Literal["processor", "platform"]:
    for name in leaf.issuer.get_attributes_for_oid(NameOID.COMMON_NAME):
        if str(name.value).endswith("PCK Processor CA"):
            return "processor"
        if str(name.value).endswith("PCK Platform CA"):
            return "platform"
    raise ValueError("no PCK CA issued it")
