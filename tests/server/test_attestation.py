"""The attestation endpoint: evidence for this connection's keys and this client's nonce."""

from __future__ import annotations

import hashlib
import os
import ssl
import time

import pytest

from blindai.attestation.policy import Policy
from blindai.attestation.trust import SimulationTrust
from blindai.channel import answer, keyset
from blindai.channel.bundle import Bundle, Peer
from blindai.channel.handshake import conclude
from blindai.errors import EvidenceForged
from blindai.wire import base64url
from tests.serving import RunningServer, exchange, running_server


def certificate_der(server: RunningServer) -> bytes:
    return ssl.PEM_cert_to_DER_cert(server.ready["certificate_pem"])


def conclusion(server: RunningServer, body: bytes, nonce: bytes):
    """What a client on 127.0.0.1 concludes, which trusts the root and the policy that were announced."""
    return conclude(
        Bundle(Peer.from_certificate("127.0.0.1", certificate_der(server)), nonce, body),
        policy=Policy.from_toml(server.ready["policy"]),
        trust=SimulationTrust([server.ready["root_sha256"]]),
        floors={},
        now=int(time.time()),
    )


def test_an_answer_is_verified_as_a_client_does(server: RunningServer):
    """Answers on one connection verify under the announced root and policy, each for its own nonce only."""
    nonces = [os.urandom(32) for _ in range(2)]
    with server.http() as connection:
        replies = [exchange(connection, "GET", answer.target(nonce)) for nonce in nonces]
    for reply, nonce in zip(replies, nonces, strict=True):
        assert reply.status == 200
        assert conclusion(server, reply.body, nonce)
    with pytest.raises(EvidenceForged):
        conclusion(server, replies[0].body, nonces[1])


def test_the_answer_s_framing(server: RunningServer):
    """An answer has one Content-Length, keeps the connection, and is not to be cached."""
    reply = server.request("GET", answer.target(os.urandom(32)))
    assert reply.headers["content-length"] == str(len(reply.body))
    assert reply.headers["cache-control"] == "no-store"
    assert "connection" not in reply.headers
    assert "transfer-encoding" not in reply.headers


def test_the_keyset_s_promises(server: RunningServer):
    """The keyset names the TLS key, what may be dialled, a day of life, and how the server is set up."""
    reply = server.request("GET", answer.target(os.urandom(32)))
    keys = answer.parse(reply.body).keyset
    peer = Peer.from_certificate("localhost", certificate_der(server))
    assert keys.tls_spki_sha256 == peer.tls_spki_sha256
    assert keys.names == ("localhost", "127.0.0.1", "::1") == tuple(server.ready["names"])
    assert keys.not_after - keys.not_before == keyset.DEFAULT_LIFE_SECONDS
    assert keys.simulated
    assert keys.settings == {
        "isolation": "thread",
        "sandbox": "none",
        "model_upload": "open",
        "sealing": ("memory",),
        "telemetry": "none",
    }


def test_the_root_that_was_announced(server: RunningServer):
    """The fingerprint printed is that of the root printed."""
    der = ssl.PEM_cert_to_DER_cert(server.ready["root_pem"])
    assert hashlib.sha256(der).hexdigest() == server.ready["root_sha256"]


@pytest.mark.parametrize(
    "query",
    [
        "",
        "?",
        "?nonce=",
        "?nonce=" + base64url.encode(bytes(31)),
        "?nonce=" + base64url.encode(bytes(33)),
        "?nonce=" + base64url.encode(bytes(32)) + "=",
        "?nonce=" + base64url.encode(bytes(32))[:-1] + "B",  # trailing bits that are not zero
        "?nonce=" + base64url.encode(bytes(32)) + "&nonce=" + base64url.encode(bytes(32)),
        "?nonce=%ff",
        "?Nonce=" + base64url.encode(bytes(32)),
        "?" + "&".join("a" for _ in range(50)),
    ],
)
def test_a_nonce_that_is_none(server: RunningServer, query):
    """Without exactly one canonical nonce of 32 bytes, 400 says what to send."""
    reply = server.request("GET", answer.PATH + query)
    assert (reply.status, reply.code) == (400, "malformed")
    assert "32" in reply.json()["error"]


def test_who_leaves_gives_its_place_up(tmp_path):
    """Clients that ask and hang up leave room for others, however long the device takes."""
    mood = tmp_path / "mood"
    with running_server(device={"mood": str(mood)}, max_waiting_attestations=3) as server:
        mood.write_text('{"hangs": true}')
        for _ in range(6):
            with server.connect() as sock:
                sock.sendall(f"GET {answer.target(os.urandom(32))} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        asked = [server.connect() for _ in range(3)]
        try:
            for sock in asked:
                sock.sendall(f"GET {answer.target(os.urandom(32))} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            mood.write_text("{}")
            assert [sock.recv(12) for sock in asked] == [b"HTTP/1.1 200"] * 3
        finally:
            for sock in asked:
                sock.close()


def test_a_challenge_with_a_body(server: RunningServer):
    """A GET for evidence that has a body, which nobody of ours sends, is answered like any other."""
    with server.http() as connection:
        reply = exchange(connection, "GET", answer.target(os.urandom(32)), b"0123456789")
        assert reply.status == 200
        assert exchange(connection, "GET", answer.target(os.urandom(32))).status == 200
