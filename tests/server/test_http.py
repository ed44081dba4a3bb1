"""Framing, limits and routes: what a hostile or clumsy HTTP client meets."""

from __future__ import annotations

import contextlib
import json
import time

import pytest

from tests import models
from tests.server import raw
from tests.server.raw import CLOSE, HOST
from tests.serving import RunningServer, exchange, running_server, tensor

INFER = "/v2/models/identity/infer"
BODY = json.dumps({"inputs": [tensor("x", "FP32", [2], [1, 2])]}).encode()
LENGTH = b"Content-Length: %d" % len(BODY)
SECRET = "Zebra-crossing"


@pytest.fixture(scope="module")
def tight():
    """A server with small limits and short patience."""
    with running_server(
        max_request_bytes=100_000,
        header_timeout_seconds=0.5,
        request_read_timeout_seconds=0.5,
        min_body_bytes_per_second=1_000_000,
        max_connections=8,
        keep_alive_seconds=1,
        tls_close_seconds=0.2,
    ) as running:
        assert running.upload("identity", models.identity()).status == 201
        yield running


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01garbage\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /v2\r\n\r\n",
        b"GET /v2 HTTP/2.0\r\n\r\n",
        b"GET /v2 HTTP/1.1\r\nHo st: x\r\n\r\n",
        raw.post(INFER, b"Content-Length: 3", b"Content-Length: 4", body=b"abcd"),
        raw.post(INFER, b"Content-Length: 3", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
        raw.post(INFER, b"Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"),
        raw.post(INFER, b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
        raw.post(INFER, b"Content-Length: -1"),
        raw.post(INFER, b"Content-Length: 1e3"),
        raw.post(INFER, b"Content-Length: 99999999999999999999999"),
        raw.post(INFER, b"Transfer-Encoding: chunked", body=b"zz\r\nabc\r\n0\r\n\r\n"),
        raw.post(INFER, b"Connection: upgrade", b"Upgrade: h2c", b"Content-Length: 3", body=b"abc"),
        b"CONNECT 10.0.0.1:22 HTTP/1.1\r\n" + HOST + b"\r\n",
    ],
)
def test_what_is_not_clear_http_is_refused(server: RunningServer, request_bytes):
    """Bytes whose meaning readers could disagree on get one answer in our form, and the connection ends."""
    (reply,) = raw.send(server, request_bytes)
    assert (reply.status, reply.code) == (400, "malformed")
    assert reply.headers["connection"] == "close"


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /v2 HTTP/1.1\r\n" + HOST + b"a: b\r\n" * 150 + b"\r\n",
        b"GET /v2 HTTP/1.1\r\n" + HOST + b"a: " + b"b" * 50_000 + b"\r\n\r\n",
        b"GET /v2 HTTP/1.1\r\n" + HOST + b"a: " + b"b" * 50_000,
        b"GET /" + b"b" * 50_000,
    ],
    ids=["many", "long", "endless", "endless-target"],
)
def test_headers_have_a_bound(server: RunningServer, request_bytes):
    """Headers are refused once they are too many or too long, whole or not."""
    (reply,) = raw.send(server, request_bytes)
    assert (reply.status, reply.code) == (431, "headers-too-large")


@pytest.mark.parametrize("start", [b"0\r\ntrailer: ", b"1;", b"0" * 10])
def test_what_never_becomes_a_body_has_a_bound(server: RunningServer, start):
    """A trailer, a chunk's extension or its size that does not end is not gathered."""
    request = raw.post(INFER, b"Transfer-Encoding: chunked", body=start)
    reply = raw.send(server, request, *[b"0" * 2**16] * 128)[-1]
    assert (reply.status, reply.code) == (431, "headers-too-large")


@pytest.mark.parametrize("request_bytes", [b"", b"\r\n", b"GET /v2 HT", b"GET /v2 HTTP/1.1\r\nHost: x\r\n"])
def test_a_slow_header_times_out(tight: RunningServer, request_bytes):
    """A connection that does not send its request's header in time gets 408 and is closed."""
    (reply,) = raw.send(tight, request_bytes)
    assert (reply.status, reply.code) == (408, "timeout")


