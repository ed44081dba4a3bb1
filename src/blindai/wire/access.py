"""Who may use a model, as it crosses the wire: visibility, shares, and what a caller may know of itself."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from blindai.errors import RequestCode, RequestError, ResponseError

VISIBILITY_HEADER = "BlindAI-Visibility"
SHARE_WITH_HEADER = "BlindAI-Share-With"
ALLOW_SEALING_HEADER = "BlindAI-Allow-Sealing"
MAX_SHARES = 256

_KEY_ID = re.compile(r"[0-9a-f]{64}")


class Visibility(StrEnum):
    """Who else than its owner may describe and run a model."""

    PRIVATE = "private"  # nobody
    SHARED = "shared"  # the keys that the owner named
    PUBLIC = "public"  # every caller of the server


@dataclass(frozen=True)
class Sharing:
    """A visibility with the key ids that it is for; only shared models have any."""

    visibility: Visibility
    shared_with: tuple[str, ...] = ()


@dataclass(frozen=True)
class CallerInfo:
    """What `GET /v2/caller` says of whoever asks. Zero is "no limit of its own"."""

    name: str
    role: str
    namespace: str
    key_id: str
    models: int
    model_bytes: int
    max_models: int
    max_model_bytes: int
    requests_per_minute: int
    namespace_keys: tuple[str, ...] = ()
    """The keys that hold the caller's namespace, if the caller's is one of them."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def caller_info(value: Any) -> CallerInfo:
    """Read the answer of `GET /v2/caller`, or raise ResponseError."""
    if not isinstance(value, dict):
        raise ResponseError("what the server says of its caller is not an object")
    texts = {key: value.get(key) for key in ("name", "role", "namespace", "key_id")}
    numbers = {
        key: value.get(key)
        for key in ("models", "model_bytes", "max_models", "max_model_bytes", "requests_per_minute")
    }
    if not all(isinstance(text, str) for text in texts.values()):
        raise ResponseError("what the server says of its caller lacks a text")
    if any(type(number) is not int or number < 0 for number in numbers.values()):
        raise ResponseError("what the server says of its caller lacks a number")
    keys = value.get("namespace_keys", [])
    if not isinstance(keys, list) or not all(is_key_id(key) for key in keys):
        raise ResponseError("what the server says of its caller has keys that are none")
    return CallerInfo(**texts, **numbers, namespace_keys=tuple(keys))  # type: ignore[arg-type] # checked above


def is_key_id(text: object) -> bool:
    """Whether `text` is a key id: SHA-256 in lower-case hexadecimal."""
    return isinstance(text, str) and _KEY_ID.fullmatch(text) is not None


def sharing(visibility: object, shared_with: Iterable[object]) -> Sharing:
    """Check a visibility and its key ids. Raises RequestError (malformed)."""
    if not isinstance(visibility, str) or visibility not in list(Visibility):
        raise _malformed(f"the visibility of a model is one of {', '.join(Visibility)}")
    given = list(shared_with)
    keys = tuple(dict.fromkeys(str(key) for key in given))
    if len(keys) > MAX_SHARES or not all(is_key_id(key) for key in given):
        raise _malformed(
            f"a model is shared with at most {MAX_SHARES} key ids of 64 lower-case hexadecimal digits"
        )
    if bool(keys) != (visibility == Visibility.SHARED):
        raise _malformed("a shared model names the key ids it is shared with; others name none")
    return Sharing(Visibility(visibility), keys)


def _malformed(message: str) -> RequestError:
    return RequestError(RequestCode.MALFORMED, message)
