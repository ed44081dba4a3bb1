"""Which handler answers which path. Paths are matched segment by segment, before percent-decoding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from blindai.errors import RequestCode, RequestError
from blindai.server.exchange import Handler


class MethodNotAllowed(RequestError):  # noqa: N818 - named like its code
    """The path is there, for the methods in `allowed`."""

    def __init__(self, allowed: Sequence[str]) -> None:
        self.allowed = tuple(sorted(allowed))
        super().__init__(
            RequestCode.METHOD_NOT_ALLOWED, f"this path answers {' and '.join(self.allowed)} only"
        )


@dataclass(frozen=True)
class Route:
    """`pattern` is a path in which a segment such as {model} stands for any one segment."""

    method: str
    pattern: str
    handler: Handler


class Router:
    def __init__(self, routes: Sequence[Route]) -> None:
        self._routes = [(tuple(route.pattern.split("/")), route) for route in routes]

    def match(self, method: str, raw_path: bytes) -> tuple[Handler, Mapping[str, str]]:
        """Return the handler and the decoded variable segments. Raises RequestError."""
        # An encoded slash stays within its segment: it cannot make one path into another.
        segments = [_decoded(segment) for segment in raw_path.split(b"/")]
        allowed = []
        for pattern, route in self._routes:
            parameters = _match(pattern, segments)
            if parameters is None:
                continue
            if route.method == method:
                return route.handler, parameters
            allowed.append(route.method)
        if allowed:
            raise MethodNotAllowed(allowed)
        raise RequestError(RequestCode.NOT_FOUND, "there is nothing at this path; GET /v2 says what there is")


def _match(pattern: Sequence[str], segments: Sequence[str]) -> Mapping[str, str] | None:
    if len(pattern) != len(segments):
        return None
    parameters = {}
    for expected, segment in zip(pattern, segments, strict=True):
        if expected.startswith("{"):
            parameters[expected[1:-1]] = segment
        elif expected != segment:
            return None
    return parameters


def _decoded(segment: bytes) -> str:
    # What is not UTF-8 becomes U+FFFD, which no path and no model's name has.
    return unquote_to_bytes(segment).decode("utf-8", errors="replace")
