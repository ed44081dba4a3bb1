"""The attestation answer: what `GET /.well-known/blindai/attestation` returns (design 4.4)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from blindai.attestation.types import MAX_EVIDENCE_BYTES, Collateral, Evidence
from blindai.channel import challenge, keyset
from blindai.errors import EvidenceMalformed, Reason
from blindai.wire import base64url, strict_json

PATH = "/.well-known/blindai/attestation"
VERSION = 1
MAX_ANSWER_BYTES = 4 * 1024 * 1024
MAX_PIECES = 32


@dataclass(frozen=True)
class Answer:
    """A parsed answer. Nothing in it has been verified."""

    keyset: keyset.Keyset
    proof: challenge.Proof
    evidence: tuple[Evidence, ...]
    collateral: Collateral
    raw: bytes = field(repr=False)


def target(nonce: bytes) -> str:
    """Return the request target that asks for evidence about `nonce` (32 bytes)."""
    return f"{PATH}?nonce={base64url.encode(nonce)}"


class Shared:
    """What the answers to one quote have in common, encoded once: only the challenge differs."""

    def __init__(self, *, keyset_raw: bytes, evidence: Sequence[Evidence], collateral: Collateral) -> None:
        pieces = [[piece.media_type, base64url.encode(piece.value)] for piece in evidence]
        # It goes out as the exact bytes that were hashed.
        keyset = base64url.encode(keyset_raw)
        self._before = f'{{"version":{VERSION},"keyset":"{keyset}","challenge":'.encode()
        self._after = f',"evidence":{_json(pieces)},"collateral":{_json(collateral)}}}'.encode()

    def parts(self, proof: challenge.Proof) -> tuple[bytes, bytes, bytes]:
        """Return the answer with this client's proof, in parts that follow each other."""
        return self._before, _json(proof.to_json()).encode(), self._after


def encode(
    *,
    keyset_raw: bytes,
    proof: challenge.Proof,
    evidence: Sequence[Evidence],
    collateral: Collateral,
) -> bytes:
    """Write one answer."""
    shared = Shared(keyset_raw=keyset_raw, evidence=evidence, collateral=collateral)
    return b"".join(shared.parts(proof))


def parse(raw: bytes) -> Answer:
    """Read an answer, or raise EvidenceMalformed with the reason code of the part that is wrong."""
    try:
        value = strict_json.members(
            strict_json.decode_object(raw, max_bytes=MAX_ANSWER_BYTES),
            "answer",
            {"version", "keyset", "evidence", "collateral"},
            frozenset({"challenge"}),
        )
        if value["version"] != VERSION or isinstance(value["version"], bool):
            raise ValueError("unknown version")
        if not isinstance(value["keyset"], str):
            raise ValueError("keyset is not a string")
        keyset_raw = base64url.decode(value["keyset"])
        if not isinstance(value["collateral"], dict):
            raise ValueError("collateral is not an object")
    except ValueError as exc:
        raise EvidenceMalformed(Reason.ANSWER_MALFORMED, f"the answer is malformed: {exc}") from exc
    if "challenge" not in value:
        # An answer without a challenge exists for monitoring; it proves nothing about now.
        raise EvidenceMalformed(Reason.CHALLENGE_MISSING, "the answer has no challenge: it may be a replay")
    return Answer(
        keyset=keyset.parse(keyset_raw),
        proof=challenge.parse_proof(value["challenge"]),
        evidence=_evidence(value["evidence"]),
        collateral=value["collateral"],
        raw=raw,
    )


def _evidence(value: Any) -> tuple[Evidence, ...]:
    if not isinstance(value, list) or not value:
        raise EvidenceMalformed(Reason.EVIDENCE_MISSING, "the answer has no evidence")
    if len(value) > MAX_PIECES:
        raise EvidenceMalformed(Reason.EVIDENCE_TOO_LARGE, f"more than {MAX_PIECES} pieces of evidence")
    return tuple(_piece(record) for record in value)


def _piece(record: Any) -> Evidence:
    try:
        if not isinstance(record, list):
            raise ValueError("not a list")
        media_type, text = record
        if not isinstance(media_type, str) or not isinstance(text, str):
            raise ValueError("not two strings")
        if len(text) > MAX_EVIDENCE_BYTES * 2:
            raise EvidenceMalformed(Reason.EVIDENCE_TOO_LARGE, f"evidence over {MAX_EVIDENCE_BYTES} bytes")
        data = base64url.decode(text)
    except (ValueError, TypeError) as exc:
        raise EvidenceMalformed(Reason.ANSWER_MALFORMED, f"a piece of evidence is malformed: {exc}") from exc
    if len(data) > MAX_EVIDENCE_BYTES:
        raise EvidenceMalformed(Reason.EVIDENCE_TOO_LARGE, f"evidence over {MAX_EVIDENCE_BYTES} bytes")
    return Evidence(media_type, data)


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))
