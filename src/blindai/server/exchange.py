"""One request as the routes see it, and one response as they give it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import orjson

from blindai.errors import RequestCode, RequestError
from blindai.server.body import Body
from blindai.server.identity import Identity

JSON = b"application/json"
BINARY = b"application/octet-stream"
TOML = b"application/toml"

Headers = Sequence[tuple[bytes, bytes]]


@dataclass(frozen=True)
class Request:
    """`parameters` are the variable segments of the path, decoded; `identity` is the connection's."""

    method: str
    query: bytes
    headers: Headers
    body: Body
    identity: Identity
    parameters: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def header(self, name: bytes) -> str | None:
        """Return the value of a header that may be there once. Raises RequestError (malformed)."""
        values = [value for key, value in self.headers if key == name]
        if len(values) > 1:
            raise RequestError(RequestCode.MALFORMED, f"the header {name.decode('ascii')} is there twice")
        return values[0].decode("latin-1").strip() if values else None


@dataclass(frozen=True)
class Response:
    """What goes back; the body in parts, sent one after the other."""

    status: int
    content_type: bytes = JSON
    parts: tuple[bytes | memoryview, ...] = ()
    headers: tuple[tuple[bytes, bytes], ...] = ()

    @property
    def size_bytes(self) -> int:
        return sum(memoryview(part).nbytes for part in self.parts)


Handler = Callable[[Request], Awaitable[Response]]


def json_response(value: Any, status: int = 200, headers: tuple[tuple[bytes, bytes], ...] = ()) -> Response:
    return Response(status, JSON, (orjson.dumps(value),), headers)
