"""What OpenSSL offers is read from the ClientHello that it makes, not from its version."""

from __future__ import annotations

import ssl

import pytest

from blindai.server.doctor import Status, tls
from blindai.server.doctor.tls import client_hello, offered

GROUPS, VERSIONS = 10, 43


def hello(*, groups, versions):
    """A ClientHello, RFC 8446, 4.1.2, with the two extensions that are read and one before them."""

    def extension(kind, listed, length_bytes):
        body = b"".join(number.to_bytes(2, "big") for number in listed)
        body = len(body).to_bytes(length_bytes, "big") + body
        return kind.to_bytes(2, "big") + len(body).to_bytes(2, "big") + body

    extensions = b"\x00\x17\x00\x00" + extension(GROUPS, groups, 2) + extension(VERSIONS, versions, 1)
    return (
        bytes(5 + 4 + 2 + 32)
        + b"\x20" + bytes(32)  # legacy_session_id
        + b"\x00\x02\x13\x01\x01\x00"
        + len(extensions).to_bytes(2, "big") + extensions
    )  # fmt: skip


def test_what_this_openssl_offers():
    """TLS 1.3 and X25519 are in every one that this project runs with."""
    assert 0x0304 in offered(client_hello(), VERSIONS, length_bytes=1)
    assert 0x001D in offered(client_hello(), GROUPS, length_bytes=2)
    assert (0x11EC in offered(client_hello(), GROUPS, length_bytes=2)) == (ssl.OPENSSL_VERSION_INFO >= (3, 5))


def test_an_extension_that_is_not_there():
    """Nothing is offered by it."""
    assert offered(client_hello(), 0xFFFE, length_bytes=2) == frozenset()


@pytest.mark.parametrize(
    ("groups", "versions", "statuses"),
    [
        ([0x11EC, 0x001D], [0x0304], (Status.OK, Status.OK)),
        ([0x001D], [0x0304, 0x0303], (Status.OK, Status.WARNING)),
        ([0x001D], [0x0303], (Status.FAILED, Status.WARNING)),
    ],
)
def test_what_is_said_of_it(groups, versions, statuses, monkeypatch):
    """Without TLS 1.3 no server starts; without the hybrid group one does, and it is pointed out."""
    monkeypatch.setattr(tls, "client_hello", lambda: hello(groups=groups, versions=versions))
    found = {check.name: check for check in tls.checks()}
    assert (found["tls 1.3"].status, found["X25519MLKEM768"].status) == statuses
    assert found["python"].status is Status.OK
