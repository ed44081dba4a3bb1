"""Python and its OpenSSL: what they would say in a handshake, read from a ClientHello that they make."""

from __future__ import annotations

import contextlib
import platform
import ssl
import sys

from blindai.server.doctor.report import Check, Status

_PYTHON_SINCE = (3, 11)
_SUPPORTED_GROUPS, _SUPPORTED_VERSIONS = 10, 43  # RFC 8446, 4.2
_TLS_1_3 = 0x0304
_X25519MLKEM768 = 0x11EC  # draft-ietf-tls-ecdhe-mlkem
_HANDSHAKE_HEADERS = 5 + 4 + 2 + 32  # record, handshake, legacy_version, random


def checks() -> tuple[Check, ...]:
    """Return what this interpreter's TLS can do."""
    hello = client_hello()
    return (_python(), _versions(hello), _groups(hello))


def client_hello() -> bytes:
    """Return what this OpenSSL sends first to a server, with its defaults. Nothing is sent."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    sent = ssl.MemoryBIO()
    connection = context.wrap_bio(ssl.MemoryBIO(), sent, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        connection.do_handshake()
    return sent.read()


def offered(hello: bytes, extension: int, *, length_bytes: int) -> frozenset[int]:
    """Return the 16-bit numbers that an extension of a ClientHello lists."""
    at = _HANDSHAKE_HEADERS
    at += 1 + hello[at]  # legacy_session_id
    at += 2 + int.from_bytes(hello[at : at + 2], "big")  # cipher_suites
    at += 1 + hello[at] + 2  # legacy_compression_methods, length of the extensions
    while at + 4 <= len(hello):
        kind, length = (int.from_bytes(hello[at + i : at + i + 2], "big") for i in (0, 2))
        body = hello[at + 4 : at + 4 + length]
        if kind == extension:
            listed = body[length_bytes:]
            return frozenset(int.from_bytes(listed[i : i + 2], "big") for i in range(0, len(listed), 2))
        at += 4 + length
    return frozenset()


def _python() -> Check:
    found = f"{platform.python_implementation()} {platform.python_version()}"
    status = Status.OK if sys.version_info >= _PYTHON_SINCE else Status.FAILED
    return Check("python", status, found, "" if status is Status.OK else "Python 3.11 or newer")


def _versions(hello: bytes) -> Check:
    openssl = ssl.OPENSSL_VERSION
    if _TLS_1_3 in offered(hello, _SUPPORTED_VERSIONS, length_bytes=1):
        return Check("tls 1.3", Status.OK, openssl)
    return Check(
        "tls 1.3",
        Status.FAILED,
        f"{openssl} does not offer it",
        "OpenSSL 1.1.1 or newer, and an openssl.cnf that does not forbid TLS 1.3",
    )


def _groups(hello: bytes) -> Check:
    if _X25519MLKEM768 in offered(hello, _SUPPORTED_GROUPS, length_bytes=2):
        return Check("X25519MLKEM768", Status.OK, "offered: what is recorded today stays closed")
    return Check(
        "X25519MLKEM768",
        Status.WARNING,
        f"{ssl.OPENSSL_VERSION} does not offer it: a quantum computer of later opens what is recorded today",
        "a Python with OpenSSL 3.5 or newer, and an openssl.cnf that does not leave it out",
    )
