"""/metrics on its port: real scrapes, and scrapers that are slow, loud, many or not scrapers at all."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from blindai.errors import UsageError
from blindai.server.watch.metrics import Metrics
from blindai.server.watch.metrics_listener import MAX_CONNECTIONS, MAX_HEAD_BYTES, MetricsListener
from tests.server.watch.answered import CANARY, INFER, ROUTES, gauges, request

SHORT = 0.3  # a deadline that a test can wait for


@contextlib.contextmanager
def listening(render: Callable[[], bytes], deadline_seconds: float = 30) -> Iterator[MetricsListener]:
    listener = MetricsListener(render, "127.0.0.1:0", deadline_seconds=deadline_seconds)
    listener.start()
    try:
        yield listener
    finally:
        listener.close()


@pytest.fixture
def listener() -> Iterator[MetricsListener]:
    with listening(lambda: b"blindai_connections 1.0\n") as running:
        yield running


def ask(listener: MetricsListener, method: str = "GET", path: str = "/metrics", **headers: str):
    connection = http.client.HTTPConnection("127.0.0.1", listener.port, timeout=20)
    try:
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read()
    finally:
        connection.close()


def connect(listener: MetricsListener) -> socket.socket:
    return socket.create_connection(("127.0.0.1", listener.port), timeout=20)


def raw(listener: MetricsListener, sent: bytes) -> bytes:
    """Send bytes and return all that comes back."""
    with connect(listener) as sock:
        sock.sendall(sent)
        return all_of(sock)


def all_of(sock: socket.socket) -> bytes:
    received = bytearray()
    with contextlib.suppress(ConnectionResetError):
        while chunk := sock.recv(65536):
            received += chunk
    return bytes(received)


def test_a_scrape_gets_what_was_counted():
    """Prometheus's own parser reads what a real scrape brings, and finds the request."""
    metrics = Metrics(ROUTES, gauges(connections=lambda: 7))
    metrics.finished(request())
    with listening(metrics.render) as listener:
        status, headers, body = ask(listener)
    assert status == 200
    assert headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    found = {s.name: s for f in text_string_to_metric_families(body.decode()) for s in f.samples}
    assert found["blindai_requests_total"].labels == {"route": INFER, "status": "200", "code": "ok"}
    assert found["blindai_connections"].value == 7


def test_head_gets_the_head_alone(listener: MetricsListener):
    """HEAD announces the length and sends nothing."""
    answer = raw(listener, b"HEAD /metrics HTTP/1.1\r\nhost: x\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"content-length: 24\r\n" in answer
    assert answer.endswith(b"\r\n\r\n")


def test_a_query_changes_nothing(listener: MetricsListener):
    """What stands after the path is not looked at."""
    assert ask(listener, path="/metrics?name[]=x")[0] == 200


@pytest.mark.parametrize("path", ["/", "/metrics/", "/v2", f"/{CANARY}", "/favicon.ico", "http://x/metrics"])
def test_there_is_nothing_else(listener: MetricsListener, path: str):
    """Every other path is 404, without repeating it."""
    status, _, body = ask(listener, path=path)
    assert (status, body) == (404, b"")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "CONNECT"])
def test_there_is_nothing_to_do(listener: MetricsListener, method: str):
    """Every method but GET and HEAD is 405 and says so."""
    answer = raw(listener, f"{method} /metrics HTTP/1.1\r\nhost: x\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 405 ")
    assert b"\r\nallow: GET, HEAD\r\n" in answer


@pytest.mark.parametrize(
    "line",
    [b"", b"GET", b"GET /metrics", b"GET /metrics HTTP/2", b"\x16\x03\x01 TLS", b"GET  /metrics HTTP/1.1"],
)
def test_what_is_not_http_is_refused(listener: MetricsListener, line: bytes):
    """A malformed request line is 400, and the next scrape works."""
    assert raw(listener, line + b"\r\n\r\n").startswith(b"HTTP/1.1 400 ")
    assert ask(listener)[0] == 200


@pytest.mark.parametrize("sent", [b"GET /" + b"a" * 2**20, b"GET /metrics HTTP/1.1\r\nx: " + b"a" * 2**20])
def test_an_endless_head_is_refused(listener: MetricsListener, sent: bytes):
    """A line or a header over the limit is answered after that much, and nobody waits for the rest."""
    with connect(listener) as sock:
        with contextlib.suppress(ConnectionError):
            sock.sendall(sent[: 2 * MAX_HEAD_BYTES])
            sock.sendall(sent[2 * MAX_HEAD_BYTES :])
        answer = all_of(sock)
    # The system may throw away an answer that crossed with what was still being sent.
    assert answer == b"" or answer.startswith(b"HTTP/1.1 431 ")
    assert ask(listener)[0] == 200


def test_a_head_just_over_the_limit_is_told(listener: MetricsListener):
    """Who sends a little too much gets to read why."""
    sent = b"GET /metrics HTTP/1.1\r\nx: " + b"a" * MAX_HEAD_BYTES + b"\r\n\r\n"
    assert raw(listener, sent).startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize("sent", [b"", b"GET /metrics HTTP/1.1\r\n", b"GET /metrics HTTP/1.1\n\n"])
