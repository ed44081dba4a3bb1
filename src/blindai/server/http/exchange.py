"""One request as the routes see it, and one response as they give it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import orjson

from blindai.channel.receipt import Kind
from blindai.errors import RequestCode, RequestError
from blindai.server.callers.caller import Caller
from blindai.server.http.body import Body
from blindai.server.keys.identity import Identity

JSON = b"application/json"
BINARY = b"application/octet-stream"
TOML = b"application/toml"

Headers = Sequence[tuple[bytes, bytes]]


@dataclass
class Notes:
    """What a handler leaves for metrics, logs and the receipt; nothing that a caller may not see."""

    kind: Kind = Kind.OTHER
    model: ModelNote | None = None
    label: str | None = None  # of the model, for metrics and logs: never a name that its owner chose
    queue_seconds: float = 0.0


@dataclass(frozen=True)
class ModelNote:
    """Which model a receipt is about."""

    name: str
    sha256: str


@dataclass(frozen=True)
class Request:
    """`parameters` are the variable segments of the path, decoded; `identity` is the connection's."""

    method: str
    query: bytes
    headers: Headers
    body: Body
    identity: Identity
    caller: Caller
    notes: Notes = field(default_factory=Notes)
    parameters: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def header(self, name: bytes) -> str | None:
        """Return the value of a header that may be there once. Raises RequestError (malformed)."""
        return header(self.headers, name)


@dataclass(frozen=True)
class Response:
    """What goes back; the body in parts, sent one after the other."""

    status: int
    content_type: bytes = JSON
    parts: tuple[bytes | memoryview, ...] = ()
    headers: tuple[tuple[bytes, bytes], ...] = ()
    code: str = ""  # of an error: the stable word that is in the body, too

    @property
    def size_bytes(self) -> int:
        return sum(memoryview(part).nbytes for part in self.parts)


def header(headers: Headers, name: bytes) -> str | None:
    """Return the value of a header that may be there once. Raises RequestError (malformed)."""
    values = [value for key, value in headers if key == name]
    if len(values) > 1:
        raise RequestError(RequestCode.MALFORMED, f"the header {name.decode('ascii')} is there twice")
    return values[0].decode("latin-1").strip() if values else None


Handler = Callable[[Request], Awaitable[Response]]


def json_response(value: Any, status: int = 200, headers: tuple[tuple[bytes, bytes], ...] = ()) -> Response:
    return Response(status, JSON, (orjson.dumps(value),), headers)
