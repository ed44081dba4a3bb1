from __future__ import annotations

import http.client
import socket
import ssl
import threading

import pytest

from blindai.channel import answer
from blindai.testing import CapturingPeer, HangUp, Pause, TlsIdentity, http_response

NONCE = bytes(range(32))
ATTESTATION_GET = f"GET {answer.target(NONCE)} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


def dial(peer, *, alpn=("http/1.1",), pinned=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_alpn_protocols(list(alpn))
    context.load_verify_locations(cadata=pinned or peer.certificate_pem)
    raw = socket.create_connection(("127.0.0.1", peer.port), timeout=10)
    try:
        return context.wrap_socket(raw, server_hostname="localhost")
    except BaseException:
        raw.close()
        raise


def read_response(tls):
    response = http.client.HTTPResponse(tls)
    response.begin()
    return response.status, response.read()


def echo(nonce):
    return http_response(nonce)


def test_it_records_every_decrypted_byte():
    """What a plain TLS client sent is in the record, byte for byte, also before any whole request."""
    with CapturingPeer(echo) as peer, dial(peer) as tls:
        tls.sendall(b"POST /secret HTTP/1.1\r\nContent-Length: 6\r\n\r\nabc")
    (connection,) = peer.connections
    assert connection.received == b"POST /secret HTTP/1.1\r\nContent-Length: 6\r\n\r\nabc"
    assert connection.request_bytes == peer.request_bytes == connection.received
    assert connection.error == ""


def test_the_attestation_get_is_not_a_request_byte():
    """The fixed GET is answered with what `answer` returns for its nonce, and told apart from the rest."""
    with CapturingPeer(echo) as peer, dial(peer) as tls:
        tls.sendall(ATTESTATION_GET)
        assert read_response(tls) == (200, NONCE)
        tls.sendall(b"GET /v2 HTTP/1.1\r\n\r\n")
        assert read_response(tls) == (200, b"{}")
    (connection,) = peer.connections
    assert connection.attestation_request == ATTESTATION_GET
    assert peer.request_bytes == b"GET /v2 HTTP/1.1\r\n\r\n"


@pytest.mark.parametrize(
    "request_text",
    [
        ATTESTATION_GET.replace(b"\r\n\r\n", b"\r\nAuthorization: Bearer secret\r\n\r\n"),
        ATTESTATION_GET.replace(b"GET", b"POST"),
        ATTESTATION_GET.replace(b"?nonce=", b"?api_key=secret&nonce="),
        ATTESTATION_GET.replace(b"localhost", b"localhost\r\nX: y"),
        ATTESTATION_GET[:-2],
    ],
)
def test_anything_more_than_the_fixed_get_counts(request_text):
    """A credential in the attestation request makes all of it request bytes."""
    with CapturingPeer(echo) as peer, dial(peer) as tls:
        tls.sendall(request_text)
    assert peer.request_bytes == request_text


def test_bodies_are_read_whole_before_the_answer():
    """A request with a length or in chunks is answered once it is complete, and the next one is found."""
    with CapturingPeer(echo, response=http_response(b"ok", 202)) as peer, dial(peer) as tls:
        tls.sendall(b"POST /a HTTP/1.1\r\nContent-Length: 4\r\n\r\nGET ")
        assert read_response(tls) == (202, b"ok")
        tls.sendall(b"POST /b HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
        assert read_response(tls) == (202, b"ok")


def test_an_answer_can_come_in_steps_and_break_off():
    """Pieces, pauses and a hang-up: the client sees exactly the bytes before the end."""
    steps = [b"HTTP/1.1 200 OK\r\n", Pause(0.01), b"Content-Length: 9\r\n\r\nabc", HangUp(), b"never"]
    with CapturingPeer(lambda _: iter(steps)) as peer, dial(peer) as tls:
        tls.sendall(ATTESTATION_GET)
        with pytest.raises((http.client.IncompleteRead, ssl.SSLError, ConnectionError)):
            read_response(tls)
        peer.wait()


def test_leaving_ends_a_slow_answer():
    """An answer that would drip for ever ends when the block is left, though the client still listens."""
    begun = threading.Event()

    def drip(_):
        begun.set()
        while True:
            yield b"x"
            yield Pause(3600)

    with CapturingPeer(drip) as peer:
        tls = dial(peer)
        tls.sendall(ATTESTATION_GET)
        assert begun.wait(10)
    assert peer.connections[0].ended.is_set()
    tls.close()


def test_a_hesitant_client_is_recorded_too():
    """A client that is silent for longer than one read and then sends is still heard."""
    with CapturingPeer(echo) as peer, dial(peer) as tls:
        threading.Event().wait(0.2)
        tls.sendall(b"secret")
    assert peer.request_bytes == b"secret"


def test_leaving_drains_what_was_sent():
    """Bytes that the client sent just before the block ends are recorded, even on an open connection."""
    with CapturingPeer(echo) as peer:
        tls = dial(peer)
        tls.sendall(b"secret")
    assert peer.request_bytes == b"secret"
    tls.close()


def test_leaving_ends_threads_and_sockets():
    """Nothing runs or listens afterwards, also with a client that never finished its handshake."""
    before = set(threading.enumerate())
    with CapturingPeer(echo) as peer:
        port = peer.port
        silent = socket.create_connection(("127.0.0.1", port))
        while not peer.connections:
            threading.Event().wait(0.01)
    silent.close()
    assert set(threading.enumerate()) <= before
    assert peer.connections[0].error
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def test_each_connection_can_show_another_certificate():
    """The nth connection is ended by the nth identity, the last one serving the rest."""
    identities = [TlsIdentity.make("localhost") for _ in range(2)]
    shown = []
    with CapturingPeer(echo, identities=identities) as peer:
        for expected in (identities[0], identities[1], identities[1]):
            with dial(peer, pinned=expected.pem) as tls:
                shown.append(ssl.DER_cert_to_PEM_cert(tls.getpeercert(True)))
    assert shown == [identities[0].pem, identities[1].pem, identities[1].pem]
    assert peer.spki_sha256 == identities[0].spki_sha256


def test_it_speaks_tls_1_3_and_the_agreed_protocol():
    """By default TLS 1.3 with http/1.1; older TLS and no ALPN only on demand."""
    with CapturingPeer(echo) as peer, dial(peer) as tls:
        assert (tls.version(), tls.selected_alpn_protocol()) == ("TLSv1.3", "http/1.1")
    old = CapturingPeer(echo, alpn=None, tls_version=ssl.TLSVersion.TLSv1_2)
    with old as peer, dial(peer) as tls:
        assert (tls.version(), tls.selected_alpn_protocol()) == ("TLSv1.2", None)


def test_a_client_that_refuses_the_certificate_leaves_its_reason():
    """A handshake that the client breaks off is recorded as an error, without a byte received."""
    with CapturingPeer(echo) as peer:
        with pytest.raises(ssl.SSLCertVerificationError):
            dial(peer, pinned=TlsIdentity.make("localhost").pem)
        peer.wait()
    (connection,) = peer.connections
    assert connection.error
    assert connection.received == b""


def test_an_unreadable_nonce_is_given_as_empty():
    """`answer` is asked about an empty nonce when there is none, or none that can be read."""
    with CapturingPeer(echo) as peer, dial(peer) as tls:
        for query in ("", "?nonce=***"):
            tls.sendall(f"GET {answer.PATH}{query} HTTP/1.1\r\n\r\n".encode())
            assert read_response(tls) == (200, b"")


def test_framing_can_be_a_lie():
    """`http_response` adds a length unless the headers already say how the body is framed."""
    assert b"Content-Length: 2\r\n" in http_response(b"ab")
    assert http_response(b"ab", headers={"content-length": "9"}).lower().count(b"content-length") == 1
    assert b"ength" not in http_response(b"ab", headers={"Transfer-Encoding": "chunked"})
    assert http_response(b"", 302, {"Location": "https://x"}).startswith(b"HTTP/1.1 302 ")
