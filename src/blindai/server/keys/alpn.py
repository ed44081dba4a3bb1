"""Refuses clients that speak only other protocols, as RFC 7301 asks (section 3.2).

Python's ssl goes on without a protocol when client and server have none in common, and does not say what
the client offered. A client that offers none at all is an HTTP/1.1 client of old (tritonclient is one) and
welcome; with one that offers only others the handshake has to fail, or its bytes would be read as HTTP/1.1.
(It may see the connection end instead of the alert: asyncio and uvloop drop what a failed handshake says.)
"""

from __future__ import annotations

import ssl
import weakref
from typing import Any

ALPN = "http/1.1"
ALERT_NO_APPLICATION_PROTOCOL = 120  # RFC 7301, 3.2; ssl.AlertDescription does not have it

_CLIENT_HELLO = 1  # RFC 8446, 4
_EXTENSION_ALPN = 16  # RFC 7301, 3.1


class ClientHellos:
    """Watches the handshakes of a context for what clients offer by ALPN.

    It uses `SSLContext._msg_callback`, the only place where Python shows a ClientHello. Once the handshake
    moves to another context, the callback is not called any more.
    """

    def __init__(self, context: ssl.SSLContext) -> None:
        self._refused: weakref.WeakSet[Any] = weakref.WeakSet()
        context._msg_callback = self._message  # type: ignore[attr-defined] # noqa: SLF001 - see above

    def refusal(self, ssl_object: ssl.SSLObject | ssl.SSLSocket) -> int | None:
        """Return the alert to end the handshake with, or None to go on."""
        return ALERT_NO_APPLICATION_PROTOCOL if ssl_object in self._refused else None

    def _message(
        self, ssl_object: Any, direction: str, _version: Any, _content_type: Any, kind: Any, data: bytes
    ) -> None:
        if direction != "read" or kind != _CLIENT_HELLO:
            return
        offered = offered_protocols(data)
        if offered is not None and ALPN.encode("ascii") not in offered:
            self._refused.add(ssl_object)


def offered_protocols(client_hello: bytes) -> tuple[bytes, ...] | None:
    """Return what a ClientHello (RFC 8446, 4.1.2, with its 4-byte header) offers by ALPN, None if nothing.

    OpenSSL refuses malformed messages itself; here they offer nothing.
    """
    try:
        reader = _Reader(client_hello)
        reader.take(4 + 2 + 32)  # handshake header, legacy_version, random
        reader.vector(1)  # legacy_session_id
        reader.vector(2)  # cipher_suites
        reader.vector(1)  # legacy_compression_methods
        extensions = _Reader(reader.vector(2))
        while extensions.left:
            kind = int.from_bytes(extensions.take(2), "big")
            body = extensions.vector(2)
            if kind == _EXTENSION_ALPN:
                return _protocols(body)
    except ValueError:
        return None
    return None


def _protocols(body: bytes) -> tuple[bytes, ...]:
    names = _Reader(_Reader(body).vector(2))
    found = []
    while names.left:
        found.append(names.vector(1))
    return tuple(found)


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._offset = 0

    @property
    def left(self) -> int:
        return len(self._data) - self._offset

    def take(self, size: int) -> bytes:
        if size > self.left:
            raise ValueError("truncated")
        self._offset += size
        return self._data[self._offset - size : self._offset]

    def vector(self, length_bytes: int) -> bytes:
        return self.take(int.from_bytes(self.take(length_bytes), "big"))
