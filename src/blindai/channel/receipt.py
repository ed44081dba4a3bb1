"""A receipt: what the server signs, when asked, about one exchange (design 4.7).

A compact JWS (RFC 7515) whose header is these bytes and no others, `kid` being SHA-256 of the keyset::

    {"alg":"Ed25519","typ":"blindai-receipt+jws","kid":"<43 characters of base64url>"}

So nothing in a receipt chooses an algorithm or a key: the key comes from an attested keyset only. A receipt
proves what the measured code said about one exchange, for whoever shows by other means that the keyset was
attested (`channel.proof`). Its time is asserted. There is no sequence and no chain: they would leak how
many others were served.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from blindai.errors import EvidenceForged, EvidenceMalformed, Reason
from blindai.wire import base64url, strict_json

SALT_HEADER = "BlindAI-Receipt-Salt"
RECEIPT_HEADER = "BlindAI-Receipt"
VERSION = 1
ID_BYTES = 16
MAX_RECEIPT_BYTES = 16 * 1024  # of the whole compact JWS
MAX_TEXT = 256  # characters

_HEADER = re.compile(rb'\{"alg":"Ed25519","typ":"blindai-receipt\+jws","kid":"([A-Za-z0-9_-]{43})"\}')
_SHA256 = re.compile(r"[0-9a-f]{64}")
# Base64url of 16 and of 32 bytes, canonical: the bits that no byte fills are zero.
_ID = re.compile(r"[A-Za-z0-9_-]{21}[AQgw]")
_DIGEST = re.compile(r"[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]")


class Kind(StrEnum):
    """What the request asked for."""

    INFERENCE = "inference"
    UPLOAD = "upload"
    OTHER = "other"


@dataclass(frozen=True)
class Receipt:
    """The claims of a receipt, each of its form, or ValueError: what nobody would read is never signed.

    By itself it proves nothing: see `verify` and `channel.proof`.

    id: 16 random bytes, base64url. issued_at: Unix seconds by the server's clock.
    model, model_sha256: None where no model was reached that the caller may see.
    request: the request's digest, base64url; None where the server answered before it had read all of it.
    response: the response's digest, base64url.
    """

    id: str
    kind: Kind
    issued_at: int
    status: int
    model: str | None
    model_sha256: str | None
    profile: str | None
    engine: str
    request: str | None
    response: str
    version: int = VERSION

    def __post_init__(self) -> None:
        if type(self.version) is not int or self.version != VERSION:
            raise ValueError("unknown version")
        if not isinstance(self.kind, Kind):
            raise ValueError("unknown kind")
        _check_form("id", self.id, _ID)
        _check_integer("issued_at", self.issued_at, 0, 2**53)
        _check_integer("status", self.status, 100, 1000)
        for name, text in (("model", self.model), ("profile", self.profile)):
            if text is not None:
                _check_text(name, text)
        if self.model_sha256 is not None:
            _check_form("model_sha256", self.model_sha256, _SHA256)
        _check_text("engine", self.engine)
        if self.request is not None:
            _check_form("request", self.request, _DIGEST)
        elif self.succeeded and self.kind is not Kind.OTHER:
            raise ValueError("it says that a request was served which the server had not read")
        _check_form("response", self.response, _DIGEST)

    @property
    def succeeded(self) -> bool:
        return 200 <= self.status < 300

    def to_json(self) -> dict[str, Any]:
        return dict(vars(self))


@dataclass(frozen=True)
class Unverified:
    """What a receipt says, for showing to people: anybody can write one. No verification starts from it."""

    keyset_sha256: bytes
    claims: dict[str, Any]


def sign(receipt: Receipt, key: Ed25519PrivateKey, kid: bytes) -> str:
    """Return the compact JWS. `kid` is SHA-256 of the keyset that holds the public half of `key`."""
    payload = json.dumps(receipt.to_json(), separators=(",", ":")).encode("ascii")
    signed = f"{base64url.encode(_header(kid))}.{base64url.encode(payload)}"
    return f"{signed}.{base64url.encode(key.sign(signed.encode('ascii')))}"


def verify(compact: str, receipt_key: bytes, keyset_sha256: bytes) -> Receipt:
    """Return the claims of a receipt that this keyset signed, or raise AttestationError.

    1. three parts of canonical base64url, 16 KiB at most
    2. the header is byte by byte the one for this keyset
    3. the signature holds, by the keyset's receipt key (Ed25519, 32 bytes raw)
    4. the claims are strict JSON, each of its form, no more and no fewer

    Nothing says yet that the keyset is anybody's enclave, nor what the digests are of.
    """
    header, payload, signature = _parts(compact)  # 1
    if header != _header(keyset_sha256):  # 2
        _keyset_in(header)
        raise EvidenceForged(
            Reason.RECEIPT_KEYSET,
            "the receipt is of another keyset",
            hint="it was signed by another server, or by this one before its keys changed",
        )
    try:  # 3
        signed = compact.rpartition(".")[0].encode("ascii")
        Ed25519PublicKey.from_public_bytes(receipt_key).verify(signature, signed)
    except (InvalidSignature, ValueError) as exc:
        raise EvidenceForged(
            Reason.RECEIPT_SIGNATURE, "the receipt's signature does not hold: it was changed or made up"
        ) from exc
    return _read(payload)  # 4


def unverified(compact: str) -> Unverified:
    """Read what a receipt says without asking whether it is true, or raise AttestationError."""
    header, payload, _ = _parts(compact)
    return Unverified(_keyset_in(header), _read(payload).to_json())


def _header(kid: bytes) -> bytes:
    return b'{"alg":"Ed25519","typ":"blindai-receipt+jws","kid":"%b"}' % base64url.encode(kid).encode("ascii")


def _keyset_in(header: bytes) -> bytes:
    match = _HEADER.fullmatch(header)
    if match is not None:
        try:
            return base64url.decode(match[1].decode("ascii"))
        except ValueError:
            pass  # a second spelling of a digest is not the header either
    raise EvidenceForged(
        Reason.RECEIPT_HEADER,
        "the receipt's header is not the one that every receipt has: another algorithm, key or type",
    )


def _parts(compact: str) -> tuple[bytes, bytes, bytes]:
    if len(compact) > MAX_RECEIPT_BYTES:
        raise _malformed(f"it is longer than {MAX_RECEIPT_BYTES} bytes")
    try:
        header, payload, signature = map(base64url.decode, compact.split("."))
    except ValueError as exc:
        raise _malformed("it is not three parts of canonical base64url") from exc
    return header, payload, signature


def _read(payload: bytes) -> Receipt:
    try:
        return _claims(strict_json.decode_object(payload, max_bytes=MAX_RECEIPT_BYTES))
    except ValueError as exc:
        raise _malformed(str(exc)) from exc


def _malformed(what: str) -> EvidenceMalformed:
    return EvidenceMalformed(Reason.RECEIPT_MALFORMED, f"the receipt is malformed: {what}")


def _claims(members: dict[str, Any]) -> Receipt:
    value = strict_json.members(members, "receipt", set(Receipt.__dataclass_fields__))
    return Receipt(**{**value, "kind": Kind(value["kind"])})


def _check_text(name: str, text: object) -> None:
    if not isinstance(text, str) or not 1 <= len(text) <= MAX_TEXT or not text.isprintable():
        raise ValueError(f"{name} is not a text of 1 to {MAX_TEXT} printable characters")


def _check_form(name: str, text: object, form: re.Pattern[str]) -> None:
    if not isinstance(text, str) or not form.fullmatch(text):
        raise ValueError(f"{name} is not of its form")


def _check_integer(name: str, number: object, least: int, beyond: int) -> None:
    if not isinstance(number, int) or isinstance(number, bool) or not least <= number < beyond:
        raise ValueError(f"{name} is not a number from {least} to {beyond - 1}")