def test_a_slow_body_times_out(tight: RunningServer):
    """A body shorter than its Content-Length, with nothing following, gets 408 and the connection ends."""
    (reply,) = raw.send(tight, raw.post("/v2/repository/index", b"Content-Length: 100", body=b"abc"))
    assert (reply.status, reply.code) == (408, "timeout")


def test_a_body_that_came_fast_and_stops_times_out():
    """What was sent quickly buys no time to stop: the memory it holds is everybody's."""
    with running_server(request_read_timeout_seconds=0.5, min_body_bytes_per_second=1000) as server:
        assert server.upload("identity", models.identity()).status == 201
        (reply,) = raw.send(server, raw.post(INFER, b"Content-Length: 100000", body=b"x" * 99_999))
    assert (reply.status, reply.code) == (408, "timeout")


def test_a_client_that_does_not_read_is_cut_off():
    """It holds neither the request's bytes in the shared budget nor, for long, its connection."""
    count = 4_000_000
    head = json.dumps(
        {
            "inputs": [
                {
                    "name": "x",
                    "datatype": "FP32",
                    "shape": [count],
                    "parameters": {"binary_data_size": 4 * count},
                }
            ],
            "parameters": {"binary_data_output": True},
        }
    ).encode()
    body = head + bytes(4 * count)
    lengths = b"Content-Length: %d\r\nInference-Header-Content-Length: %d" % (len(body), len(head))
    with running_server(
        max_buffered_request_bytes=len(body) + 1000,
        max_request_bytes=len(body),
        request_read_timeout_seconds=1,
        min_body_bytes_per_second=1_000_000,
        tls_close_seconds=0.2,
        drain_seconds=0.5,
    ) as server:
        assert server.upload("identity", models.identity()).status == 201
        with server.connect() as deaf:
            deaf.sendall(raw.post(INFER, lengths, body=body))
            assert deaf.recv(1)
            assert server.request("POST", INFER, BODY).status == 200
            time.sleep(3)
            received = 1
            with contextlib.suppress(OSError):
                while piece := deaf.recv(1 << 20):
                    received += len(piece)
            assert received < 4 * count


def test_an_idle_connection_is_closed(tight: RunningServer):
    """After a response, a connection on which nothing follows ends without another word."""
    (reply,) = raw.send(tight, b"GET /v2/health/live HTTP/1.1\r\n" + HOST + b"\r\n")
    assert reply.status == 200


def test_a_client_that_leaves_in_the_middle(server: RunningServer):
    """A connection cut within a body is forgotten; the next request works."""
    with server.connect() as connection:
        connection.sendall(raw.post(INFER, b"Content-Length: 100", body=b"abc"))
    assert server.request("POST", INFER, BODY).status == 200
    assert server.log.read_text() == ""


@pytest.mark.parametrize(
    "framing", [b"Content-Length: 200000", b"Content-Length: 999999999999", b"Transfer-Encoding: chunked"]
)
def test_a_body_over_the_limit(tight: RunningServer, framing):
    """It is refused at once if announced, else as soon as it is too long; the sender sees why."""
    body = b"30d40\r\n" + b"x" * 200_000 if b"chunked" in framing else b"x" * 1000
    (reply,) = raw.send(tight, raw.post(INFER, framing, body=body))
    assert (reply.status, reply.code) == (413, "too-large")


