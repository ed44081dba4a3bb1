"""Services that are busy, slow, broken or hostile: bounded time, bounded memory, our own errors."""

from __future__ import annotations

import dataclasses
import email.utils
import logging
import socket
import ssl
import threading
import time

import pytest

from blindai.errors import UnreachableError, UsageError
from blindai.testing import TlsIdentity
from blindai.transport.collateral import intel
from blindai.transport.collateral.source import Limits, service_url
from tests.transport.collateral import services
from tests.transport.collateral.services import QUICK, Reply

BUSY = Reply(b"later", status=429)
# Far more than the deadline, for a loaded machine, and far less than what drips takes to arrive.
DRIPPING_SECONDS = 60


@pytest.fixture
def spoiled(pcs, platform, operator):
    """Fetch with the reply to the first request replaced by others."""

    def fetch(*replies, limits=QUICK, **at):
        path = next(path for path in pcs.routes if "/tcb?" in path)
        pcs.routes[path] = [*replies]
        return operator.intel(pcs, platform, limits=limits, **at)

    return fetch


def test_a_busy_service_is_asked_again(spoiled, pcs, operator):
    """429 and 503 are waited out, and the waiting is said."""
    good = next(reply for path, reply in pcs.routes.items() if "/tcb?" in path)
    assert spoiled(BUSY, Reply(status=503), good)
    assert len(pcs.asked) == 6
    assert len([text for text in operator.heard if "waiting" in text]) == 2


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_obeyed(spoiled, pcs, slept, form):
    """The service says how long to wait, in seconds or as a date; no less is waited."""
    good = next(reply for path, reply in pcs.routes.items() if "/tcb?" in path)
    due = int(time.time()) + 500
    value = "500" if form == "seconds" else email.utils.formatdate(due, usegmt=True)
    busy = dataclasses.replace(BUSY, headers={"Retry-After": value})
    spoiled(busy, good, limits=dataclasses.replace(QUICK, timeout_seconds=3000))
    assert len(pcs.asked) == 5
    if form == "seconds":
        assert max(slept) == 500
    else:
        assert max(slept) + time.time() >= due


def test_a_storm_of_refusals_ends(spoiled, pcs, slept):
    """A service that is always busy is left in peace after a few attempts, further apart each time."""
    with pytest.raises(UnreachableError, match="busy: refused 5 times"):
        spoiled(BUSY, limits=Limits())
    assert len(pcs.asked) == 5
    assert [pause for pause in slept if pause] == [2, 4, 8, 16]


