"""No environment variable weakens the transport (the original accepted a stranger's certificate with two)."""

from __future__ import annotations

import socket
import threading

import pytest

from blindai.errors import AttestationError, Reason
from blindai.testing import TlsIdentity


@pytest.fixture
def hostile(monkeypatch, tmp_path):
    """Every variable that some HTTP or TLS library heeds, set by an attacker who owns the certificate."""
    attacker = TlsIdentity.make("localhost", "127.0.0.1")
    bundle = tmp_path / "attacker.pem"
    bundle.write_text(attacker.pem)
    key_log = tmp_path / "keys.log"
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        proxy.settimeout(0.2)
        url = f"http://127.0.0.1:{proxy.getsockname()[1]}"
        for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
            monkeypatch.setenv(name, str(bundle))
        monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
        for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, url)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.setenv("SSLKEYLOGFILE", str(key_log))
        yield attacker, proxy, key_log


def test_a_stranger_whose_certificate_the_environment_trusts_gets_nothing(hostile, dial, answering, demands):
    """An attacker with a trusted certificate and evidence of another key is refused as ever."""
    attacker, _, _ = hostile
    with answering(spki=bytes(32)) as peer:
        peer.identities = (attacker,)
        with pytest.raises(AttestationError) as refusal:
            dial(demands(peer))
        peer.wait()
    assert refusal.value.reason is Reason.TLS_KEY_MISMATCH
    assert peer.request_bytes == b""


def test_the_attested_peer_is_reached_directly_and_no_key_is_logged(hostile, dial, answering, demands):
    """Proxy variables are not followed, and the session's secrets are not written to SSLKEYLOGFILE."""
    _, proxy, key_log = hostile
    with answering() as peer:
        assert dial(demands(peer)) == b"{}"
    assert not key_log.exists()
    with pytest.raises(TimeoutError):
        proxy.accept()


def test_unreadable_certificate_paths_do_not_matter(monkeypatch, dial, answering, demands):
    """SSL_CERT_FILE and SSL_CERT_DIR are not even opened."""
    monkeypatch.setenv("SSL_CERT_FILE", "/nonexistent/file.pem")
    monkeypatch.setenv("SSL_CERT_DIR", "/nonexistent")
    with answering() as peer:
        assert dial(demands(peer)) == b"{}"


def test_a_connect_proxy_sees_only_the_address(dial, answering, demands):
    """An explicit CONNECT proxy tunnels; attestation and request pass through it end to end."""
    with answering() as peer, _ConnectProxy() as proxy:
        assert dial(demands(peer), proxy=proxy.url) == b"{}"
        peer.wait()
    assert b"CANARY" in peer.request_bytes
    assert proxy.head.startswith(b"CONNECT 127.0.0.1:")
    assert b"CANARY" not in proxy.head + proxy.relayed


class _ConnectProxy:
    """A CONNECT proxy for one connection that keeps what it saw."""

    def __enter__(self):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.head = self.relayed = b""
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._thread.join(5)
        self._listener.close()

    def _serve(self):
        client, _ = self._listener.accept()
        with client:
            while b"\r\n\r\n" not in self.head:
                self.head += client.recv(4096)
            host, port = self.head.split()[1].decode().rsplit(":", 1)
            with socket.create_connection((host, int(port))) as server:
                client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                back = threading.Thread(target=self._pump, args=(server, client))
                back.start()
                self._pump(client, server)
                back.join(5)

    def _pump(self, source, sink):
        try:
            while data := source.recv(65536):
                self.relayed += data
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass
