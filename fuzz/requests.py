"""What stands in requests: names of models, who may use them, salts."""

from __future__ import annotations

import contextlib
import json
import re
from typing import Any, Never

from blindai.errors import RequestError, ResponseError
from blindai.server.http.body import Body, Pace
from blindai.server.http.receipts import Witness
from blindai.wire import access, base64url
from blindai.wire.model_name import ModelName
from fuzz.signing import members_of, text_in

_NAME = re.compile(r"(?:(?P<namespace>[a-z0-9][a-z0-9._-]{0,63})/)?(?P<name>[a-z0-9][a-z0-9._-]{0,127})")
_SALT = b"blindai-receipt-salt"


def request_texts(data: bytes) -> None:
    """Each of them is refused by its own error, or read as what it says."""
    recipe = members_of(data)
    with contextlib.suppress(RequestError):
        _model_name(text_in(recipe, "name"))
    with contextlib.suppress(RequestError):
        listed = recipe.get("shared_with")
        _sharing(recipe.get("visibility"), listed if isinstance(listed, list) else [])
    with contextlib.suppress(ResponseError):
        _caller(recipe.get("caller"))
    _salt(recipe)


def _model_name(text: str) -> None:
    name = ModelName.parse(text)
    match = _NAME.fullmatch(text)
    if (
        match is None
        or ".." in text
        or (name.namespace, name.name) != (match["namespace"] or "", match["name"])
    ):
        raise AssertionError("not the name that was written")
    if str(name) != text or ModelName.parse(name.name, "alice") != ModelName("alice", name.name):
        raise AssertionError("a name with two meanings")


def _sharing(visibility: Any, shared_with: list[Any]) -> None:
    made = access.sharing(visibility, shared_with)
    if made.visibility.value != visibility or set(made.shared_with) != set(shared_with):
        raise AssertionError("shared with others than were named")
    if (made.visibility is access.Visibility.SHARED) != bool(made.shared_with):
        raise AssertionError("shared with nobody, or others named for nothing")


def _caller(value: Any) -> None:
    caller = access.caller_info(value)
    if access.caller_info(json.loads(json.dumps(caller.to_json()))) != caller:
        raise AssertionError("a caller does not survive being written")


def _salt(recipe: dict[str, Any]) -> None:
    texts = recipe.get("salts")
    headers = [
        (_SALT, text.encode("latin-1", "replace"))
        for text in (texts if isinstance(texts, list) else [])
        if isinstance(text, str)
    ]
    path = text_in(recipe, "path").encode("utf-8", "replace")
    witness = Witness.of("POST", path, headers, Body(_nothing, headers, Pace(1, 1)))
    if (witness is None) != (not headers):
        raise AssertionError("a witness that nobody asked for, or none")
    if witness is None:
        return
    ((_, text),) = headers
    if len(witness.request.salt) != 32 or base64url.encode(witness.request.salt).encode() != text.strip():
        raise AssertionError("another salt than was sent")


async def _nothing() -> Never:
    raise AssertionError("no body is read for a salt")


def request_recipes() -> list[bytes]:
    caller = access.CallerInfo("alice", "owner", "alice", "ab" * 32, 1, 2, 3, 4, 5)
    common = {"caller": caller.to_json(), "path": "/v2/models/alice%2Fa/infer"}
    return [
        json.dumps(recipe | common).encode()
        for recipe in (
            {
                "name": "alice/sentiment-1.0",
                "visibility": "shared",
                "shared_with": ["ab" * 32, "cd" * 32],
                "salts": [base64url.encode(bytes(range(32)))],
            },
            {"name": "digits", "visibility": "private", "shared_with": [], "salts": []},
        )
    ]