@pytest.mark.parametrize("value", ["3600", "999999999999999999", "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_a_long_wait_is_reported_and_not_slept(spoiled, slept, value):
    """Whoever asks for more time than there is gets none of it."""
    with pytest.raises(UnreachableError, match="longer than the time that is left"):
        spoiled(dataclasses.replace(BUSY, headers={"Retry-After": value}))
    assert not any(slept)


@pytest.mark.parametrize("value", ["", "-1", "soon", "1e9", "٣", "inf", "Fri, 99 Foo 2026"])
def test_a_strange_retry_after_is_none(spoiled, value):
    """What is neither seconds nor a date leaves our own pause."""
    with pytest.raises(UnreachableError, match="refused 5 times"):
        spoiled(dataclasses.replace(BUSY, headers={"Retry-After": value.encode().decode("latin-1")}))


@pytest.mark.parametrize("chunked", [False, True])
def test_an_answer_without_end_is_cut(spoiled, chunked):
    """More than 256 KiB is nobody's collateral, announced or not."""
    with pytest.raises(UnreachableError, match="more than 262144 bytes"):
        spoiled(Reply(b"x" * 3_000_000, chunked=chunked))


def test_a_dripping_body_does_not_outlast_the_deadline(spoiled):
    """A byte now and then defeats a timeout on each read; the deadline is for everything."""
    begin = time.monotonic()
    with pytest.raises(UnreachableError, match="not fetched within"):
        spoiled(Reply(b"x" * 10_000, drip_seconds=0.05), limits=Limits(timeout_seconds=0.5))
    assert time.monotonic() - begin < DRIPPING_SECONDS


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"])
def test_a_dripping_head_does_not_outlast_the_deadline(platform, operator, head):
    """Nor do headers without end, nor interim responses without end."""
    with _raw_server(head, repeat=b"HTTP/1.1 100 Continue\r\n\r\n" if b"100" in head else b"x") as port:
        begin = time.monotonic()
        with pytest.raises(UnreachableError):
            operator.intel(services.Service(port), platform, limits=Limits(timeout_seconds=0.5))
        assert time.monotonic() - begin < DRIPPING_SECONDS


class _raw_server:  # noqa: N801 - used as a function
    """Sends a head, then a piece every 20 ms, to whoever connects."""

    def __init__(self, head: bytes, *, repeat: bytes) -> None:
        self._head, self._repeat = head, repeat

    def __enter__(self) -> int:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self._listener.getsockname()[1]

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(5)
        self._listener.close()

    def _serve(self) -> None:
        client, _ = self._listener.accept()
        with client:
            try:
                client.sendall(self._head)
                while not self._stop.wait(0.02):
                    client.sendall(self._repeat)
            except OSError:
                return


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_no_redirect_is_followed(spoiled, pcs, status):
    """An API key or a chip's identifier goes where it was meant to go, or nowhere."""
    with services.running(default=Reply(b"{}")) as elsewhere:
        with pytest.raises(UnreachableError, match="not followed"):
            spoiled(Reply(b"", {"Location": f"{elsewhere.url}/CANARY"}, status), api_key="key")
        assert elsewhere.asked == []
    assert len(pcs.asked) == 1


@pytest.mark.parametrize(
    ("status", "kind", "said"),
    [
        (400, UsageError, "does not have"),
        (401, UsageError, "401"),
        (403, UsageError, "403"),
        (404, UsageError, "does not have"),
        (204, UnreachableError, "204"),
        (500, UnreachableError, "500"),
        (599, UnreachableError, "599"),
    ],
)
def test_each_refusal_says_what_to_do(spoiled, status, kind, said):
    """The caller's mistakes are usage errors; the service's are not. Its text is not repeated."""
    with pytest.raises(kind, match=said) as caught:
        spoiled(Reply(b"" if status == 204 else b"CANARY \x1b[2J", status=status))
    assert caught.value.hint
    assert "CANARY" not in str(caught.value) + caught.value.hint


GARBAGE = {
    "empty": b"",
    "html": b"<html>",
    "not utf-8": b'{"tcbInfo":{"a":"\xff"},"signature":""}',
    "array": b"[]",
    "deep": b"[" * 100_000,
    "deep object": b'{"tcbInfo":' * 20_000,
    "no signature": b'{"tcbInfo":{}}',
    "twice": b'{"tcbInfo":{},"tcbInfo":{},"signature":"' + b"00" * 64 + b'"}',
    "short signature": b'{"tcbInfo":{},"signature":"00"}',
    "fraction": b'{"tcbInfo":{"a":1e999},"signature":"' + b"00" * 64 + b'"}',
    "no text": b'{"tcbInfo":"CANARY","signature":"' + b"00" * 64 + b'"}',
    "no date": b'{"tcbInfo":{"nextUpdate":"CANARY"},"signature":"' + b"00" * 64 + b'"}',
    "trailing": b'{"tcbInfo":{},"signature":""}{}',
}


@pytest.mark.parametrize("body", GARBAGE.values(), ids=GARBAGE)
def test_garbage_is_not_collateral(spoiled, pcs, operator, body):
    """What cannot be read is reported, is not quoted, and is not kept."""
    headers = next(reply.headers for path, reply in pcs.routes.items() if "/tcb?" in path)
    with pytest.raises(UnreachableError, match="is not the TCB info") as caught:
        spoiled(Reply(body, headers))
    assert "CANARY" not in str(caught.value)
    assert not operator.folder.exists()


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"TCB-Info-Issuer-Chain": ""},
        {"TCB-Info-Issuer-Chain": "%"},
        {"TCB-Info-Issuer-Chain": "%ff%00"},
        {"TCB-Info-Issuer-Chain": "-----BEGIN CERTIFICATE-----%0AAAAA%0A-----END CERTIFICATE-----"},
        {"SGX-Enclave-Identity-Issuer-Chain": "a"},
        {"TCB-Info-Issuer-Chain": "a", "SGX-TCB-Info-Issuer-Chain": "b"},
    ],
)
def test_a_wrong_header_is_reported(spoiled, pcs, headers):
    """Missing, empty, unreadable, ambiguous or of another answer: there is no chain to guess."""
    body = next(reply.body for path, reply in pcs.routes.items() if "/tcb?" in path)
    with pytest.raises(UnreachableError):
        spoiled(Reply(body, headers))


@pytest.mark.parametrize(
    ("extra", "said"), [("Content-Encoding", "compressed"), ("TCB-Info-Issuer-Chain", "twice")]
)
def test_a_header_too_many_is_reported(spoiled, pcs, extra, said):
    """A compression that nobody asked for, and a second chain beside a good one."""
    good = next(reply for path, reply in pcs.routes.items() if "/tcb?" in path)
    with pytest.raises(UnreachableError, match=said):
        spoiled(Reply(good.body, (*good.headers.items(), (extra, "gzip"))))


