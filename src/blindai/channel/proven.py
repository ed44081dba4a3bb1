"""From a proof to what it proves: the only place that makes a `Proven`.

1. the bundle holds: evidence, binding to the keyset and to the client's nonce, policy (`handshake.conclude`)
2. the receipt is signed by the receipt key of that very keyset (`receipt.verify`)
3. the time it asserts lies within the keyset's life, give or take a clock's error
4. the model that answered is one of the policy's, if the policy names models
5. its request digest is that of seed, policy, head and body digest in the proof, and every body that is
   there has that body digest
6. its response digest likewise, and its status is the response's

The checks from 3 on are gathered, then raised once. A body that is not there is `unknown` in the verdict,
unless it was demanded: the proof shows who answered which head, and not what was in the bodies.

The policy that the proof names is told and not judged, as is the head of a request that the server did not
read: the client fixed both, by the salt, before it asked, and nobody else signed them. An auditor years
later has a policy of their own, which is the one that decides here.
"""

from __future__ import annotations

import functools
import hmac
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import NoReturn, final

from blindai.attestation.appraisal import CLOCK_SKEW_SECONDS
from blindai.attestation.policy import Policy
from blindai.attestation.times import shown
from blindai.attestation.trust import Trust
from blindai.attestation.types import Floor
from blindai.attestation.verdict import Check, Outcome, Verdict, established, judge, unknown
from blindai.attestation.verifier import Attested
from blindai.channel import answer, handshake, receipt, refusal
from blindai.channel.exchange_digest import RequestDigest, ResponseDigest, SentRequest
from blindai.channel.keyset import Keyset
from blindai.channel.proof import Proof
from blindai.channel.receipt import Kind, Receipt
from blindai.errors import EvidenceForged, EvidenceRejected, Reason

Body = bytes | bytearray | memoryview | Iterable[bytes]
"""A body, whole or in pieces that are read once."""

_FORGED = frozenset({Reason.RECEIPT_REQUEST, Reason.RECEIPT_RESPONSE})
_SOURCE = "receipt"
_MINT = object()


@final
class Proven:
    """What one proof was shown to prove, under one policy. It has no public constructor.

    `request_compared` and `response_compared` say whether the bodies were there: only what was compared is
    what the enclave read, and what it answered.
    """

    __slots__ = ("_receipt", "_verdict")
    _receipt: Receipt
    _verdict: Verdict

    def __init__(self, mint: object, claims: Receipt, verdict: Verdict) -> None:
        if mint is not _MINT:
            raise TypeError("a Proven value is made by a completed verification, and by nothing else")
        object.__setattr__(self, "_receipt", claims)
        object.__setattr__(self, "_verdict", verdict)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError("a Proven value does not change")

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Proven value cannot be copied, sent or stored: keep the proof")

    def __init_subclass__(cls) -> NoReturn:
        raise TypeError("Proven is final")

    @property
    def receipt(self) -> Receipt:
        return self._receipt

    @property
    def verdict(self) -> Verdict:
        """Everything that was checked: about the server, then about the receipt. `print` it."""
        return self._verdict

    @property
    def request_compared(self) -> bool:
        return self._compared("receipt_request")

    @property
    def response_compared(self) -> bool:
        return self._compared("receipt_response")

    def _compared(self, claim: str) -> bool:
        return any(check.claim == claim and check.outcome is Outcome.PASS for check in self._verdict.checks)

    def __repr__(self) -> str:
        return (
            f"<Proven {self._receipt.kind} status={self._receipt.status} simulated={self._verdict.simulated}>"
        )


