"""Routes about the server itself: what it is, whether it lives, and the evidence for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import parse_qsl

import blindai
from blindai.channel import answer, challenge
from blindai.errors import RequestCode, RequestError
from blindai.server.evidence.attest import Attestations, Parts
from blindai.server.evidence.condition import Condition
from blindai.server.http.body import Body, ClientGone
from blindai.server.http.exchange import JSON, TOML, Request, Response, json_response
from blindai.server.http.routing import Route
from blindai.wire import base64url
from blindai.wire.metadata import ServerMetadata

POLICY_PATH = "/.well-known/blindai/policy"
EXTENSIONS = ("binary_tensor_data", "model_repository", "blindai")

_MAX_QUERY_FIELDS = 8


class ServiceRoutes:
    """`published_policy` is the exact text that the operator publishes, or None; it can be replaced."""

    def __init__(
        self,
        attestations: Attestations,
        condition: Callable[[], Condition],
        published_policy: bytes | None,
    ) -> None:
        self.published_policy = published_policy
        self._attestations = attestations
        self._condition = condition

    def routes(self) -> list[Route]:
        return [
            Route("GET", "/v2", self._metadata, open=True),
            Route("GET", "/v2/health/live", self._live, open=True),
            Route("GET", "/v2/health/ready", self._ready, open=True),
            Route("GET", answer.PATH, self._attestation, open=True),
            Route("GET", POLICY_PATH, self._policy, open=True),
        ]

    async def _metadata(self, _: Request) -> Response:
        return json_response(ServerMetadata("blindai", blindai.__version__, EXTENSIONS).to_json())

    async def _live(self, _: Request) -> Response:
        return json_response({})

    async def _ready(self, _: Request) -> Response:
        # The port opens when all is loaded and closes before the server drains: only evidence can be missing.
        condition = self._condition()
        return json_response(condition.to_json(), 200 if condition.ready else 503)

    async def _policy(self, _: Request) -> Response:
        if self.published_policy is None:
            raise RequestError(RequestCode.NOT_FOUND, "the operator of this server publishes no policy")
        return Response(200, TOML, (self.published_policy,))

    async def _attestation(self, request: Request) -> Response:
        parts = await _while_wanted(
            self._attestations.answer(request.identity, _nonce(request.query)), request.body
        )
        return Response(200, JSON, parts, ((b"cache-control", b"no-store"),))


async def _while_wanted(answering: Coroutine[Any, Any, Parts], body: Body) -> Parts:
    """Wait for the answer as long as the client does: who has left must not keep a place in the queue."""
    if not body.complete:  # nobody of ours sends one, and reading it here would have no bound
        return await answering
    answer_task = asyncio.ensure_future(answering)
    gone = asyncio.ensure_future(body.abandoned())
    try:
        await asyncio.wait((answer_task, gone), return_when=asyncio.FIRST_COMPLETED)
        if not answer_task.done():
            raise ClientGone
        return answer_task.result()
    finally:
        answer_task.cancel()
        gone.cancel()


def _nonce(query: bytes) -> bytes:
    try:
        fields = parse_qsl(
            query.decode("ascii"), keep_blank_values=True, max_num_fields=_MAX_QUERY_FIELDS, errors="strict"
        )
        nonces = [base64url.decode(value) for name, value in fields if name == "nonce"]
    except ValueError:
        nonces = []
    if len(nonces) != 1 or len(nonces[0]) != challenge.NONCE_BYTES:
        raise RequestError(
            RequestCode.MALFORMED,
            f"ask with ?nonce= and {challenge.NONCE_BYTES} random bytes in base64url without padding: "
            "without a nonce of yours, evidence could be old",
        )
    return nonces[0]
