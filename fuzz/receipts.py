"""Receipts and proofs: changed, signed again by the server or by a stranger, and put together from others."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
from collections.abc import Iterator
from functools import cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from blindai.attestation.appraisal import CLOCK_SKEW_SECONDS
from blindai.attestation.policy import Policy
from blindai.attestation.trust import StapledSimulationTrust
from blindai.channel import answer, keyset, proven
from blindai.channel import receipt as receipts
from blindai.channel.bundle import Bundle, Peer
from blindai.channel.proof import Proof
from blindai.channel.receipt import Receipt
from blindai.errors import AttestationError
from blindai.wire import base64url
from fuzz import samples
from fuzz.signing import Signed, composed, members_of, recipe_of

SERVER, STRANGER = (Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32) for number in (1, 2))
SIGNERS = {"server": SERVER.sign, "stranger": STRANGER.sign}
PUBLIC = SERVER.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
MODEL_SHA256 = hashlib.sha256(b"a model").hexdigest()
SEED = bytes(range(100, 132))
REQUEST_BODY, RESPONSE_BODY = b'{"inputs":[]}' + bytes(20), b'{"outputs":[]}'
TRUST = StapledSimulationTrust()


def receipt(data: bytes) -> None:
    """What is accepted is what the server signed, to the last claim."""
    signed = composed(members_of(data), SIGNERS)
    with contextlib.suppress(AttestationError):
        receipts.unverified(signed.compact)
    claims = receipts.verify(signed.compact, PUBLIC, _kid())
    _check_signed(signed, claims)
    header = base64url.decode(signed.compact.split(".")[0])
    if header != json.dumps(_header(), separators=(",", ":")).encode():
        raise AssertionError("a header that is not the one of receipts")
    if receipts.unverified(signed.compact).claims != claims.to_json():
        raise AssertionError("shown are other claims than are proven")
    if receipts.verify(receipts.sign(claims, SERVER, _kid()), PUBLIC, _kid()) != claims:
        raise AssertionError("a receipt does not survive being written")


def proof(data: bytes) -> None:
    """Nothing is proven but what the server signed about this request and this response."""
    recipe = members_of(data)
    members = recipe.get("proof")
    if not isinstance(members, dict):
        Proof.parse(data)
        return
    signed = composed(members.get("receipt"), SIGNERS)
    text = _written({**members, "receipt": signed.compact})
    parsed = Proof.parse(text)
    _check_parsed(parsed, json.loads(text))
    given = recipe.get("with_bodies") is True
    concluded = proven.conclude(
        parsed,
        policy=_policy(),
        trust=TRUST,
        floors={},
        now=samples.NOW,
        request_body=REQUEST_BODY if given else None,
        response_body=RESPONSE_BODY if given else None,
    )
    _check_signed(signed, concluded.receipt)
    _check_proven(concluded, parsed, given=given)


def _check_signed(signed: Signed, claims: Receipt) -> None:
    if signed.signer is None and signed.compact not in _genuine():
        raise AssertionError("the server never signed this")
    if signed.signer not in (None, "server"):
        raise AssertionError("a stranger signed this")
    payload = base64url.decode(signed.compact.split(".")[1])
    if json.loads(payload) != claims.to_json():
        raise AssertionError("other claims than were signed")


def _check_parsed(parsed: Proof, value: dict[str, Any]) -> None:
    heads = {**vars(parsed.request_head)}, {**vars(parsed.response_head)}
    binary = [value[part].pop(name) for part in ("request", "response") for name in ("body_digest", "body")]
    if heads != (value["request"], value["response"]) or parsed.receipt != value["receipt"]:
        raise AssertionError("other heads, or another receipt, than were written")
    request = parsed.request_body_digest, parsed.request_body
    for found, text in zip(
        (*request, parsed.response_body_digest, parsed.response_body), binary, strict=True
    ):
        if (None if found is None else base64url.encode(found)) != text:
            raise AssertionError("another body, or another digest of one, than was written")
    if base64url.encode(parsed.seed) != value["seed"] or parsed.bundle.to_json() != value["bundle"]:
        raise AssertionError("another seed, or another bundle, than was written")
    if parsed.policy_sha256 != value["policy_sha256"]:
        raise AssertionError("another policy than was written")


def _check_proven(concluded: proven.Proven, parsed: Proof, *, given: bool) -> None:
    claims = concluded.receipt
    lived = keyset.DEFAULT_LIFE_SECONDS + CLOCK_SKEW_SECONDS
    if not concluded.verdict.accepted or not -CLOCK_SKEW_SECONDS <= claims.issued_at - samples.NOW <= lived:
        raise AssertionError("proven, and not in the keyset's life")
    if parsed.bundle.peer.tls_spki_sha256 != samples.TLS.spki_sha256:
        raise AssertionError("a proof of another server")
    if claims.succeeded and claims.kind != "other" and claims.model_sha256 != MODEL_SHA256:
        raise AssertionError("another model than the policy's")
    if claims.status != parsed.response_head.status:
        raise AssertionError("proven of another status")
    fields = [*vars(parsed.request_head).values()]
    salt = _salt(parsed.seed, parsed.policy_sha256, fields)
    if parsed.request_body_digest is None or claims.request is None:
        unread = parsed.request_body_digest, parsed.request_body, claims.request
        if unread != (None, None, None) or concluded.request_compared:
            raise AssertionError("proven of a request that was not read")
    else:
        bodies = parsed.request_body, REQUEST_BODY if given else None
        compared = concluded.request_compared
        _check_half(b"request", salt, claims.request, fields, parsed.request_body_digest, bodies, compared)
    status, *others = vars(parsed.response_head).values()
    fields, bodies = [str(status), *others], (parsed.response_body, RESPONSE_BODY if given else None)
    compared = concluded.response_compared
    _check_half(b"response", salt, claims.response, fields, parsed.response_body_digest, bodies, compared)


def _check_half(
    half: bytes,
    salt: bytes,
    claim: str,
    fields: list[str | None],
    known: bytes,
    bodies: tuple[bytes | None, bytes | None],
    compared: bool,
) -> None:
    """The signature covers the head and the digest of the body, bodies or none; each body has its digest."""
    if _claim(half, salt, fields, known) != claim:
        raise AssertionError("proven of another seed, policy, head or digest of a body")
    there = [body for body in bodies if body is not None]
    if compared != bool(there) or any(_body_digest(half, salt, body) != known for body in there):
        raise AssertionError("proven of another body, or of none")


def _salt(seed: bytes, policy_sha256: str, fields: list[str | None]) -> bytes:
    """Return the salt of an exchange; it and the digests are made here once more from their description."""
    text = b"blindai-receipt-salt-v1\0" + bytes.fromhex(policy_sha256) + _written_out(fields)
    return hmac.digest(seed, text, "sha256")


def _claim(half: bytes, salt: bytes, fields: list[str | None], body_digest: bytes) -> str:
    text = b"blindai-" + half + b"-v1\0" + _written_out(fields) + body_digest
    return base64url.encode(hmac.digest(salt, text, "sha256"))


def _body_digest(half: bytes, salt: bytes, body: bytes) -> bytes:
    return hmac.digest(salt, b"blindai-" + half + b"-body-v1\0" + body, "sha256")


def _written_out(fields: list[str | None]) -> bytes:
    return b"".join(
        b"\xff" * 8 if value is None else len(value).to_bytes(8, "big") + value.encode("latin-1")
        for value in fields
    )


def receipt_recipes() -> list[bytes]:
    return [json.dumps(recipe).encode() for claims in _claims() for recipe in _recipes(claims)]


def proofs() -> list[bytes]:
    """Return recipes of proofs, each with the parts of another beside it, which a change may put in.

    Those of genuine receipts are proven here, or this raises: from refusals nothing would be found.
    """
    true = [_members(claims) for claims in _claims()]
    others = [{**members, "bundle": None} for members in true[1:] + true[:1]]
    made = [
        json.dumps({"proof": {**kept, "receipt": recipe}, "with_bodies": bodies, "other": other}).encode()
        for members, other, claims in zip(true, others, _claims(), strict=True)
        for recipe, kept, bodies in zip(
            _recipes(claims),
            (members, _without_bodies(members), members),
            (claims["status"] == 200, False, False),
            strict=True,
        )
    ]
    for recipe in made[::3]:
        proof(recipe)
    return [*made, _written({**true[0], "receipt": next(iter(_genuine()))})]


def _without_bodies(members: dict[str, Any]) -> dict[str, Any]:
    return {**members, **{half: {**members[half], "body": None} for half in ("request", "response")}}


def _recipes(claims: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the genuine receipt, one for the server to sign again, and one for a stranger."""
    yield _genuine_recipe(claims)
    yield recipe_of(_header(), claims, "server")
    yield recipe_of(_header(), claims, "stranger")


