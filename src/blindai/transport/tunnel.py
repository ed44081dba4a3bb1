"""Through a CONNECT proxy: what is said to it, without I/O. It sees host and port, nothing else."""

from __future__ import annotations

import re
from dataclasses import dataclass

import h11

from blindai.channel.handshake import MAX_HEADER_BYTES, READ_BYTES, Exchange, Receive, Send
from blindai.errors import UnreachableError, UsageError


@dataclass(frozen=True)
class Proxy:
    """An http:// proxy without credentials."""

    host: str
    port: int


def parse_proxy(url: str) -> Proxy:
    """Read `http://host:port`, or raise UsageError. The text is not shown again: it may hold a password."""
    match = re.fullmatch(r"http://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?/?", url)
    if not match or not 1 <= int(match[2] or 80) <= 65535:
        raise UsageError("only CONNECT proxies without credentials are supported", hint="http://host:port")
    return Proxy(match[1].strip("[]"), int(match[2] or 80))


def connect(authority: str) -> Exchange:
    """Ask the proxy for a tunnel to `authority` (host:port); UnreachableError if it does not give one."""
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEADER_BYTES)
    request = h11.Request(method="CONNECT", target=authority, headers=[("Host", authority)])
    yield Send(connection.send(request) or b"")
    connection.send(h11.EndOfMessage())
    try:
        while not isinstance(event := connection.next_event(), h11.Response):
            if event is h11.NEED_DATA:
                received = yield Receive(READ_BYTES)
                if not received:
                    raise UnreachableError("the proxy closed the connection")
                connection.receive_data(received)
    except h11.RemoteProtocolError as exc:
        raise UnreachableError("the proxy does not speak HTTP/1.1") from exc
    if not 200 <= event.status_code < 300:
        raise UnreachableError(f"the proxy refused the connection with status {event.status_code}")
    if connection.trailing_data[0]:
        raise UnreachableError("the proxy spoke before the server could")
    return b""