def test_a_scraper_that_stops_is_cut(sent: bytes):
    """A head that does not end costs its connection at the deadline, and no answer."""
    with listening(lambda: b"", deadline_seconds=SHORT) as listener:
        assert raw(listener, sent) == b""


def test_a_scraper_that_does_not_read_is_cut():
    """An answer that nobody takes is dropped at the deadline; the listener goes on."""
    with listening(lambda: b"x" * 2**25, deadline_seconds=SHORT) as listener, connect(listener) as sock:
        sock.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        time.sleep(2 * SHORT)
        assert len(all_of(sock)) < 2**25
        assert raw(listener, b"GET /nothing HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 404 ")


def test_connections_are_bounded(listener: MetricsListener):
    """One more than may be is closed at once; as soon as one ends there is room again."""
    with contextlib.ExitStack() as held:
        waiting = [held.enter_context(connect(listener)) for _ in range(MAX_CONNECTIONS)]
        for sock in waiting:
            sock.sendall(b"GET /metrics HTTP/1.1\r\n")
        assert raw(listener, b"GET /metrics HTTP/1.1\r\n\r\n") == b""
        waiting[0].sendall(b"\r\n")
        assert all_of(waiting[0]).startswith(b"HTTP/1.1 200 ")
        waiting[0].close()
        while raw(listener, b"GET /metrics HTTP/1.1\r\n\r\n") == b"":
            pass  # the server has not seen the end yet


def test_rendering_takes_a_small_share_of_the_time():
    """Eight scrapers at once get answers, with pauses between: rendering holds what inference needs."""
    renderings: list[tuple[float, float]] = []

    def render() -> bytes:
        began = time.monotonic()
        time.sleep(0.004)
        renderings.append((began, time.monotonic()))
        return b"ok\n"

    with listening(render) as listener:
        answers: list[int] = []
        threads = [threading.Thread(target=lambda: answers.append(ask(listener)[0])) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert answers == [200] * 8
    for (began, ended), (following, _) in itertools.pairwise(renderings):
        assert following - ended > 5 * (ended - began)  # at least: however slow this machine is


def test_a_rendering_that_fails_costs_one_scrape(caplog):
    """The scraper gets nothing, the log has type and place, and the next scrape works."""
    broken = [True]

    def render() -> bytes:
        if broken.pop() if broken else False:
            raise ValueError(CANARY)
        return b"ok\n"

    with listening(render) as listener:
        assert raw(listener, b"GET /metrics HTTP/1.1\r\n\r\n") == b""
        assert ask(listener)[2] == b"ok\n"
    assert "ValueError at test_metrics_listener.py:" in caplog.text
    assert CANARY not in caplog.text


def test_closing_cuts_what_is_open_and_leaves_nothing():
    """After `close` the port refuses, connections are gone and so is the thread."""
    with listening(lambda: b"") as listener, connect(listener) as sock:
        sock.sendall(b"GET /metrics HTTP/1.1\r\n")
        listener.close()
        assert all_of(sock) == b""
        with pytest.raises(ConnectionRefusedError):
            connect(listener)
    assert "blindai-metrics" not in [thread.name for thread in threading.enumerate()]


def test_closing_cuts_what_was_just_accepted():
    """Whatever the listener was doing with a connection when it was closed, nobody is left waiting."""
    for step in range(100):
        with listening(lambda: b"") as listener, connect(listener) as sock:
            time.sleep(step * 0.00003)
            listener.close()
            assert all_of(sock) == b""


def test_a_listener_that_never_started_frees_its_port():
    """A server that fails between opening the port and starting leaves nothing."""
    listener = MetricsListener(lambda: b"", "127.0.0.1:0")
    listener.close()
    with pytest.raises(ConnectionRefusedError):
        connect(listener)


def test_a_port_in_use_is_told(listener: MetricsListener):
    """The message names the port, the hint the setting."""
    with pytest.raises(UsageError, match=f"metrics are not served: .* port {listener.port}") as refused:
        MetricsListener(lambda: b"", f"127.0.0.1:{listener.port}")
    assert "metrics" in refused.value.hint


@pytest.mark.parametrize(
    "text",
    ["", "9925", ":9925", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "::1:9925", "h:1:2", "h/x:1", "h:٣"],
)
def test_an_address_that_is_none_is_refused(text: str):
    """What is not a host and a port is a usage error with an example."""
    with pytest.raises(UsageError, match="the address for metrics") as refused:
        MetricsListener(lambda: b"", text)
    assert "9925" in refused.value.hint


def test_an_ipv6_address_is_served():
    """[::1]:0 opens a port of IPv6's loopback, where there is one."""
    try:
        listener = MetricsListener(lambda: b"ok\n", "[::1]:0")
    except UsageError:
        pytest.skip("this machine has no IPv6")
    listener.start()
    try:
        with socket.create_connection(("::1", listener.port), timeout=20) as sock:
            sock.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
            assert all_of(sock).startswith(b"HTTP/1.1 200 ")
        assert listener.host == "::1"
    finally:
        listener.close()
