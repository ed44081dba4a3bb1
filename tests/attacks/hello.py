"""What a ClientHello offers (RFC 8446, 4.1.2): what everybody on the way can read of a client."""

from __future__ import annotations

import struct

ALPN, SUPPORTED_VERSIONS = 16, 43
PRE_SHARED_KEY, EARLY_DATA, POST_HANDSHAKE_AUTH = 41, 42, 49
_HANDSHAKE = 22


def extensions(wire: bytes) -> dict[int, bytes]:
    """Return the extensions by number, of the ClientHello that a connection begins with."""
    kind, _, length = struct.unpack_from(">BHH", wire)
    assert kind == _HANDSHAKE
    hello = wire[5 : 5 + length]
    at = 4 + 2 + 32
    for size in (1, 2, 1):  # session id, cipher suites, compression methods
        at += size + int.from_bytes(hello[at : at + size], "big")
    end = at + 2 + int.from_bytes(hello[at : at + 2], "big")
    at += 2
    found = {}
    while at < end:
        number, length = struct.unpack_from(">HH", hello, at)
        found[number] = hello[at + 4 : at + 4 + length]
        at += 4 + length
    return found
