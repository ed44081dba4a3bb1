"""One exchange with a simulated server, its receipt and its proof: true, and one keyword for each lie."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from blindai.attestation.policy import Policy
from blindai.attestation.trust import SimulationTrust
from blindai.channel import answer, proven, receipt
from blindai.channel.bundle import Bundle
from blindai.channel.exchange_digest import (
    RequestDigest,
    RequestHead,
    ResponseDigest,
    ResponseHead,
    salt_of,
)
from blindai.channel.proof import Proof
from blindai.channel.proven import Proven
from blindai.channel.receipt import Kind, Receipt
from blindai.errors import Reason
from blindai.wire import base64url
from tests.attestation.scene import NONCE, NOW, PEER, answer_of, healthy, policy_of

SEED = bytes(range(100, 132))
MODEL_SHA256 = hashlib.sha256(b"a model").hexdigest()
REQUEST_BODY, RESPONSE_BODY = b'{"inputs":[]}' + bytes(64), b'{"outputs":[]}' + bytes(range(64))
REQUEST = RequestHead("POST", "/v2/models/alice%2Fsentiment/infer", "application/octet-stream", None, "13")
RESPONSE = ResponseHead(200, "application/octet-stream", None, "14")
POLICY_SHA256 = policy_of(healthy("tdx")).sha256
SALT = salt_of(SEED, POLICY_SHA256, REQUEST)
RECEIPT_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER_KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))


def public(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def request_digest(
    head: RequestHead = REQUEST, body: bytes = REQUEST_BODY, salt: bytes = SALT
) -> RequestDigest:
    digest = RequestDigest(salt, head)
    digest.update(body)
    return digest


def response_digest(
    head: ResponseHead = RESPONSE, body: bytes = RESPONSE_BODY, salt: bytes = SALT
) -> ResponseDigest:
    digest = ResponseDigest(salt, head)
    digest.update(body)
    return digest


def request_claim(head: RequestHead = REQUEST, body: bytes = REQUEST_BODY, salt: bytes = SALT) -> str:
    return request_digest(head, body, salt).claim()


def response_claim(head: ResponseHead = RESPONSE, body: bytes = RESPONSE_BODY, salt: bytes = SALT) -> str:
    return response_digest(head, body, salt).claim()


def claims(**members: Any) -> Receipt:
    """Return what a server says about the exchange; `members` replace claims."""
    true: dict[str, Any] = {
        "id": base64url.encode(bytes(16)),
        "kind": Kind.INFERENCE,
        "issued_at": NOW + 60,
        "status": 200,
        "model": "alice/sentiment",
        "model_sha256": MODEL_SHA256,
        "profile": "fp32",
        "engine": "onnxruntime 1.31.1",
        "request": request_claim(),
        "response": response_claim(),
    }
    return Receipt(**{**true, **members})


def bundle_of(key: Ed25519PrivateKey = RECEIPT_KEY, **lies: Any) -> Bundle:
    """Return what attested the server whose keyset holds this receipt key."""
    return Bundle(PEER, NONCE, answer_of(healthy("tdx"), receipt_key=public(key), **lies))


BUNDLE = bundle_of()
KEYSET = answer.parse(BUNDLE.answer).keyset.sha256


def signed(said: Receipt | None = None, key: Ed25519PrivateKey = RECEIPT_KEY, kid: bytes = KEYSET) -> str:
    return receipt.sign(said or claims(), key, kid)


def proof_of(said: Receipt | None = None, **members: Any) -> Proof:
    """Return a proof without bodies; `members` replace its parts."""
    true: dict[str, Any] = {
        "bundle": BUNDLE,
        "receipt": signed(said),
        "seed": SEED,
        "request_head": REQUEST,
        "response_head": RESPONSE,
        "policy_sha256": POLICY_SHA256,
        "request_body_digest": request_digest().body_digest(),
        "response_body_digest": response_digest().body_digest(),
    }
    return Proof(**{**true, **members})


def unread_proof() -> Proof:
    """Return the proof of a refusal that came before the server had read the whole request."""
    head = replace(RESPONSE, status=413)
    said = claims(
        status=413, request=None, response=response_claim(head), model=None, model_sha256=None, profile=None
    )
    return proof_of(said, response_head=head, request_body_digest=None)


def with_bodies(proof: Proof) -> Proof:
    return replace(proof, request_body=REQUEST_BODY, response_body=RESPONSE_BODY)


def concluded(proof: Proof, **options: Any) -> Proven:
    """Judge a proof as an auditor of this machine would."""
    machine = healthy("tdx")
    usual: dict[str, Any] = {
        "policy": policy_of(machine),
        "trust": SimulationTrust([machine.root_sha256]),
        "floors": {},
        "now": NOW,
        "request_body": REQUEST_BODY,
        "response_body": RESPONSE_BODY,
    }
    return proven.conclude(proof, **{**usual, **options})


def policy_with_models(*digests: str) -> Policy:
    if not digests:
        return policy_of(healthy("tdx"))
    listed = ", ".join(f'"{digest}"' for digest in digests)
    return policy_of(healthy("tdx"), tables=f"[models]\nsha256 = [{listed}]")


# Every reason that a proof can be refused for beside those of its bundle: the file, and what is demanded.
LIES: dict[Reason, tuple[bytes, dict[str, Any]]] = {
    Reason.PROOF_MALFORMED: (b"{}", {}),
    Reason.RECEIPT_MALFORMED: (proof_of(receipt="").encode(), {}),
    Reason.RECEIPT_HEADER: (proof_of(receipt="..").encode(), {}),
    Reason.RECEIPT_SIGNATURE: (proof_of(receipt=signed(key=OTHER_KEY)).encode(), {}),
    Reason.RECEIPT_KEYSET: (proof_of(receipt=signed(kid=bytes(32))).encode(), {}),
    Reason.RECEIPT_REQUEST: (proof_of(request_body=b"").encode(), {}),
    Reason.RECEIPT_RESPONSE: (proof_of(response_body=b"").encode(), {}),
    Reason.RECEIPT_MODEL: (proof_of().encode(), {"policy": policy_with_models("00" * 32)}),
    Reason.RECEIPT_TIME: (proof_of(claims(issued_at=0)).encode(), {}),
    Reason.RECEIPT_NOT_COMPARED: (proof_of().encode(), {"require_bodies": True}),
}
