"""Requests as bytes, for what no HTTP library would send."""

from __future__ import annotations

import ssl

from tests.serving import Reply, RunningServer

HOST = b"Host: 127.0.0.1\r\n"
CLOSE = b"Connection: close\r\n"


def send(server: RunningServer, *pieces: bytes, timeout_seconds: float = 20) -> list[Reply]:
    """Send the pieces on a connection of their own; return every response until the server closes it."""
    with server.connect(timeout_seconds) as connection:
        for piece in pieces:
            connection.sendall(piece)
        return parse(read_to_end(connection))


def read_to_end(connection: ssl.SSLSocket) -> bytes:
    """All that comes until the peer ends TLS. A connection that is merely cut raises."""
    received = b""
    while chunk := connection.recv(65536):
        received += chunk
    return received


def parse(received: bytes) -> list[Reply]:
    """Responses with a Content-Length, one behind the other."""
    replies = []
    while received:
        head, _, received = received.partition(b"\r\n\r\n")
        status_line, *lines = head.decode("ascii").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(headers.get("content-length", 0))
        replies.append(Reply(int(status_line.split()[1]), headers, received[:length]))
        received = received[length:]
    return replies


def post(path: str, *headers: bytes, body: bytes = b"") -> bytes:
    """A POST with exactly these header lines besides Host."""
    lines = b"".join(header + b"\r\n" for header in headers)
    return b"POST " + path.encode("ascii") + b" HTTP/1.1\r\n" + HOST + lines + b"\r\n" + body
