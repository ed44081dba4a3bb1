"""Routes that change which models there are: index, upload, delete."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass
from typing import Any

import orjson

from blindai.errors import RequestCode, RequestError
from blindai.runtime import registry
from blindai.runtime.registry import ModelRecord, Registry
from blindai.server.body import Budget
from blindai.server.exchange import Request, Response, json_response
from blindai.server.routing import Route
from blindai.server.threads import BoundedThreads, QueueFull
from blindai.wire.metadata import ModelEntry

_MAX_INDEX_BODY_BYTES = 4096


@dataclass(frozen=True)
class UploadLimits:
    """`budget` is shared by all uploads. Without `open`, models come and go only with the server."""

    open: bool
    max_model_bytes: int
    budget: Budget


class RepositoryRoutes:
    def __init__(self, models: Registry, threads: BoundedThreads, limits: UploadLimits) -> None:
        self._models = models
        self._threads = threads
        self._limits = limits

    def routes(self) -> list[Route]:
        return [
            Route("POST", "/v2/repository/index", self._index),
            Route("PUT", "/v2/repository/models/{model}", self._upload),
            Route("DELETE", "/v2/repository/models/{model}", self._delete),
        ]

    async def _index(self, request: Request) -> Response:
        body = await request.body.read(max_bytes=_MAX_INDEX_BODY_BYTES, budget=self._limits.budget)
        _check_index_body(body)
        return json_response([_entry(record).to_json() for record in self._models.index()])

    async def _upload(self, request: Request) -> Response:
        """Take a model: 201 if the name is new, 200 if another model of that name was replaced."""
        name = request.parameters["model"]
        self._check_open()
        registry.check_name(name)
        expected = _content_digest(request.header(b"content-digest"))
        request.body.check_declared(self._limits.max_model_bytes)
        self._models.check_room(name, request.body.declared_bytes or 0)

        hasher = hashlib.sha256()
        model = await request.body.read(
            max_bytes=self._limits.max_model_bytes, budget=self._limits.budget, hasher=hasher
        )
        if expected is not None and not hmac.compare_digest(expected, hasher.digest()):
            raise RequestError(
                RequestCode.MODEL_DIGEST,
                "what arrived differs from its Content-Digest: it was damaged on the way, send it again",
            )
        digest = hasher.hexdigest()
        try:
            record, replaced = await self._threads.run(lambda: self._models.add(name, model, sha256=digest))
        except QueueFull:
            raise RequestError(RequestCode.BUSY, "too many models wait to be loaded: try again") from None
        return json_response(_record(record), 200 if replaced else 201)

    async def _delete(self, request: Request) -> Response:
        self._check_open()
        return json_response(
            _entry(self._models.remove(request.parameters["model"]), "UNAVAILABLE").to_json()
        )

    def _check_open(self) -> None:
        if not self._limits.open:
            raise RequestError(
                RequestCode.UPLOAD_DISABLED,
                "this server was started without model upload: its models are those it started with",
            )


def _entry(record: ModelRecord, state: str = "READY") -> ModelEntry:
    return ModelEntry(record.name, record.version, state, "", record.sha256, record.size_bytes)


def _record(record: ModelRecord) -> dict[str, Any]:
    return {
        **_entry(record).to_json(),
        "inputs": [spec.to_json() for spec in record.model.inputs],
        "outputs": [spec.to_json() for spec in record.model.outputs],
    }


def _check_index_body(body: bytes) -> None:
    """All models here are ready, so the protocol's only parameter, {"ready": true}, changes nothing."""
    if not body.strip():
        return
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        value = None
    if not isinstance(value, dict):
        raise RequestError(RequestCode.MALFORMED, "the body is not a JSON object; it may also be empty")


def _content_digest(header: str | None) -> bytes | None:
    """Return the SHA-256 that the client announces (RFC 9530), None without the header.

    A header that cannot be checked is refused: who sends one expects it to be checked.
    """
    if header is None:
        return None
    for member in header.split(","):
        key, _, value = member.strip().partition("=")
        if key.strip() != "sha-256":
            continue
        if len(value) >= 2 and value[0] == value[-1] == ":":
            try:
                digest = base64.b64decode(value[1:-1], validate=True)
            except binascii.Error:
                break
            if len(digest) == hashlib.sha256().digest_size:
                return digest
        break
    raise RequestError(
        RequestCode.MALFORMED, "Content-Digest needs a member sha-256=:<32 bytes in base64>: (RFC 9530)"
    )
