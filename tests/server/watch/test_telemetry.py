"""Telemetry against a real HTTP server on this machine: what is sent is what is shown, or nothing."""

from __future__ import annotations

import contextlib
import json
import queue
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from blindai import __version__
from blindai.errors import UsageError
from blindai.server.watch.telemetry import (
    SWITCHES,
    Telemetry,
    Usage,
    check_endpoint,
    disabled,
    execution_mode,
    message,
    setting,
)
from tests.server.watch.answered import CANARY, UPLOAD, hostile, request

SOON = 0.02
PATIENCE = 30


@dataclass(frozen=True)
class Received:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Endpoint:
    """A server that takes messages, answers with `status` and points elsewhere."""

    status: int = 204
    port: int = 0
    received: queue.Queue[Received] = field(default_factory=queue.Queue)

    def url(self, path: str = "/usage") -> str:
        return f"http://127.0.0.1:{self.port}{path}"


@contextlib.contextmanager
def endpoint(status: int = 204) -> Iterator[Endpoint]:
    told = Endpoint(status)

    class Handler(BaseHTTPRequestHandler):
        def take(self):
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            told.received.put(Received(self.command, self.path, headers, body))
            self.send_response(told.status)
            self.send_header("Location", told.url("/elsewhere"))
            self.send_header("Set-Cookie", f"id={CANARY}")
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_POST = do_GET = do_PUT = take  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        told.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield told
        finally:
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def sending(url: str, usage: Usage, interval_seconds: float = SOON) -> Iterator[Telemetry]:
    telemetry = Telemetry(
        url,
        interval_seconds=interval_seconds,
        current=lambda: message(usage, mode="simulation", uptime_seconds=7.9),
    )
    telemetry.start()
    try:
        yield telemetry
    finally:
        telemetry.close()
        telemetry._thread.join(PATIENCE)
        assert not telemetry._thread.is_alive()


def test_the_message_is_what_was_promised():
    """These members in this order and no other, whatever was counted."""
    usage = Usage()
    for told in (
        request(),
        request(status=429, code="busy"),
        request(method="PUT", route=UPLOAD, status=201),
        request(method="PUT", route=UPLOAD, status=422, code="model-invalid"),
        request(method="DELETE", route=UPLOAD),
        request(method="GET", route="/v2"),
        hostile(),
    ):
        usage.finished(told)
    assert (
        message(usage, mode="tdx", uptime_seconds=61.7)
        == (
            f'{{"version":1,"blindai":"{__version__}","execution_mode":"tdx","uptime_seconds":61,'
            '"requests":7,"inferences":2,"failures":2,"models_uploaded":1}'
        ).encode()
    )


def test_the_endpoint_gets_exactly_the_message():
    """One POST of the exact bytes, without cookies, proxies and words about the machine."""
    usage = Usage()
    usage.finished(request())
    with endpoint() as there, sending(there.url(), usage):
        first, second = (there.received.get(timeout=PATIENCE) for _ in range(2))
    for received in (first, second):
        assert (received.method, received.path) == ("POST", "/usage")
        assert received.body == message(usage, mode="simulation", uptime_seconds=7.9)
        assert received.headers.pop("host") == f"127.0.0.1:{there.port}"
        assert received.headers == {
            "content-type": "application/json",
            "content-length": str(len(received.body)),
            "user-agent": "blindai",
        }


def test_each_message_has_the_counters_of_its_moment():
    """What is counted later is in a later message."""
    usage = Usage()
    with endpoint() as there, sending(there.url(), usage):
        assert json.loads(there.received.get(timeout=PATIENCE).body)["requests"] == 0
        usage.finished(request())
        while json.loads(there.received.get(timeout=PATIENCE).body)["requests"] != 1:
            pass


def test_nothing_is_sent_before_an_interval():
    """A server that ends within its first interval has told nobody anything."""
    with endpoint() as there, sending(there.url(), Usage(), interval_seconds=3600):
        time.sleep(0.1)
    assert there.received.empty()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(caplog, status):
    """Who holds the endpoint cannot send the message on to others; the log says it once."""
    with endpoint(status) as there, sending(there.url(), Usage()):
        received = [there.received.get(timeout=PATIENCE) for _ in range(3)]
    assert {told.path for told in received} == {"/usage"}
    assert caplog.text.count(f"the endpoint answered {status}") == 1


def test_proxies_of_the_environment_are_not_used(monkeypatch):
    """They would see the message, and the environment is the host's."""
    with endpoint() as proxy, endpoint() as there:
        for variable in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(variable, proxy.url(""))
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        with sending(there.url(), Usage()):
            there.received.get(timeout=PATIENCE)
        assert proxy.received.empty()


