from __future__ import annotations

import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blindai.server.keys.alpn import offered_protocols


def client_hello(*protocols: str, name: str | None = "localhost") -> bytes:
    """The first message of OpenSSL's handshake, without its record header."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    if protocols:
        context.set_alpn_protocols(list(protocols))
    outgoing = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()[5:]


@pytest.mark.parametrize("protocols", [("http/1.1",), ("h2",), ("h2", "http/1.1", "x" * 255)])
@pytest.mark.parametrize("name", ["localhost", None])
def test_what_a_client_offers(protocols, name):
    """The protocols of a real ClientHello are read, in order."""
    assert offered_protocols(client_hello(*protocols, name=name)) == tuple(p.encode() for p in protocols)


def test_a_client_that_offers_nothing():
    """Without the extension, None."""
    assert offered_protocols(client_hello()) is None


def test_truncated_messages():
    """A ClientHello cut anywhere is read without an error."""
    hello = client_hello("h2", "http/1.1")
    for length in range(len(hello)):
        assert offered_protocols(hello[:length]) in (None, (b"h2", b"http/1.1"))


@given(st.binary(max_size=300))
def test_anything_else(data):
    """Arbitrary bytes end in a result."""
    offered_protocols(data)