def _genuine_recipe(claims: dict[str, Any]) -> dict[str, Any]:
    signature = composed(recipe_of(_header(), claims, "server"), SIGNERS).compact.rpartition(".")[2]
    return recipe_of(_header(), claims, "server", signature)


@cache
def _genuine() -> frozenset[str]:
    """Return what the server signed of its own will."""
    return frozenset(composed(_genuine_recipe(claims), SIGNERS).compact for claims in _claims())


def _salted() -> bytes:
    return _salt(SEED, _policy().sha256, [*_REQUEST.values()])


@cache
def _claims() -> tuple[dict[str, Any], ...]:
    """Return the claims of three exchanges: served, refused, and refused before it was read."""
    salt = _salted()
    request, response = (
        _body_digest(b"request", salt, REQUEST_BODY),
        _body_digest(b"response", salt, RESPONSE_BODY),
    )
    served = {
        "id": base64url.encode(bytes(16)),
        "kind": "inference",
        "issued_at": samples.NOW + 60,
        "status": 200,
        "model": "alice/sentiment",
        "model_sha256": MODEL_SHA256,
        "profile": "fp32",
        "engine": "onnxruntime 1.31.1",
        "request": _claim(b"request", salt, [*_REQUEST.values()], request),
        "response": _claim(b"response", salt, ["200", *_HEADERS.values()], response),
        "version": 1,
    }
    refused = _claim(b"response", salt, ["404", *_HEADERS.values()], response)
    nothing = {"model": None, "model_sha256": None, "status": 404, "response": refused}
    return served, {**served, **nothing}, {**served, **nothing, "kind": "other", "request": None}


