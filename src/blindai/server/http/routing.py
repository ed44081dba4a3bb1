"""Which handler answers which path. Paths are matched segment by segment, before percent-decoding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from urllib.parse import unquote_to_bytes

from blindai.errors import RequestCode, RequestError
from blindai.server.http.exchange import Handler

_MODEL = "{model}"
_NAMESPACED = "{namespace}/{model}"


class MethodNotAllowed(RequestError):  # noqa: N818 - named like its code
    """The path is there, for the methods in `allowed`."""

    def __init__(self, allowed: Sequence[str]) -> None:
        self.allowed = tuple(sorted(allowed))
        super().__init__(
            RequestCode.METHOD_NOT_ALLOWED, f"this path answers {' and '.join(self.allowed)} only"
        )


@dataclass(frozen=True)
class Route:
    """`pattern` is a path in which a segment such as {key} stands for any one segment.

    {model} stands for one segment, or for two: a namespace and a name. Who asks is made sure of before the
    handler is called, unless the route is `open` to everybody.
    """

    method: str
    pattern: str
    handler: Handler
    open: bool = False


@dataclass(frozen=True)
class Match:
    """The route of a path, and the decoded variable segments."""

    route: Route
    parameters: Mapping[str, str]


class Router:
    def __init__(self, routes: Sequence[Route]) -> None:
        named = [route for route in routes if _MODEL in route.pattern]
        self._routes = _split(routes)
        self._namespaced = _split([replace(route, pattern=_with_namespace(route)) for route in named])

    def match(self, method: str, raw_path: bytes) -> Match:
        """Return what answers this path. Raises RequestError."""
        # An encoded slash stays within its segment: it cannot make one path into another.
        segments = [_decoded(segment) for segment in raw_path.split(b"/")]
        # A path that could be either is about a name without a namespace; alice%2Fready says the other thing.
        for routes in (self._routes, self._namespaced):
            found = [
                Match(route, parameters)
                for pattern, route in routes
                if (parameters := _match(pattern, segments)) is not None
            ]
            for match in found:
                if match.route.method == method:
                    return match
            if found:
                raise MethodNotAllowed([match.route.method for match in found])
        raise RequestError(RequestCode.NOT_FOUND, "there is nothing at this path; GET /v2 says what there is")


def _with_namespace(route: Route) -> str:
    return route.pattern.replace(_MODEL, _NAMESPACED)


def _split(routes: Sequence[Route]) -> list[tuple[Sequence[str], Route]]:
    return [(tuple(route.pattern.split("/")), route) for route in routes]


def _match(pattern: Sequence[str], segments: Sequence[str]) -> Mapping[str, str] | None:
    if len(pattern) != len(segments):
        return None
    parameters = {}
    for expected, segment in zip(pattern, segments, strict=True):
        if expected.startswith("{"):
            parameters[expected[1:-1]] = segment
        elif expected != segment:
            return None
    if namespace := parameters.pop("namespace", ""):
        parameters["model"] = f"{namespace}/{parameters['model']}"
    return parameters


def _decoded(segment: bytes) -> str:
    # What is not UTF-8 becomes U+FFFD, which no path and no model's name has.
    return unquote_to_bytes(segment).decode("utf-8", errors="replace")