def conclude(  # noqa: PLR0913  every input of the decision is an argument, none is ambient
    proof: Proof,
    *,
    policy: Policy,
    trust: Trust,
    floors: Mapping[str, Floor],
    now: int,
    request_body: Body | SentRequest | None = None,
    response_body: Body | None = None,
    require_bodies: bool = False,
) -> Proven:
    """Judge a proof (steps 1 to 6), or raise AttestationError with a verdict.

    Bodies that are given are compared, and so are those inside the proof. require_bodies: both must be.
    """
    attested = handshake.conclude(proof.bundle, policy=policy, trust=trust, floors=floors, now=now)  # 1
    return conclude_attested(
        attested,
        proof,
        policy=policy,
        now=now,
        request_body=request_body,
        response_body=response_body,
        require_bodies=require_bodies,
    )


def conclude_attested(  # noqa: PLR0913
    attested: Attested,
    proof: Proof,
    *,
    policy: Policy,
    now: int,
    request_body: Body | SentRequest | None = None,
    response_body: Body | None = None,
    require_bodies: bool = False,
) -> Proven:
    """Judge a proof whose server was attested under this policy before (steps 2 to 6)."""
    with refusal.with_verdict(policy, now):
        keys = _keyset(proof.bundle.answer)
        if not hmac.compare_digest(keys.sha256, attested.keyset_sha256):
            raise EvidenceForged(Reason.RECEIPT_KEYSET, "the proof's server is not the one that was attested")
        claims = receipt.verify(proof.receipt, keys.receipt_key, keys.sha256)  # 2
    halves = (_request(claims, proof, request_body), _response(claims, proof, response_body))
    checks = (
        established("receipt", f"signed by the keyset's receipt key, id {claims.id}", source=_SOURCE),
        _time(claims, keys),
        _model(claims, policy),
        *(_demanded(half) if require_bodies else half for half in halves),
        _policy(proof, policy),
    )
    verdict = replace(attested.verdict, checks=(*attested.verdict.checks, *checks))
    if not verdict.accepted:
        _raise(verdict)
    return Proven(_MINT, claims, verdict)


# A client that asks for receipts parses the same answer for each of them, which takes longer than the rest.
@functools.lru_cache(maxsize=4)
def _keyset(attestation_answer: bytes) -> Keyset:
    return answer.parse(attestation_answer).keyset


def _time(claims: Receipt, keys: Keyset) -> Check:  # 3
    earliest, latest = keys.not_before - CLOCK_SKEW_SECONDS, keys.not_after + CLOCK_SKEW_SECONDS
    return judge(
        "receipt_time",
        earliest <= claims.issued_at <= latest,
        Reason.RECEIPT_TIME,
        source=_SOURCE,
        found=f"{shown(claims.issued_at)}, asserted by the server",
        expected=f"{shown(keys.not_before)} to {shown(keys.not_after)}, the keyset's life",
    )


def _model(claims: Receipt, policy: Policy) -> Check:  # 4
    digest = claims.model_sha256
    found = (
        f"{claims.model or 'no name'}, sha256 {digest}" if digest else f"{claims.model or 'none'}, no digest"
    )
    if not claims.succeeded:
        return unknown("receipt_model", source=_SOURCE, found=f"no model answered: status {claims.status}")
    if not policy.models_sha256 or (claims.kind is Kind.OTHER and digest is None):
        return unknown("receipt_model", source=_SOURCE, found=found)
    return judge(
        "receipt_model",
        digest in policy.models_sha256,
        Reason.RECEIPT_MODEL,
        source=_SOURCE,
        found=found,
        expected=" or ".join(policy.models_sha256),
        accepted_by=f'[models] sha256 = ["{digest}"]' if digest else "",
    )


def _request(claims: Receipt, proof: Proof, body: Body | SentRequest | None) -> Check:  # 5
    claim, head, known = "receipt_request", proof.request_head, proof.request_body_digest
    what = f"{head.method} {head.path}"
    if claims.request is None and known is None:
        found = f"the server answered before it had read the whole request; {what} is the client's word"
        return unknown(claim, source=_SOURCE, found=found)
    digest = RequestDigest(proof.salt, head)
    if (
        claims.request is None
        or known is None
        or not hmac.compare_digest(digest.claim_over(known), claims.request)
    ):
        return _another(claim, Reason.RECEIPT_REQUEST, f"seed, policy, head ({what}) or body digest")
    given = (_request_digest(proof, part) for part in (body, proof.request_body) if part is not None)
    return _compared(claim, Reason.RECEIPT_REQUEST, what, known, given)