def test_a_failure_is_logged_once_and_by_type(caplog):
    """Every later one of its type is silent; neither the URL nor the error's text is told."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        failed = threading.Semaphore(0)

        def current() -> bytes:
            failed.release()
            return b"{}"

        telemetry = Telemetry(
            f"http://127.0.0.1:{closed.getsockname()[1]}/{CANARY}", interval_seconds=SOON, current=current
        )
        telemetry.start()
        for _ in range(4):
            assert failed.acquire(timeout=PATIENCE)
        telemetry.close()
        telemetry._thread.join(PATIENCE)
    assert caplog.text.count("telemetry was not taken: ConnectError") == 1
    assert CANARY not in caplog.text


def test_an_endpoint_that_never_answers_does_not_hold_the_end():
    """`close` returns while a message hangs, and the thread is one that no process waits for."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        telemetry = Telemetry(
            f"http://127.0.0.1:{silent.getsockname()[1]}/", interval_seconds=SOON, current=lambda: b"{}"
        )
        telemetry.start()
        silent.settimeout(PATIENCE)
        connection, _ = silent.accept()
        with connection:
            while b"{}" not in connection.recv(65536):
                pass
            telemetry.close()
            assert telemetry._thread.is_alive()  # `close` did not wait for it
            assert telemetry._thread.daemon
    telemetry._thread.join(PATIENCE)
    assert not telemetry._thread.is_alive()


@pytest.mark.parametrize("variable", SWITCHES)
@pytest.mark.parametrize("value", ["1", "true", "yes", "no", "off", "2", "00"])
def test_a_switch_always_wins(variable, value):
    """Whatever it is set to, short of nothing, 0 and false."""
    assert disabled({variable: value}) == variable
    assert setting("https://usage.example.org", {variable: value}) == "none"


@pytest.mark.parametrize("variable", SWITCHES)
@pytest.mark.parametrize("value", ["", " ", "0", "false", "False", "FALSE "])
def test_a_switch_that_is_off_switches_nothing(variable, value):
    """An empty variable, 0 and false are as good as none."""
    assert disabled({variable: value}) is None
    assert setting("https://usage.example.org", {variable: value}) == "usage"


def test_one_switch_that_is_on_is_enough():
    """The other one says nothing against it."""
    assert disabled({SWITCHES[0]: "0", SWITCHES[1]: "1"}) == SWITCHES[1]


def test_without_an_endpoint_there_is_none():
    """The keyset says so."""
    assert setting(None, {}) == "none"
    assert setting("", {}) == "none"
    assert setting("https://usage.example.org", {}) == "usage"


@pytest.mark.parametrize(
    "good",
    [
        "https://usage.example.org",
        "https://usage.example.org:8443/a/b",
        "https://[2001:db8::1]/x",
        "http://127.0.0.1:8080/x",
        "http://127.9.9.9/x",
        "http://[::1]:8080",
        "http://localhost/x",
    ],
)
def test_good_endpoints(good):
    """https anywhere, plain http on this machine."""
    assert check_endpoint(good) == good


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "usage.example.org",
        "//usage.example.org/x",
        "http://usage.example.org/x",
        "http://127.0.0.1.example.org/x",
        "http://0.0.0.0/x",
        "http://localhost.example.org/x",
        "ftp://127.0.0.1/x",
        "file:///etc/passwd",
        f"https://{CANARY}@usage.example.org/x",
        f"https://u:{CANARY}@usage.example.org/x",
        "https://@usage.example.org/x",
        f"https://usage.example.org/x?key={CANARY}",
        "https://usage.example.org/x?",
        "https://usage.example.org/x#y",
        "https://usage.example.org:99999/x",
        "https://usage.example.org:x/x",
        "https:///x",
        "https://usage.example.org/a b",
        "https://usage.example.org/a\r\nX: y",
        "https://usagé.example.org/x",
        "https://[::1",
    ],
)
def test_bad_endpoints(bad):
    """Credentials, queries and plain http elsewhere are refused, without repeating them."""
    with pytest.raises(UsageError) as refused:
        check_endpoint(bad)
    assert CANARY not in str(refused.value)
    with pytest.raises(UsageError):
        Telemetry(bad, interval_seconds=1, current=lambda: b"")


def test_the_execution_mode_of_a_simulation_is_no_tee():
    """A simulated TDX does not count as TDX."""
    assert execution_mode("tdx", simulated=True) == "simulation"
    assert execution_mode("sev-snp", simulated=False) == "sev-snp"


def test_inferences_of_every_version_count():
    """The route with a version is an inference too, and its path with a namespace an upload."""
    usage = Usage()
    usage.finished(request(route="/v2/models/{model}/versions/{version}/infer"))
    usage.finished(request(method="PUT", route="/v2/repository/models/{namespace}/{model}", status=201))
    assert (usage.inferences, usage.models_uploaded) == (1, 1)