def test_a_refused_body_that_was_still_on_its_way(server: RunningServer):
    """A client that sends on after the refusal still reads it, and is then disconnected."""
    megabytes = 5 * 2**20
    head = raw.post("/v2/repository/index", b"Content-Length: %d" % megabytes)
    (reply,) = raw.send(server, head, *[b"x" * 2**16] * (megabytes // 2**16))
    assert (reply.status, reply.code) == (413, "too-large")


def test_a_small_refused_body_keeps_the_connection(server: RunningServer):
    """After an error, the same connection serves the next request."""
    with server.http() as connection:
        refused = exchange(connection, "POST", "/v2/models/nobody/infer", BODY)
        assert (refused.status, refused.code) == (404, "model-not-found")
        assert "connection" not in refused.headers
        assert exchange(connection, "POST", INFER, BODY).status == 200


def test_chunked_bodies_are_taken(server: RunningServer):
    """A body without an announced length works."""
    chunks = b"".join(b"%x\r\n%s\r\n" % (1, BODY[i : i + 1]) for i in range(len(BODY)))
    request = raw.post(INFER, b"Transfer-Encoding: chunked", CLOSE[:-2], body=chunks + b"0\r\n\r\n")
    (reply,) = raw.send(server, request)
    assert reply.json()["outputs"][0]["data"] == [1, 2]


def test_requests_sent_ahead_are_answered_in_order(server: RunningServer):
    """Pipelined requests get their answers one after the other."""
    first = raw.post(INFER, LENGTH, body=BODY)
    second = b"GET /nothing HTTP/1.1\r\n" + HOST + b"\r\n"
    third = b"GET /v2/health/live HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n"
    replies = raw.send(server, first + second + third)
    assert [reply.status for reply in replies] == [200, 404, 200]


def test_nothing_follows_a_refusal(server: RunningServer):
    """Bytes that are not HTTP, behind a request that is being answered, get the one last answer."""
    slow = json.dumps({"inputs": [tensor("iterations", "INT64", [1], [200])]}).encode()
    request = raw.post("/v2/models/slow/infer", b"Content-Length: %d" % len(slow), body=slow)
    (reply,) = raw.send(server, request, b"\x16\x03\x01garbage\r\n\r\n")
    assert (reply.status, reply.code) == (400, "malformed")


def test_a_body_is_asked_for_when_it_will_be_read(server: RunningServer):
    """`Expect: 100-continue` gets 100 for a good request, and the error alone for one that fails anyway."""
    good = raw.post(INFER, b"Expect: 100-continue", LENGTH, CLOSE[:-2], body=BODY)
    assert [reply.status for reply in raw.send(server, good)] == [100, 200]
    unknown = raw.post("/v2/models/nobody/infer", b"Expect: 100-continue", LENGTH)
    assert [reply.status for reply in raw.send(server, unknown)] == [404]


def test_compressed_bodies_are_refused(server: RunningServer):
    """Content-Encoding other than identity is refused with 415."""
    reply = server.request("POST", INFER, BODY, {"Content-Encoding": "gzip"})
    assert (reply.status, reply.code) == (415, "encoding-unsupported")
    assert server.request("POST", INFER, BODY, {"Content-Encoding": "identity"}).status == 200


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v1",
        "/v2/",
        "/v2/models",
        f"/v2/{SECRET}",
        "/v2/models/identity/infer/",
        "/v2%2Fhealth/live",
        "*",
    ],
)
def test_paths_that_are_not_there(server: RunningServer, path):
    """An unknown path gets 404 in our form, without the path."""
    reply = server.request("GET", path)
    assert (reply.status, reply.code) == (404, "not-found")
    assert SECRET not in reply.body.decode()


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/v2", "GET"),
        ("HEAD", "/v2", "GET"),
        ("GET", INFER, "POST"),
        ("GET", "/v2/repository/models/identity", "DELETE, PUT"),
        ("PUT", "/.well-known/blindai/attestation", "GET"),
    ],
)
def test_methods_that_a_path_does_not_have(server: RunningServer, method, path, allowed):
    """A wrong method gets 405 and the methods that there are."""
    reply = server.request(method, path)
    assert (reply.status, reply.headers["allow"]) == (405, allowed)
    assert method == "HEAD" or reply.code == "method-not-allowed"


def test_too_many_connections(tight: RunningServer):
    """A connection over the limit gets 429 and is closed; the others go on, and room comes back."""
    held = [tight.connect() for _ in range(8)]
    try:
        (reply,) = raw.send(tight)
        assert (reply.status, reply.code) == (429, "busy")
        held[0].sendall(b"GET /v2/health/live HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n")
        assert raw.parse(raw.read_to_end(held[0]))[0].status == 200
    finally:
        for connection in held:
            connection.close()


def test_the_server_describes_itself(server: RunningServer):
    """`GET /v2` and the health paths answer as the protocol says, and no header names the software."""
    reply = server.request("GET", "/v2")
    assert reply.json()["name"] == "blindai"
    assert "binary_tensor_data" in reply.json()["extensions"]
    assert set(reply.headers) == {"content-type", "content-length", "date", "x-request-id"}
    assert server.request("GET", "/v2/health/live").status == 200
    assert server.request("GET", "/v2/health/ready").status == 200