_HEADERS = {"content_type": "application/json", "content_encoding": None, "inference_header_length": "14"}
_REQUEST = {"method": "POST", "path": "/v2/models/alice%2Fsentiment/infer", **_HEADERS}


def _members(claims: dict[str, Any]) -> dict[str, Any]:
    """Return what a client keeps of an exchange; of a request that the server did not read, only its head."""
    return {
        "version": 1,
        "receipt": None,
        "seed": base64url.encode(SEED),
        "policy_sha256": _policy().sha256,
        "request": {**_REQUEST, **_kept(b"request", REQUEST_BODY if claims["request"] else None)},
        "response": {"status": claims["status"], **_HEADERS, **_kept(b"response", RESPONSE_BODY)},
        "bundle": _bundle().to_json(),
    }


def _kept(half: bytes, body: bytes | None) -> dict[str, str | None]:
    digest = None if body is None else base64url.encode(_body_digest(half, _salted(), body))
    return {"body_digest": digest, "body": None if body is None else base64url.encode(body)}


def _written(members: dict[str, Any]) -> bytes:
    """Write a proof with its sum; one that brings a sum keeps it."""
    if "sha256" not in members:
        members = {**members, "sha256": hashlib.sha256(_text(members)).hexdigest()}
    return _text(members)


def _text(members: dict[str, Any]) -> bytes:
    return json.dumps(members, indent=1).encode("ascii") + b"\n"


def _header() -> dict[str, str]:
    return {"alg": "Ed25519", "typ": "blindai-receipt+jws", "kid": base64url.encode(_kid())}


@cache
def _kid() -> bytes:
    return answer.parse(_bundle().answer).keyset.sha256


@cache
def _bundle() -> Bundle:
    peer = Peer.from_certificate("localhost", samples.TLS.certificate.public_bytes(Encoding.DER))
    return Bundle(peer, samples.NONCE, samples.answer(receipt_key=PUBLIC))


@cache
def _policy() -> Policy:
    return Policy.from_toml(f'{samples.policy_text()}\n[models]\nsha256 = ["{MODEL_SHA256}"]\n')
