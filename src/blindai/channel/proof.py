"""A proof: one file by which somebody who was not there checks what an enclave answered (design 4.7).

It holds the receipt, what attested the server (certificate, nonce, answer), the client's seed, what the
digests cover beside the bodies, the digests of the bodies and, if the client wanted that, the bodies. It
proves nothing by itself: `channel.proven` judges it against the policy, the roots and the time of whoever
asks. All of it but the bundle goes into the two digests that the receipt signs, with bodies or without:
none of it can be changed.

Whoever has the file without the bodies can still try guesses of a small input: the seed is in it.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass, field
from typing import Any

from blindai.channel.bundle import MAX_BUNDLE_BYTES, Bundle
from blindai.channel.exchange_digest import (
    DIGEST_BYTES,
    SEED_BYTES,
    RequestDigest,
    RequestHead,
    ResponseDigest,
    ResponseHead,
    salt_of,
)
from blindai.channel.receipt import MAX_RECEIPT_BYTES
from blindai.errors import EvidenceMalformed, Reason
from blindai.wire import base64url, strict_json

VERSION = 1
MAX_BODY_BYTES = 16 * 2**20  # of each body inside a proof; a longer one stays a file of its own
MAX_HEAD_CHARACTERS = 16 * 1024  # of each field of a head
MAX_PROOF_BYTES = (
    MAX_BUNDLE_BYTES + 2 * (MAX_BODY_BYTES * 4 // 3) + 8 * 6 * MAX_HEAD_CHARACTERS + 2 * MAX_RECEIPT_BYTES
)

_SHA256 = re.compile("[0-9a-f]{64}")
_COVERED = ("content_type", "content_encoding", "inference_header_length")
_REQUEST = {"method", "path", *_COVERED, "body_digest", "body"}
_RESPONSE = {"status", *_COVERED, "body_digest", "body"}


@dataclass(frozen=True)
class Proof:
    """What a client kept of one exchange. Not verified.

    policy_sha256: the policy that the client says it demanded. Told, never judged: the client fixed it
        before it asked, and nobody else signed it.
    request_body_digest: None where the server answered before it had read all of the request.
    """

    bundle: Bundle
    receipt: str
    seed: bytes = field(repr=False)
    request_head: RequestHead
    response_head: ResponseHead
    policy_sha256: str
    request_body_digest: bytes | None
    response_body_digest: bytes
    request_body: bytes | None = field(default=None, repr=False)
    response_body: bytes | None = field(default=None, repr=False)

    @property
    def salt(self) -> bytes:
        """The salt that went to the server. It depends on the seed, the policy and the request's head."""
        return salt_of(self.seed, self.policy_sha256, self.request_head)

    def encode(self) -> bytes:
        """Return the text of a proof file."""
        value = self._members()
        # Unkeyed: it tells damage from forgery, also in what no signature covers in a bundle (a certificate
        # beside its key, spaces in an answer), and proves nothing.
        value["sha256"] = hashlib.sha256(_text(value)).hexdigest()
        return _text(value)

    @classmethod
    def parse(cls, raw: bytes) -> Proof:
        """Read the text of a proof file, or raise EvidenceMalformed. Nothing is verified.

        A proof has one text: of the same members written otherwise nothing is read.
        """
        try:
            proof = _parse(raw)
            if proof.encode() != raw:
                raise ValueError("it was changed: its bytes are not those of its sha256")
        except ValueError as exc:
            raise _malformed(str(exc)) from exc
        return proof

    def _members(self) -> dict[str, Any]:
        return {
            "version": VERSION,
            "receipt": self.receipt,
            "seed": base64url.encode(self.seed),
            "policy_sha256": self.policy_sha256,
            "request": {
                **asdict(self.request_head),
                "body_digest": _encoded(self.request_body_digest),
                "body": _encoded(self.request_body),
            },
            "response": {
                **asdict(self.response_head),
                "body_digest": _encoded(self.response_body_digest),
                "body": _encoded(self.response_body),
            },
            "bundle": self.bundle.to_json(),
        }


