"""Routes about models that are there: what they take, whether they are ready, and inference."""

from __future__ import annotations

import re
from dataclasses import dataclass

from blindai.errors import RequestCode, RequestError
from blindai.runtime import inputs
from blindai.runtime.registry import ModelRecord, Registry
from blindai.server.body import Budget
from blindai.server.exchange import BINARY, JSON, Request, Response, json_response
from blindai.server.routing import Route
from blindai.server.threads import BoundedThreads, QueueFull
from blindai.wire.inference import (
    ACCEPTED_MODELS_HEADER,
    HEADER_LENGTH_HEADER,
    InferenceResponse,
    decode_request,
    encode_response,
)
from blindai.wire.metadata import ModelMetadata

_HEADER_LENGTH = HEADER_LENGTH_HEADER.lower().encode("ascii")
_ACCEPTED_MODELS = ACCEPTED_MODELS_HEADER.lower().encode("ascii")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_DIGITS = re.compile(r"[0-9]{1,19}")


@dataclass(frozen=True)
class InferenceLimits:
    """`budget` is shared by all requests."""

    max_request_bytes: int
    budget: Budget


class InferenceRoutes:
    def __init__(self, registry: Registry, threads: BoundedThreads, limits: InferenceLimits) -> None:
        self._registry = registry
        self._threads = threads
        self._limits = limits

    def routes(self) -> list[Route]:
        return [
            Route(method, prefix + suffix, handler)
            for prefix in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}")
            for method, suffix, handler in (
                ("GET", "", self._metadata),
                ("GET", "/ready", self._ready),
                ("POST", "/infer", self._infer),
            )
        ]

    async def _metadata(self, request: Request) -> Response:
        record = self._find(request)
        model = record.model
        metadata = ModelMetadata(record.name, (record.version,), model.platform, model.inputs, model.outputs)
        return json_response(metadata.to_json())

    async def _ready(self, request: Request) -> Response:
        record = self._find(request)
        return json_response({"name": record.name, "ready": True})

    async def _infer(self, request: Request) -> Response:
        # Refused before the body is read: an unknown model, one that the caller does not accept, a length
        # that lies.
        accepted = _accepted_models(request)
        _check_accepted(self._find(request), accepted)
        header_length = _header_length(request)
        body = await request.body.read(max_bytes=self._limits.max_request_bytes, budget=self._limits.budget)

        def infer() -> Response:
            with self._registry.lease(
                request.parameters["model"], request.parameters.get("version")
            ) as record:
                # Again: another model may have taken the name while the body arrived.
                _check_accepted(record, accepted)
                return _infer(record, body, header_length)

        try:
            return await self._threads.run(infer)
        except QueueFull:
            raise RequestError(RequestCode.BUSY, "too many requests wait: try again") from None

    def _find(self, request: Request) -> ModelRecord:
        return self._registry.find(request.parameters["model"], request.parameters.get("version"))


def _infer(record: ModelRecord, body: bytes, header_length: int | None) -> Response:
    """Decode, check, run, encode. Blocks; raises RequestError."""
    model = record.model
    request = decode_request(body, header_length)
    inputs.check_inputs(request.inputs, model.inputs)
    names = inputs.select_outputs(request.outputs, model.outputs)
    outputs = model.run(request.inputs, names)
    parts, length = encode_response(
        InferenceResponse(record.name, record.version, outputs, request.id), binary=request.wants_binary
    )
    if length is None:
        return Response(200, JSON, tuple(parts))
    return Response(200, BINARY, tuple(parts), ((_HEADER_LENGTH, str(length).encode("ascii")),))


def _accepted_models(request: Request) -> frozenset[str]:
    """Return the digests (SHA-256, hexadecimal) of the models that may answer; empty: any."""
    text = request.header(_ACCEPTED_MODELS)
    if text is None:
        return frozenset()
    digests = [part.strip().lower() for part in text.split(",")]
    if not all(_SHA256.fullmatch(digest) for digest in digests):
        raise RequestError(
            RequestCode.MALFORMED, f"{ACCEPTED_MODELS_HEADER} is not a list of SHA-256 digests in hexadecimal"
        )
    return frozenset(digests)


def _check_accepted(record: ModelRecord, accepted: frozenset[str]) -> None:
    if accepted and record.sha256 not in accepted:
        raise RequestError(
            RequestCode.MODEL_NOT_ACCEPTED,
            "the model of this name is not among those that your policy accepts ([models] sha256)",
        )


def _header_length(request: Request) -> int | None:
    """Return the length of the JSON before the binary tensors, None if all is JSON. Raises RequestError."""
    text = request.header(_HEADER_LENGTH)
    if text is None:
        return None
    if not _DIGITS.fullmatch(text):
        raise RequestError(RequestCode.MALFORMED, f"{HEADER_LENGTH_HEADER} is not a number of bytes")
    length = int(text)
    declared = request.body.declared_bytes
    if declared is not None and length > declared:
        raise RequestError(RequestCode.MALFORMED, f"{HEADER_LENGTH_HEADER} is more than the body has")
    return length
