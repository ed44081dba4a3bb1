"""Routes about models that are there: what they take, whether they are ready, and inference."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass

from blindai.channel.receipt import Kind
from blindai.errors import RequestCode, RequestError
from blindai.runtime import inputs
from blindai.runtime.engine import LoadedModel
from blindai.server.callers.access import Action
from blindai.server.catalogue.catalogue import Catalogue
from blindai.server.catalogue.entry import VERSION, Entry
from blindai.server.http.body import Budget
from blindai.server.http.exchange import BINARY, JSON, ModelNote, Request, Response, json_response
from blindai.server.http.routing import Route
from blindai.server.model_limits import ModelGate
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


@dataclass(frozen=True)
class Workers:
    """The threads that run models, and those that load them."""

    inference: BoundedThreads
    loading: BoundedThreads


class InferenceRoutes:
    def __init__(self, catalogue: Catalogue, workers: Workers, limits: InferenceLimits) -> None:
        self._catalogue = catalogue
        self._workers = workers
        self._limits = limits
        self._gate = ModelGate()

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
        record = self._find(request, Action.DESCRIBE).record
        metadata = ModelMetadata(str(record.name), (VERSION,), record.platform, record.inputs, record.outputs)
        return json_response(metadata.to_json())

    async def _ready(self, request: Request) -> Response:
        entry = self._find(request, Action.SEE)
        # A model that is not loaded is loaded by the first request: it is ready.
        return json_response({"name": str(entry.record.name), "ready": True})

    async def _infer(self, request: Request) -> Response:
        # Refused before the body is read: an unknown model, one that the caller does not accept, a length
        # that lies.
        request.notes.kind = Kind.INFERENCE
        entry = self._find(request, Action.PREDICT)
        request.notes.model = ModelNote(str(entry.record.name), entry.record.sha256)
        accepted = _accepted_models(request)
        _check_accepted(entry, accepted)
        header_length = _header_length(request)
        with self._gate.admitted(entry):
            most = min(self._limits.max_request_bytes, entry.limits.max_request_bytes or 2**63)
            body = await request.body.read(max_bytes=most, budget=self._limits.budget)
            # Again: another model may have taken the name while the body arrived, or the caller lost it.
            entry = self._find(request, Action.PREDICT)
            request.notes.model = ModelNote(str(entry.record.name), entry.record.sha256)
            _check_accepted(entry, accepted)
            return await self._run(request, entry, body, header_length)

    async def _run(self, request: Request, entry: Entry, body: bytes, header_length: int | None) -> Response:
        queued = time.perf_counter()

        def infer() -> Response:
            request.notes.queue_seconds = time.perf_counter() - queued
            with self._catalogue.lend(entry) as model:
                return _infer(entry, model, body, header_length)

        try:
            if not self._catalogue.is_loaded(entry):
                # On another thread: models that are loaded need not wait for one that is not.
                await self._workers.loading.run(lambda: self._catalogue.load(entry))
            return await self._workers.inference.run(infer)
        except QueueFull:
            raise RequestError(RequestCode.BUSY, "too many requests wait: try again") from None

    def _find(self, request: Request, action: Action) -> Entry:
        parameters = request.parameters
        entry = self._catalogue.find(request.caller, parameters["model"], parameters.get("version"), action)
        request.notes.label = entry.label
        return entry


def _infer(entry: Entry, model: LoadedModel, body: bytes, header_length: int | None) -> Response:
    """Decode, check, run, encode. Blocks; raises RequestError."""
    request = decode_request(body, header_length)
    inputs.check_inputs(request.inputs, model.inputs)
    names = inputs.select_outputs(request.outputs, model.outputs)
    outputs = model.run(request.inputs, names)
    parts, length = encode_response(
        InferenceResponse(str(entry.record.name), VERSION, outputs, request.id), binary=request.wants_binary
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


def _check_accepted(entry: Entry, accepted: frozenset[str]) -> None:
    if accepted and entry.record.sha256 not in accepted:
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