def _text(value: dict[str, Any]) -> bytes:
    return json.dumps(value, indent=1).encode("ascii") + b"\n"


def _encoded(data: bytes | None) -> str | None:
    return None if data is None else base64url.encode(data)


def _malformed(what: str) -> EvidenceMalformed:
    return EvidenceMalformed(
        Reason.PROOF_MALFORMED,
        f"the proof is malformed: {what}",
        hint="`answer.receipt.save(path)` writes one; a mail program or an editor may have changed it",
    )


def _parse(raw: bytes) -> Proof:
    value = strict_json.members(
        strict_json.decode_object(raw, max_bytes=MAX_PROOF_BYTES),
        "proof",
        {"version", "receipt", "seed", "policy_sha256", "request", "response", "bundle", "sha256"},
    )
    if value["version"] != VERSION or isinstance(value["version"], bool):
        raise ValueError("unknown version")
    request = strict_json.members(value["request"], "request", _REQUEST)
    response = strict_json.members(value["response"], "response", _RESPONSE)
    proof = Proof(
        bundle=_bundle(value["bundle"]),
        receipt=_string(value["receipt"], "receipt", MAX_RECEIPT_BYTES),
        seed=_binary(value["seed"], "seed", SEED_BYTES),
        request_head=RequestHead(
            _string(request["method"], "method"), _string(request["path"], "path"), *_headers(request)
        ),
        response_head=ResponseHead(_status(response["status"]), *_headers(response)),
        policy_sha256=_policy(value["policy_sha256"]),
        request_body_digest=None if request["body_digest"] is None else _digest(request["body_digest"]),
        response_body_digest=_digest(response["body_digest"]),
        request_body=_body(request["body"], "the request's body"),
        response_body=_body(response["body"], "the response's body"),
    )
    if proof.request_body is not None and proof.request_body_digest is None:
        raise ValueError("it has the body of a request that the server had not read")
    RequestDigest(proof.salt, proof.request_head)  # neither a seed nor a head that no exchange could have
    ResponseDigest(proof.salt, proof.response_head)
    return proof


def _bundle(value: Any) -> Bundle:
    if not isinstance(value, dict):
        raise ValueError("bundle is not an object")
    try:
        return Bundle.parse(json.dumps(value).encode("ascii"))
    except EvidenceMalformed as exc:
        raise ValueError("its bundle cannot be read") from exc


def _headers(head: dict[str, Any]) -> tuple[str | None, ...]:
    return tuple(None if head[name] is None else _string(head[name], name) for name in _COVERED)


def _string(value: Any, what: str, most: int = MAX_HEAD_CHARACTERS) -> str:
    if not isinstance(value, str) or len(value) > most:
        raise ValueError(f"{what} is not a string of at most {most} characters")
    return value


def _policy(value: Any) -> str:
    text = _string(value, "policy_sha256")
    if not _SHA256.fullmatch(text):
        raise ValueError("policy_sha256 is not 64 lower-case hexadecimal digits")
    return text


def _status(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError("status is not a number")
    return value


def _digest(value: Any) -> bytes:
    digest = _binary(value, "body_digest", DIGEST_BYTES)
    if len(digest) != DIGEST_BYTES:
        raise ValueError(f"body_digest does not have {DIGEST_BYTES} bytes")
    return digest


def _body(value: Any, what: str) -> bytes | None:
    return None if value is None else _binary(value, what, MAX_BODY_BYTES)


def _binary(value: Any, what: str, most: int) -> bytes:
    text = _string(value, what, most=most * 4 // 3 + 3)
    try:
        data = base64url.decode(text)
    except ValueError as exc:
        raise ValueError(f"{what} is {exc}") from exc
    if len(data) > most:
        raise ValueError(f"{what} has more than {most} bytes")
    return data