def _response(claims: Receipt, proof: Proof, body: Body | None) -> Check:  # 6
    claim, head, known = "receipt_response", proof.response_head, proof.response_body_digest
    what = f"status {head.status}"
    digest = ResponseDigest(proof.salt, head)
    if claims.status != head.status or not hmac.compare_digest(digest.claim_over(known), claims.response):
        return _another(claim, Reason.RECEIPT_RESPONSE, f"seed, policy, head ({what}) or body digest")
    parts = (part for part in (body, proof.response_body) if part is not None)
    given = (_body_digest(ResponseDigest(proof.salt, head), part) for part in parts)
    return _compared(claim, Reason.RECEIPT_RESPONSE, what, known, given)


def _another(claim: str, reason: Reason, found: str) -> Check:
    return judge(
        claim, False, reason, source=_SOURCE, found=f"another {found}", expected="those that were signed"
    )


def _compared(claim: str, reason: Reason, what: str, known: bytes, given: Iterator[bytes]) -> Check:
    same = [hmac.compare_digest(digest, known) for digest in given]
    if not same:
        return unknown(claim, source=_SOURCE, found=f"of this head ({what}); the body was not given")
    return judge(
        claim,
        all(same),
        reason,
        source=_SOURCE,
        found=f"the digest of {what} and of {'this' if all(same) else 'another'} body",
        expected="the one that was signed",
    )


def _demanded(half: Check) -> Check:
    if half.outcome is not Outcome.UNKNOWN:
        return half
    return judge(
        half.claim,
        False,
        Reason.RECEIPT_NOT_COMPARED,
        source=_SOURCE,
        found=half.found,
        expected="compared with the body",
    )


def _policy(proof: Proof, policy: Policy) -> Check:
    if proof.policy_sha256 == policy.sha256:
        return established("receipt_policy", "the policy that the proof names", source="proof")
    found = f"made under another policy, sha256 {proof.policy_sha256}: this one judged it"
    return unknown("receipt_policy", source="proof", found=found)


def _request_digest(proof: Proof, body: Body | SentRequest) -> bytes:
    if not isinstance(body, SentRequest):
        return _body_digest(RequestDigest(proof.salt, proof.request_head), body)
    if (body.salt, body.head) != (proof.salt, proof.request_head):
        raise ValueError("the digest is of another request than the proof's")
    return body.body_digest


def _body_digest(digest: RequestDigest | ResponseDigest, body: Body) -> bytes:
    for piece in (body,) if isinstance(body, (bytes, bytearray, memoryview)) else body:
        digest.update(piece)
    return digest.body_digest()


def _raise(verdict: Verdict) -> NoReturn:
    failures = sorted(verdict.failures, key=lambda check: check.reason not in _FORGED)
    first = failures[0]
    more = f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
    kind = EvidenceForged if first.reason in _FORGED else EvidenceRejected
    raise kind(
        first.reason or Reason.RECEIPT_MALFORMED,
        f"the proof does not hold: {first.claim} is {first.found}, expected {first.expected}{more}",
        verdict=verdict,
        hint=_HINTS.get(first.reason, "") if first.reason else "",
    )


_HINTS = {
    Reason.RECEIPT_REQUEST: "it must be byte for byte what was sent, in that very exchange",
    Reason.RECEIPT_RESPONSE: "it must be byte for byte what was received, in that very exchange",
    Reason.RECEIPT_NOT_COMPARED: "give the bodies: --request FILE --response FILE (request_body=, "
    "response_body=); nothing can be compared with a request that the server had not read",
    Reason.RECEIPT_MODEL: "another model answered than the policy names",
}
