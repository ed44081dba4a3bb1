"""Lies on the wire, before there is an answer to judge; and a file that is no bundle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from blindai.errors import Reason
from blindai.testing import http_response


@dataclass(frozen=True)
class WireLie:
    """What the server sends instead of one plain response that holds `body`."""

    name: str
    reason: Reason
    respond: Callable[[bytes], bytes]
    alpn: str | None = "http/1.1"

    def __str__(self) -> str:
        return self.name


def framed(name: str, respond: Callable[[bytes], bytes], alpn: str | None = "http/1.1") -> WireLie:
    return WireLie(name, Reason.ANSWER_FRAMING, respond, alpn)


WIRE_LIES = [
    framed("surplus bytes", lambda body: http_response(body) + b"HTTP/1.1 200 OK\r\n"),
    framed("a redirect", lambda body: http_response(body, 302, {"Location": "https://localhost/"})),
    framed("not found", lambda body: http_response(body, 404)),
    framed("chunked", lambda body: http_response(body, headers={"Transfer-Encoding": "chunked"})),
    framed("not HTTP", lambda _: b"220 mail.example ESMTP\r\n\r\n"),
    framed("no ALPN", http_response, alpn=None),
    WireLie(
        "too large",
        Reason.ANSWER_TOO_LARGE,
        lambda body: http_response(body, headers={"Content-Length": str(2**23)}),
    ),
]

NO_BUNDLES = {
    "not JSON": b"<html>",
    "another object": b'{"version": 1}',
    "another version": b'{"version":2,"dialled":"localhost","certificate":"","nonce":"","answer":""}',
}
