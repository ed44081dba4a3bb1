"""Routes that change which models there are, and who may use them."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson

from blindai.channel.receipt import Kind
from blindai.errors import RequestCode, RequestError
from blindai.server.callers.access import Action
from blindai.server.catalogue.admission import Admission
from blindai.server.catalogue.catalogue import Catalogue
from blindai.server.catalogue.entry import Entry
from blindai.server.http.body import Budget
from blindai.server.http.exchange import ModelNote, Request, Response, json_response
from blindai.server.http.routing import Route
from blindai.server.threads import BoundedThreads, QueueFull
from blindai.server.uploads import Uploads
from blindai.wire import access
from blindai.wire.access import Sharing, Visibility

_MAX_JSON_BODY_BYTES = 32 * 1024
_VISIBILITY = access.VISIBILITY_HEADER.lower().encode("ascii")
_SHARE_WITH = access.SHARE_WITH_HEADER.lower().encode("ascii")
_ALLOW_SEALING = access.ALLOW_SEALING_HEADER.lower().encode("ascii")

# A key that every program of one signer gets. An owner has to say that they trust that signer's next one.
_SEALING_TO_ALLOW = "gramine-mrsigner"


@dataclass(frozen=True)
class RepositoryRules:
    """Without `open`, models come and go only with the server. `sealing` is what the keyset says of it.

    `forget` is told the label of every model that is deleted or replaced.
    """

    open: bool
    sealing: str
    budget: Budget
    forget: Callable[[str], None]


class RepositoryRoutes:
    def __init__(
        self,
        catalogue: Catalogue,
        admission: Admission,
        uploads: Uploads,
        loading: BoundedThreads,
        rules: RepositoryRules,
    ) -> None:
        self._catalogue = catalogue
        self._admission = admission
        self._uploads = uploads
        self._loading = loading
        self._rules = rules

    def routes(self) -> list[Route]:
        model = "/v2/repository/models/{model}"
        return [
            Route("POST", "/v2/repository/index", self._index),
            Route("PUT", model, self._upload),
            Route("DELETE", model, self._delete),
            Route("POST", f"{model}/sharing", self._share),
            Route("POST", f"{model}/load", self._load),
            Route("POST", f"{model}/unload", self._unload),
        ]

    async def _index(self, request: Request) -> Response:
        ready_only = _object(await self._json(request)).get("ready") is True
        entries = [(entry, self._state(entry)) for entry in self._catalogue.visible(request.caller)]
        return json_response(
            [self._shown(request, *each) for each in entries if each[1] == "READY" or not ready_only]
        )

    async def _upload(self, request: Request) -> Response:
        """Take a model: 201 if the name is new, 200 if another model of that name was replaced."""
        request.notes.kind = Kind.UPLOAD
        self._check_open()
        name = self._admission.check(request.caller, request.parameters["model"], 0)
        sharing = _sharing(request)
        self._check_sealing(request)
        expected = _content_digest(request.header(b"content-digest"))
        declared = request.body.declared_bytes or 0
        request.body.check_declared(self._uploads.max_model_bytes)
        self._admission.check(request.caller, request.parameters["model"], declared)

        with self._uploads.slot(request.caller.key_id) as count:

            def admit(size: int) -> None:
                arriving = count(size)
                elsewhere = arriving.of_all - arriving.of_caller
                self._admission.check(
                    request.caller, request.parameters["model"], arriving.of_caller, elsewhere
                )

            intake = await self._uploads.on_thread(lambda: self._admission.intake(name))
            try:
                await self._uploads.receive(request.body, intake, expected, admit)
                entry, replaced = await self._on_loader(
                    lambda: self._admission.commit(request.caller, name, intake, sharing)
                )
            finally:
                intake.discard()
        if replaced is not None:
            self._rules.forget(replaced.label)
        request.notes.model = ModelNote(str(name), entry.record.sha256)
        request.notes.label = entry.label
        record = entry.record
        answer = {
            **self._shown(request, entry, "READY"),
            "inputs": [spec.to_json() for spec in record.inputs],
            "outputs": [spec.to_json() for spec in record.outputs],
        }
        return json_response(answer, 201 if replaced is None else 200)

    async def _delete(self, request: Request) -> Response:
        self._check_open()
        entry = self._find(request, Action.DELETE)
        answer = self._shown(request, entry, "UNAVAILABLE")
        await self._uploads.on_thread(lambda: self._catalogue.remove(entry, request.caller))
        self._rules.forget(entry.label)
        return json_response(answer)

    async def _share(self, request: Request) -> Response:
        self._check_open()
        self._find(request, Action.SHARE)
        body = _object(await self._json(request))
        entry = self._find(request, Action.SHARE)  # again: the caller may have lost it while the body came
        shared_with = body.get("shared_with", [])
        if not isinstance(shared_with, list):
            raise RequestError(RequestCode.MALFORMED, "shared_with is not a list")
        sharing = access.sharing(body.get("visibility"), shared_with)
        changed = await self._uploads.on_thread(lambda: self._catalogue.share(entry, sharing, request.caller))
        return json_response(self._shown(request, changed, self._state(changed)))

    async def _load(self, request: Request) -> Response:
        entry = self._find(request, Action.LOAD)
        await self._on_loader(lambda: self._catalogue.load(entry))
        return json_response({})

    async def _unload(self, request: Request) -> Response:
        self._catalogue.unload(self._find(request, Action.LOAD))
        return json_response({})

    async def _on_loader(self, call: Any) -> Any:
        try:
            return await self._loading.run(call)
        except QueueFull:
            raise RequestError(RequestCode.BUSY, "too many models wait to be loaded: try again") from None

    async def _json(self, request: Request) -> Any:
        body = await request.body.read(max_bytes=_MAX_JSON_BODY_BYTES, budget=self._rules.budget)
        if not body.strip():
            return {}
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError:
            return None

    def _find(self, request: Request, action: Action) -> Entry:
        entry = self._catalogue.find(request.caller, request.parameters["model"], None, action)
        request.notes.label = entry.label
        return entry

    def _shown(self, request: Request, entry: Entry, state: str) -> dict[str, Any]:
        """With whom else a model is shared, and when it was used, is its owner's to know."""
        owned = self._catalogue.may(request.caller, Action.SHARE, entry)
        last_used = self._catalogue.last_used(entry)
        return entry.shown(state, last_used=last_used, owned=owned).to_json()

    def _state(self, entry: Entry) -> str:
        return "READY" if self._catalogue.is_loaded(entry) else "UNLOADED"

    def _check_open(self) -> None:
        if not self._rules.open:
            raise RequestError(
                RequestCode.UPLOAD_DISABLED,
                "this server was started without model upload: its models are those it started with",
            )

    def _check_sealing(self, request: Request) -> None:
        allowed = [part.strip() for part in (request.header(_ALLOW_SEALING) or "").split(",")]
        if self._rules.sealing == _SEALING_TO_ALLOW and self._rules.sealing not in allowed:
            raise RequestError(
                RequestCode.SEALING_NOT_ACCEPTED,
                f"this server seals with {self._rules.sealing}, a key that any later program of the same "
                f"signer gets: allow it with {access.ALLOW_SEALING_HEADER}, if you trust the signer so far",
            )


def _sharing(request: Request) -> Sharing | None:
    visibility, keys = request.header(_VISIBILITY), request.header(_SHARE_WITH)
    if visibility is None and keys is None:
        return None
    listed = [part.strip() for part in (keys or "").split(",") if part.strip()]
    return access.sharing(visibility or Visibility.SHARED.value, listed)


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise RequestError(RequestCode.MALFORMED, "the body is not a JSON object; it may also be empty")
    return value


def _content_digest(header: str | None) -> str | None:
    """Return the SHA-256 that the client announces (RFC 9530) in hexadecimal, None without the header.

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
                return digest.hex()
        break
    raise RequestError(
        RequestCode.MALFORMED, "Content-Digest needs a member sha-256=:<32 bytes in base64>: (RFC 9530)"
    )
