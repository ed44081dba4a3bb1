"""Bodies that lie about their length, that dawdle, that never end, and a thousand at once.

Whatever comes: bounded memory, a clean error or a closed connection, a server that goes on, and nothing left
in its store.
"""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.raw import HOST, parse
from tests.serving import RunningServer
from tests.system.deployment import Deployment
from tests.system.open_files import many_files
from tests.system.weights import Weights

KIB, MIB = 2**10, 2**20
MODEL = Weights("model", 10_000)
MAX_MODEL_BYTES = 4 * MIB
MAX_UPLOADS = 8
MAX_CONNECTIONS = 100
FLOOD = 1000
FLOOD_BYTES = MIB
SETTINGS = {
    "limits": {
        "max_model_bytes": MAX_MODEL_BYTES,
        "max_buffered_upload_bytes": MAX_MODEL_BYTES,
        "max_uploads": MAX_UPLOADS,
        "caller_max_uploads": MAX_UPLOADS,
        "max_connections": MAX_CONNECTIONS,
        "max_header_bytes": 8 * KIB,
    },
    "timeouts": {
        "request_read_timeout_seconds": 3,
        "header_timeout_seconds": 3,
        "tls_handshake_timeout_seconds": 3,
        "tls_close_seconds": 1,
    },
}
CLEAN = {400, 408, 413, 429, 431}
CLOSED = "closed"

# What a server may hold of an upload: the piece that gathers, the one that is written, and the chunk that is
# sealed, twice.
UPLOAD_ALLOWANCE = 4 * MIB
# Of a connection: what the event loop reads at once, that much again in OpenSSL, which grows its buffer by
# thirds, and in the parser; and the header.
CONNECTION_ALLOWANCE = (256 + 342 + 256 + 8) * KIB


@contextlib.contextmanager
def small_server(folder: Path) -> Iterator[RunningServer]:
    """A server with small limits and a store. In the end it takes a model and predicts as ever."""
    with Deployment(folder / "deployment", settings=SETTINGS).serving() as server:
        assert server.upload("model", MODEL.content).status == 201
        yield server
        check_at_rest(server)


def check_at_rest(server: RunningServer) -> None:
    """The server takes a model and predicts, and its store holds one model and nothing else."""
    _wait_until(lambda: len(stored(server)) == 2, "files are left in the store")
    assert server.upload("another", Weights("another", 300_000).content).status == 201
    assert server.request("DELETE", "/v2/repository/models/another").status == 200
    assert MODEL.answered_by(server.infer("model", MODEL.question()))
    assert [path.suffix for path in stored(server)] == ["", ".model"]
    assert "Traceback" not in server.log.read_text()


