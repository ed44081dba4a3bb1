"""What both transports share around httpcore2: the pool, the checks of requests and responses, the errors."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import Any

import h11
import httpcore2
import httpx2

from blindai.errors import ResponseError, UsageError
from blindai.transport import tls
from blindai.transport.origin import Origin

MAX_CONNECTIONS = 100
KEEPALIVE_SECONDS = 60.0  # below the server's 75, so that the client closes first


def check_request(request: httpx2.Request, origin: Origin) -> None:
    """Refuse, before a byte is sent, whatever is not a plain request to the attested origin."""
    url = request.url
    if not url.is_absolute_url:
        raise UsageError("the request names no server", hint=f"give the client base_url={origin.url!r}")
    if url.scheme != "https":
        raise UsageError(f"only https is attested, not {url.scheme}://", hint=f"use {origin.url}")
    host = url.host.strip("[]").lower().rstrip(".")
    if (host, url.port or 443) != (origin.host, origin.port):
        raise UsageError(
            f"this transport is attested for {origin.url} only",
            hint="make one transport per server; redirects to other origins are not followed",
        )
    if "sni_hostname" in request.extensions:
        raise UsageError("sni_hostname would change the name that is attested; it is not supported")


class ClosedWhileIdle(httpcore2.ReadError):
    """A connection that had served before ended without a byte of a response: it was closed as we wrote."""

    def __init__(self) -> None:
        super().__init__("the connection was closed before a response began")


def may_be_sent_again(request: httpx2.Request) -> bool:
    """Return whether a request may be repeated of our own accord when `ClosedWhileIdle` swallowed it.

    Only one that changes nothing and has no body: nobody knows whether the server read it. An inference
    changes nothing either, yet it is work that is counted: its caller decides.
    """
    names = request.headers.keys() & {"content-length", "transfer-encoding"}
    return request.method in ("GET", "HEAD") and not names


def check_response(method: str, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
    """Refuse redirects, and responses whose end a network could move."""
    if 300 <= status < 400:
        raise ResponseError(f"the server answered with a redirect (status {status}); none is followed")
    names = [name.lower() for name, _ in headers]
    lengths, encodings = names.count(b"content-length"), names.count(b"transfer-encoding")
    bodyless = method == "HEAD" or status in (204, 304)
    if lengths + encodings != 1 and not bodyless:
        raise ResponseError("the response has neither or both of Content-Length and chunked framing")


@contextmanager
def translated() -> Generator[None]:
    """Raise httpcore2's errors as httpx2's of the same name, which is what httpx2's callers expect."""
    try:
        yield
    except (h11.LocalProtocolError, httpcore2.LocalProtocolError):
        # Not chained and not quoted: h11's text holds the header that it refused, such as an API key.
        raise httpx2.LocalProtocolError("the request is not valid HTTP/1.1, or its length lied") from None
    except _CORE_ERRORS as exc:
        for kind in type(exc).__mro__:
            translation = getattr(httpx2, kind.__name__, None)
            if isinstance(translation, type) and issubclass(translation, httpx2.TransportError):
                raise translation(str(exc)) from exc
        raise


_CORE_ERRORS = (
    httpcore2.TimeoutException,
    httpcore2.NetworkError,
    httpcore2.ProtocolError,
    httpcore2.ProxyError,
    httpcore2.UnsupportedProtocol,
)


def pool_options(backend: object) -> dict[str, Any]:
    """How a pool of httpcore2 is made around a backend that attests."""
    return {
        "ssl_context": tls.client_context(),
        "network_backend": backend,
        "max_connections": MAX_CONNECTIONS,
        "keepalive_expiry": KEEPALIVE_SECONDS,
    }


def core_request(request: httpx2.Request) -> httpcore2.Request:
    """Return the same request in httpcore2's terms."""
    return httpcore2.Request(
        method=request.method,
        url=httpcore2.URL(
            scheme=request.url.raw_scheme,
            host=request.url.raw_host,
            port=request.url.port,
            target=request.url.raw_path,
        ),
        headers=request.headers.raw,
        content=request.stream,
        extensions=request.extensions,
    )