def test_a_chain_without_end_is_refused(spoiled, pcs):
    """A chain has three certificates at most."""
    good = next(reply for path, reply in pcs.routes.items() if "/tcb?" in path)
    (chain,) = good.headers.values()
    with pytest.raises(UnreachableError, match="longer than 3"):
        spoiled(Reply(good.body, {"TCB-Info-Issuer-Chain": chain * 3}))


def test_headers_without_end_are_refused(spoiled):
    """Headers have a bound of their own."""
    with pytest.raises(UnreachableError, match="does not answer in HTTP"):
        spoiled(Reply(b"{}", {"TCB-Info-Issuer-Chain": "a" * 300_000}))


def test_nobody_there(platform, operator):
    """A closed port is unreachable, and the hint says what else can be done."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(UnreachableError, match="cannot reach") as caught:
        operator.intel(services.Service(port), platform)
    assert "another machine" in caught.value.hint


def test_what_is_not_http_is_unreachable(platform, operator):
    """Some other service at that port."""
    with _raw_server(b"220 mail.example.org ESMTP\r\n", repeat=b"\r\n") as port:
        with pytest.raises(UnreachableError, match="does not answer in HTTP"):
            operator.intel(services.Service(port), platform)


@pytest.mark.parametrize(
    "url",
    [
        "http://pccs.example.org:8081",
        "http://127.0.0.1.example.org",
        "ftp://127.0.0.1",
        "file:///etc/passwd",
        "https://",
        "pccs.example.org",
        "https://user:secret@pccs.example.org",
        "https://pccs.example.org/?a=b",
        "https://pccs.example.org/#a",
        "https://pccs.example.org:99999",
        "https://pccs.example.org/a b",
        "https://pccs.example.org/\r\nX: y",
        "https://[::1",
        "",
    ],
)
def test_urls_that_are_refused(url):
    """Plain http beyond this machine, other schemes, user names and what cannot be read."""
    with pytest.raises(UsageError) as caught:
        service_url(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://[::1]:1", "http://localhost", "https://a.b/c"])
def test_urls_that_are_taken(url):
    """https anywhere, http on this machine; a last slash is left out."""
    assert service_url(f"{url}/") == url


@pytest.mark.parametrize("key", ["", "two words", "a\r\nX: y", "é"])
def test_a_key_that_no_header_holds_is_refused(key):
    """Before any library could quote it."""
    with pytest.raises(UsageError) as caught:
        intel.Service.at(api_key=key)
    assert "words" not in str(caught.value)


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), 1e9])
def test_a_timeout_is_a_time(platform, operator, seconds):
    """Zero, negative, infinite and no number are usage errors."""
    with pytest.raises(UsageError, match="timeout"):
        operator.intel(services.Service(1), platform, limits=Limits(timeout_seconds=seconds))


def test_no_log_holds_what_was_asked(platform, pcs, operator, caplog):
    """HTTP clients log every URL; in AMD's there is a hardware identifier."""
    caplog.set_level(logging.DEBUG)
    operator.intel(pcs, platform, api_key="CANARY-KEY")
    assert platform.fmspc not in caplog.text
    assert "CANARY-KEY" not in caplog.text


def test_the_environment_is_not_heeded(platform, pcs, operator, monkeypatch):
    """A proxy variable sends nothing elsewhere."""
    with services.running(default=Reply(b"{}")) as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        operator.intel(pcs, platform)
        assert proxy.asked == []


@pytest.fixture
def https(platform, tdx):
    """A PCCS with a certificate of its own making, as they are installed."""
    identity = TlsIdentity.make("localhost", "127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    identity.load_into(context)
    with services.running(services.pcs_routes(tdx.collateral()["intel"], platform), tls=context) as service:
        yield service, identity


def test_a_pccs_with_its_own_certificate_needs_it_named(https, platform, operator, tmp_path, monkeypatch):
    """Neither the system's authorities nor the environment vouch for it; --tls-ca does, and only --tls-ca."""
    service, identity = https
    file, key_log = tmp_path / "pccs.pem", tmp_path / "keys.log"
    file.write_text(identity.pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    monkeypatch.setenv("SSLKEYLOGFILE", str(key_log))
    with pytest.raises(UnreachableError, match="cannot reach") as caught:
        services.Operator(operator.folder).intel(service, platform, api_key="key")
    assert "--tls-ca" in caught.value.hint
    assert service.asked == []
    assert operator.intel(service, platform, ca_file=str(file), api_key="key")
    assert not key_log.exists()