@pytest.fixture(scope="module")
def lied_to(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with small_server(tmp_path_factory.mktemp("lies")) as server:
        yield server


def put(*headers: str) -> bytes:
    lines = b"".join(header.encode("ascii") + b"\r\n" for header in headers)
    return b"PUT /v2/repository/models/flood HTTP/1.1\r\n" + HOST + lines + b"\r\n"


LIES = {
    "longer than declared": (put("Content-Length: 10"), MODEL.content),
    "shorter than declared, then silence": (put(f"Content-Length: {MIB}"), MODEL.content),
    "over the limit by its declaration": (put(f"Content-Length: {MAX_MODEL_BYTES + 1}"), b"x" * KIB),
    "a length of twenty digits": (put(f"Content-Length: {10**19}"), b"x" * KIB),
    "a negative length": (put("Content-Length: -1"), MODEL.content),
    "a length in hexadecimal": (put("Content-Length: 0x10"), MODEL.content),
    "two lengths": (put("Content-Length: 10", "Content-Length: 20"), MODEL.content),
    "a length and chunks": (put("Content-Length: 10", "Transfer-Encoding: chunked"), b"a\r\n0123456789\r\n"),
    "chunks without end": (put("Transfer-Encoding: chunked"), 8 * (b"100000\r\n" + bytes(MIB) + b"\r\n")),
    "chunks that stop": (put("Transfer-Encoding: chunked"), b"100000\r\n" + bytes(KIB)),
    "a chunk of unclear size": (put("Transfer-Encoding: chunked"), b"zz\r\n" + bytes(KIB)),
    "a chunk of 16 exbibytes": (put("Transfer-Encoding: chunked"), b"ffffffffffffffff\r\n" + bytes(KIB)),
    "chunk extensions without end": (put("Transfer-Encoding: chunked"), b"1;" + b"x" * 64 * KIB),
    "trailers without end": (put("Transfer-Encoding: chunked"), b"0\r\n" + 4096 * b"x: yyyyyyyyyyy\r\n"),
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
def test_a_body_that_lies_about_its_length(lied_to: RunningServer, lie: str):
    """Each is answered with an error, or cut off; none becomes a model."""
    head, body = LIES[lie]
    with lied_to.connect() as connection:
        received = sent_and_answered(connection, head + body)
    assert answers(received) <= CLEAN | {CLOSED}, received
    check_at_rest(lied_to)


def test_a_body_that_ends_with_its_connection(lied_to: RunningServer):
    """A client that goes away in the middle leaves nothing behind, at whichever byte it goes."""
    whole = put(f"Content-Length: {len(MODEL.content)}") + MODEL.content
    for count in (10, len(whole) - len(MODEL.content), len(whole) // 2, len(whole) - 1):
        with lied_to.connect() as connection:
            connection.sendall(whole[:count])
    check_at_rest(lied_to)


def test_a_body_of_one_byte_a_second(lied_to: RunningServer):
    """A body below the pace that clients have to keep is refused, though it never stands still."""
    with lied_to.connect() as connection:
        connection.sendall(put(f"Content-Length: {len(MODEL.content)}"))
        received, deadline = b"", time.monotonic() + 30
        connection.settimeout(1)
        for byte in MODEL.content:
            try:
                connection.sendall(bytes([byte]))
                received = connection.recv(65536)
                break
            except TimeoutError:  # no answer in this second
                assert time.monotonic() < deadline
    assert answers(received) == {408}


def test_a_thousand_half_open_uploads(tmp_path: Path):
    """The server holds no more than its settings let it, answers or closes all, and comes back to rest.

    Most of them stop in a body, the others in a header, before one, or before TLS.
    """
    with small_server(tmp_path) as server, many_files(2 * FLOOD), contextlib.ExitStack() as held:
        before, most, connections = memory(server, "VmRSS"), 0, []
        for number in range(FLOOD):
            connections.append(half_open(server, number, held))
            # Those that are one too many are turned away over TLS, and live as long as that takes.
            most = max(most, files_of(server))
        told = Counter(answer for connection in connections for answer in answers(read(connection)))
        growth = memory(server, "VmHWM") - before
        held.close()
        assert set(told) <= CLEAN | {CLOSED}, told
        assert told[429] > FLOOD / 4, told
        allowed = MAX_UPLOADS * UPLOAD_ALLOWANCE + MAX_MODEL_BYTES + most * CONNECTION_ALLOWANCE
        assert growth < allowed < FLOOD * FLOOD_BYTES / 2, (growth, allowed, most)


def half_open(server: RunningServer, number: int, held: contextlib.ExitStack) -> socket.socket:
    """Begin an upload, and stop somewhere. What the server does not read stays with us."""
    sock = socket.create_connection(("127.0.0.1", server.port), timeout=30)
    held.callback(sock.close)
    stop = number % 8
    if stop == 7:
        return sock
    try:
        connection = server.tls_context().wrap_socket(sock, server_hostname="127.0.0.1")
    except OSError:  # cut off in the middle of the handshake
        return sock
    held.callback(connection.close)
    head = put(f"Content-Length: {MAX_MODEL_BYTES}")
    connection.settimeout(0.02)
    with contextlib.suppress(OSError):
        connection.sendall(head[:40] if stop == 6 else head if stop == 5 else head + bytes(FLOOD_BYTES))
    return connection


def sent_and_answered(connection: socket.socket, data: bytes) -> bytes:
    """Send what the server takes, and return all that it says."""
    with contextlib.suppress(OSError):
        connection.sendall(data)
    return read(connection)


def read(connection: socket.socket) -> bytes:
    connection.settimeout(30)
    received = b""
    with contextlib.suppress(ConnectionError, ssl.SSLError):  # cut off: what came before counts
        while piece := connection.recv(65536):
            received += piece
    return received


def answers(received: bytes) -> set[object]:
    return {reply.status for reply in parse(received)} or {CLOSED}


def stored(server: RunningServer) -> list[Path]:
    return sorted((server.folder / "store").iterdir(), key=lambda path: path.suffix)


def files_of(server: RunningServer) -> int:
    try:
        return len(list(Path(f"/proc/{server.pid}/fd").iterdir()))
    except PermissionError:
        pytest.skip("only root sees how many connections another process has")


def memory(server: RunningServer, field: str) -> int:
    """A field of the process's status, in bytes."""
    text = Path(f"/proc/{server.pid}/status").read_text()
    match = re.search(rf"{field}:\s+(\d+) kB", text)
    assert match is not None
    return int(match[1]) * KIB


def _wait_until(condition, complaint: str) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, complaint
        time.sleep(0.05)
