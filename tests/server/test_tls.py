"""The TLS end: version, ALPN, sessions, and a key that never touches a disk."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from tests.server.raw import HOST
from tests.serving import RunningServer, running_server, tensor

GET = b"GET /v2/health/live HTTP/1.1\r\n" + HOST + b"\r\n"


@pytest.fixture(scope="module", params=[False, True], ids=["uvloop", "asyncio"])
def plain(request: pytest.FixtureRequest) -> Iterator[RunningServer]:
    """A server on each event loop: each has its own TLS code."""
    with running_server(without_uvloop=request.param) as running:
        yield running


def handshake(
    server: RunningServer,
    change: Callable[[ssl.SSLContext], object] = lambda context: None,
    *,
    name: str | None = "localhost",
    session: ssl.SSLSession | None = None,
) -> ssl.SSLSocket:
    context = server.tls_context()
    if name is None:
        context.check_hostname = False
    change(context)
    sock = socket.create_connection(("127.0.0.1", server.port), timeout=20)
    try:
        return context.wrap_socket(sock, server_hostname=name, session=session)
    except BaseException:
        sock.close()
        raise


def test_tls_1_3_and_http_1_1(plain: RunningServer):
    """A client that offers both gets TLS 1.3 and http/1.1."""
    with handshake(plain, lambda context: context.set_alpn_protocols(["h2", "http/1.1"])) as connection:
        assert connection.version() == "TLSv1.3"
        assert connection.selected_alpn_protocol() == "http/1.1"


def test_tls_1_2_is_refused(plain: RunningServer):
    """A client that knows only TLS 1.2 gets no connection."""

    def only_1_2(context: ssl.SSLContext) -> None:
        context.maximum_version = ssl.TLSVersion.TLSv1_2

    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        handshake(plain, only_1_2)


@pytest.mark.parametrize("offered", [["h2"], ["h2", "acme-tls/1"], ["http/1.0"]])
def test_other_protocols_are_refused(plain: RunningServer, offered):
    """A client that offers only other protocols by ALPN gets no connection."""
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        handshake(plain, lambda context: context.set_alpn_protocols(offered))


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "::1"])
def test_names_in_the_certificate(plain: RunningServer, name):
    """The certificate holds each name that may be dialled, and stands even the strict checks."""

    def strict(context: ssl.SSLContext) -> None:
        context.verify_flags |= ssl.VERIFY_X509_STRICT

    with handshake(plain, strict, name=name) as connection:
        connection.sendall(GET)
        assert connection.recv(1024).startswith(b"HTTP/1.1 200")


def test_without_sni(plain: RunningServer):
    """A client that names nobody is served too: evidence, not SNI, says who this is."""
    with handshake(plain, name=None) as connection:
        connection.sendall(GET)
        assert connection.recv(1024).startswith(b"HTTP/1.1 200")


def test_the_certificate_says_simulation(server: RunningServer):
    """Who looks at the certificate sees that no TEE is behind it."""
    certificate = x509.load_pem_x509_certificate(server.ready["certificate_pem"].encode())
    (organization,) = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    assert organization.value == "SIMULATION - NOT A TEE"


def test_no_session_is_resumed(plain: RunningServer):
    """No ticket is given out, and a client that tries to resume makes a full handshake."""
    with handshake(plain) as connection:
        connection.sendall(GET)
        connection.recv(1024)
        session = connection.session
        context = connection.context
    assert session is not None
    assert not session.has_ticket
    with (
        socket.create_connection(("127.0.0.1", plain.port), timeout=20) as sock,
        context.wrap_socket(sock, server_hostname="localhost", session=session) as connection,
    ):
        assert not connection.session_reused


def test_the_key_is_nowhere_but_in_memory(tmp_path: Path):
    """After starting and serving, no file was written and no descriptor with the key is left open."""
    folders = {name: str(tmp_path) for name in ("HOME", "TMPDIR", "XDG_RUNTIME_DIR", "XDG_CACHE_HOME")}
    with running_server(environment=folders) as server:
        assert server.request("GET", "/v2").status == 200
        targets = [str(entry.readlink()) for entry in Path(f"/proc/{server.pid}/fd").iterdir()]
        assert not [target for target in targets if "memfd" in target]
        assert server.infer("nobody", [tensor("x", "FP32", [1], [1])]).status == 404
    assert list(tmp_path.iterdir()) == []


def test_every_start_has_its_own_keys(server: RunningServer, plain: RunningServer):
    """Two servers share neither certificate nor root."""
    assert server.ready["certificate_pem"] != plain.ready["certificate_pem"]
    assert server.ready["root_pem"] != plain.ready["root_pem"]
