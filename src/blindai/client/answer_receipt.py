"""The receipt of an answer just received: verified before anybody gets it, kept with all that shows it.

It is judged by `channel.proven`, as the files are that `client.receipts` reads.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from blindai import private_file
from blindai.attestation.policy import Policy
from blindai.attestation.trust import Trust
from blindai.attestation.verifier import Attested
from blindai.channel import proven, receipt
from blindai.channel.exchange_digest import RequestDigest, ResponseDigest, ResponseHead, SentRequest
from blindai.channel.proof import MAX_BODY_BYTES, Proof
from blindai.channel.proven import Proven
from blindai.channel.receipt import Receipt
from blindai.client.moment import Moment, unix_seconds
from blindai.errors import EvidenceForged, EvidenceMalformed, Reason, UsageError
from blindai.transport.session import Session


class AnswerReceipt:
    """The receipt of an answer that this client received: verified, and kept with all that shows it again."""

    def __init__(  # noqa: PLR0913  what one exchange leaves behind
        self,
        proof: Proof,
        claims: Receipt,
        *,
        policy: Policy,
        trust: Trust,
        received_at: int,
        request: SentRequest,
        request_body: bytes | None,
        response_body: bytes,
    ) -> None:
        self.proof = proof
        """The proof without the bodies."""
        self.claims = claims
        self._policy = policy
        self._trust = trust
        self._received_at = received_at
        self._request = request
        self._request_body = request_body
        self._response_body = response_body

    def verify(self, *, at: Moment | None = None) -> Proven:
        """Verify all of it again: evidence, receipt, and the bytes that were sent and received.

        The demands are those of the connection. at: the time at which it is judged, by default the time
        when the answer was received, by this computer's clock.
        """
        return proven.conclude(
            self.proof,
            policy=self._policy,
            trust=self._trust,
            floors={},
            now=self._received_at if at is None else unix_seconds(at),
            request_body=self._request,
            response_body=self._response_body,
        )

    def save(self, path: str | os.PathLike[str], *, bodies: bool = False) -> None:
        """Save the proof, for whoever checks it later: `blindai receipt verify PATH`.

        The file holds the seed: even without the bodies, whoever has it can test guesses of a small input
        or output. Nobody else on this computer can read it. bodies: put request and response in as well;
        otherwise keep them: the file says which request was answered how, and not what was in either.

        Raises UsageError if it cannot be written, or if a body is not held or too large to go in.
        """
        proof = self._with_bodies() if bodies else self.proof
        try:
            private_file.replace(Path(path), proof.encode())
        except OSError as exc:
            raise UsageError(f"cannot write the proof: {os.fspath(path)}: {exc.strerror}") from exc

    def _with_bodies(self) -> Proof:
        unread = self.proof.request_body_digest is None
        request_body = None if unread else self._request_body
        if request_body is None and not unread:
            raise UsageError(
                "the request was sent from a file: its body is not held",
                hint="save the proof without bodies, and keep the file for `receipt verify --request FILE`",
            )
        if max(len(request_body or b""), len(self._response_body)) > MAX_BODY_BYTES:
            raise UsageError(
                f"a body over {MAX_BODY_BYTES // 2**20} MiB does not go into a proof",
                hint="save the proof without bodies, and keep them in files of their own",
            )
        return replace(self.proof, request_body=request_body, response_body=self._response_body)

    def __getstate__(self) -> dict[str, Any]:
        # An error carries its receipt, and has to leave a process of a pool; a certificate cannot.
        return {**self.__dict__, "proof": self.proof.encode()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update({**state, "proof": Proof.parse(state["proof"])})

    def __repr__(self) -> str:
        return f"<AnswerReceipt {self.claims.kind} status={self.claims.status}>"


def received(  # noqa: PLR0913  what one exchange leaves behind
    compact: str | None,
    *,
    attested: Attested,
    session: Session,
    seed: bytes,
    request: RequestDigest,
    response_head: ResponseHead,
    response_body: bytes,
    request_body: bytes | None = None,
) -> AnswerReceipt:
    """Verify the receipt that came with an answer, or raise AttestationError.

    attested: the proof of the very connection that brought the answer: its keyset must have signed.
    seed: what the salt of `request` was made of.
    request: what went out, hashed to its end; `request_body` are the same bytes, if they are held.
    """
    now, policy = session.now(), session.demands.policy
    with session.refusals():
        if compact is None:
            raise EvidenceMalformed(
                Reason.RECEIPT_MALFORMED,
                "the server gave no receipt",
                hint="it is older than this client, or its settings give none",
            )
        bundle = session.bundle_for(attested.keyset_sha256)
        if bundle is None:
            raise EvidenceForged(
                Reason.RECEIPT_KEYSET, "what attested the connection's keyset is no longer held"
            )
        unread = receipt.unverified(compact).claims["request"] is None
    sent = request.sent()
    answer = ResponseDigest(request.salt, response_head)
    answer.update(response_body)
    proof = Proof(
        bundle=bundle,
        receipt=compact,
        seed=seed,
        request_head=request.head,
        response_head=response_head,
        policy_sha256=policy.sha256,
        request_body_digest=None if unread else sent.body_digest,
        response_body_digest=answer.body_digest(),
    )
    # The bodies' digests are this client's own: compared with what was signed, the bodies are.
    shown = proven.conclude_attested(attested, proof, policy=policy, now=now)
    return AnswerReceipt(
        proof,
        shown.receipt,
        policy=policy,
        trust=session.demands.trust,
        received_at=now,
        request=sent,
        request_body=request_body,
        response_body=response_body,
    )
