"""Asking one connection for evidence, driven by bytes: what leaves, and which answers are taken."""

from __future__ import annotations

import pickle

import pytest

from blindai.channel.answer import MAX_ANSWER_BYTES, target
from blindai.channel.handshake import MAX_HEADER_BYTES, Busy, Receive, Send, fetch_answer
from blindai.errors import AttestationError, EvidenceMalformed, Reason, UnreachableError
from tests.attestation.scene import NONCE

BODY = b'{"an": "answer"}'
GOOD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n" + BODY


def fetch(wire, *, piece=None, host="inference.example"):
    """Drive the exchange over what a server wrote; return the body and what was sent to it."""
    exchange = fetch_answer(host, NONCE)
    sent = b""
    reply = None
    while True:
        try:
            step = exchange.send(reply)
        except StopIteration as done:
            return done.value, sent
        if isinstance(step, Send):
            sent += step.data
            reply = None
        else:
            assert isinstance(step, Receive)
            size = min(piece or step.max_bytes, step.max_bytes)
            reply, wire = wire[:size], wire[size:]


def framing(wire, **how):
    """Assert that this answer is refused for its framing."""
    with pytest.raises(EvidenceMalformed) as caught:
        fetch(wire, **how)
    assert caught.value.reason == Reason.ANSWER_FRAMING


@pytest.mark.parametrize("host", ["inference.example", "inference.example:9924", "[::1]:9924", "127.0.0.1"])
def test_what_leaves_is_a_get_and_a_host(host):
    """Byte for byte: no credentials, no user agent, no other header, and nothing behind it."""
    _, sent = fetch(GOOD, host=host)
    assert sent == f"GET {target(NONCE)} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()


@pytest.mark.parametrize("piece", [None, 1, 2, 7, 60, len(GOOD) - 1])
def test_a_good_answer_arrives_in_any_pieces(piece):
    """The network decides where bytes are cut."""
    assert fetch(GOOD, piece=piece)[0] == BODY


def test_an_answer_of_the_largest_size_is_taken():
    """4 MiB, in as many reads as it takes."""
    body = b"x" * MAX_ANSWER_BYTES
    wire = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    assert fetch(wire)[0] == body


def test_a_larger_answer_is_refused_before_its_body_is_read():
    """The declared length decides, so nothing is allocated for it."""
    wire = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (MAX_ANSWER_BYTES + 1)
    with pytest.raises(EvidenceMalformed) as caught:
        fetch(wire)
    assert caught.value.reason == Reason.ANSWER_TOO_LARGE


def headed(*lines, body=BODY, status="200 OK", version="1.1"):
    head = "".join(f"{line}\r\n" for line in lines)
    return f"HTTP/{version} {status}\r\n{head}\r\n".encode("latin-1") + body


LENGTH = "Content-Length: 16"
BAD = {
    "a byte behind": GOOD + b"x",
    "a line behind": GOOD + b"\r\n",
    "a second answer": GOOD + GOOD,
    "two lengths": headed(LENGTH, "Content-Length: 15"),
    "a signed length": headed("Content-Length: +16"),
    "a negative length": headed("Content-Length: -16"),
    "a hexadecimal length": headed("Content-Length: 0x10"),
    "an empty length": headed("Content-Length:"),
    "a huge length": headed("Content-Length: " + "9" * 5000),
    "an arabic length": headed("Content-Length: \xb2"),
    "no length": headed("Content-Type: application/json"),
    "chunked": headed("Transfer-Encoding: chunked", body=b"10\r\n" + BODY + b"\r\n0\r\n\r\n"),
    "chunked and a length": headed(
        "Transfer-Encoding: chunked", LENGTH, body=b"10\r\n" + BODY + b"\r\n0\r\n\r\n"
    ),
    "another coding": headed("Transfer-Encoding: gzip", LENGTH),
    "closes": headed(LENGTH, "Connection: close"),
    "HTTP/1.0": headed(LENGTH, version="1.0"),
    "HTTP/1.0 kept alive": headed(LENGTH, "Connection: keep-alive", version="1.0"),
    "an informational answer": b"HTTP/1.1 100 Continue\r\n\r\n" + GOOD,
    "early hints": b"HTTP/1.1 103 Early Hints\r\n\r\n" + GOOD,
    "another protocol": headed("Upgrade: websocket", "Connection: upgrade", status="101 Switching Protocols"),
    "created": headed(LENGTH, status="201 Created"),
    "no content": headed(status="204 No Content", body=b""),
    "partial": headed(LENGTH, status="206 Partial Content"),
    "moved": headed(LENGTH, "Location: https://elsewhere.example/", status="302 Found"),
    "permanently": headed(LENGTH, "Location: /", status="308 Permanent Redirect"),
    "unauthorized": headed(LENGTH, "WWW-Authenticate: Basic", status="401 Unauthorized"),
    "not found": headed(LENGTH, status="404 Not Found"),
    "misdirected": headed(LENGTH, status="421 Misdirected Request"),
    "broken": headed(LENGTH, status="500 Internal Server Error"),
    "a folded header": headed("X-A: b\r\n c", LENGTH, "X-B : c"),
    "a bare line feed": b"HTTP/1.1 200 OK\nContent-Length: 16\n\n" + BODY + b"!",
    "no HTTP": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01" + bytes(200),
    "HTTP/2 frames": b"\x00\x00\x12\x04\x00\x00\x00\x00\x00" + bytes(50) + b"\r\n\r\n",
    "HTML": b"<!doctype html>\r\n\r\n",
    "NUL": bytes(100) + b"\r\n\r\n",
    "a header bomb": b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * (MAX_HEADER_BYTES // 4),
    "a long line": b"HTTP/1.1 200 " + b"O" * (MAX_HEADER_BYTES + 100),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("piece", [None, 100])
def test_anything_but_one_plain_answer_is_refused(name, piece):
    """One status 200, one Content-Length, a connection that goes on, and nothing left over."""
    framing(BAD[name], piece=piece)


@pytest.mark.parametrize("lines", [(LENGTH, LENGTH), ("Content-Length: 16, 16",)])
def test_a_length_that_is_repeated_is_one_length(lines):
    """HTTP allows it (RFC 9112, 6.3), and there is only one place where the answer can end."""
    assert fetch(headed(*lines))[0] == BODY


@pytest.mark.parametrize("cut", [0, 1, 20, len(GOOD) - len(BODY), len(GOOD) - 1])
def test_an_answer_that_breaks_off_is_unreachable(cut):
    """The peer closed: that is no evidence and no forgery, whatever it had sent."""
    with pytest.raises((UnreachableError, EvidenceMalformed)) as caught:
        fetch(GOOD[:cut])
    assert isinstance(caught.value, UnreachableError)


@pytest.mark.parametrize(
    "status", ["408 Request Timeout", "429 Too Many Requests", "503 Service Unavailable"]
)
def test_a_busy_server_is_unreachable(status):
    """It cannot give evidence now; that is no AttestationError, trying again may help."""
    with pytest.raises(UnreachableError) as caught:
        fetch(headed(LENGTH, "Retry-After: 1", status=status))
    assert not isinstance(caught.value, AttestationError)
    assert caught.value.hint


def test_no_more_is_read_than_asked_for():
    """The driver is told how much to read, so a flood never lies in memory."""
    exchange = fetch_answer("inference.example", NONCE)
    next(exchange)
    step = exchange.send(None)
    assert isinstance(step, Receive)
    assert 0 < step.max_bytes <= 64 * 1024


def later(*lines, body=BODY, status="503 Later"):
    """What a server without evidence at the moment says, with a length that is true."""
    return headed(*lines, f"Content-Length: {len(body)}", body=body, status=status)


@pytest.mark.parametrize("piece", [None, 1, 7])
@pytest.mark.parametrize(("text", "seconds"), [("0", 0), ("1", 1), ("007", 7), ("999999", 999999)])
def test_a_busy_server_says_when_it_may_be_asked_again(text, seconds, piece):
    """Only after its whole answer has been read: what follows on the connection is the next answer."""
    wire = later(f"Retry-After: {text}")
    with pytest.raises(Busy) as caught:
        fetch(wire, piece=piece)
    assert caught.value.retry_after_seconds == seconds
    assert isinstance(caught.value, UnreachableError)
    assert pickle.loads(pickle.dumps(caught.value)).retry_after_seconds == seconds  # noqa: S301


NOT_AT_REST = {
    "without a word": later(),
    "a date": later("Retry-After: Sat, 21 Nov 2026 20:00:00 GMT"),
    "a sign": later("Retry-After: +1"),
    "a fraction": later("Retry-After: 1.5"),
    "an arabic digit": later("Retry-After: \xb2"),
    "seven digits": later("Retry-After: 1000000"),
    "twice": later("Retry-After: 1", "Retry-After: 1"),
    "and ends the connection": later("Retry-After: 1", "Connection: close"),
    "and says more": later("Retry-After: 1") + b"x",
    "and a second answer": later("Retry-After: 1") + GOOD,
    "chunked": headed("Retry-After: 1", "Transfer-Encoding: chunked", body=b"0\r\n\r\n", status="503 Later"),
    "without a length": headed("Retry-After: 1", body=b"", status="503 Later"),
    "a long body": headed("Retry-After: 1", "Content-Length: 65537", body=b"", status="503 Later"),
    "in HTTP/1.0": headed("Retry-After: 1", LENGTH, status="503 Later", version="1.0"),
}


@pytest.mark.parametrize("kind", NOT_AT_REST)
def test_a_busy_server_whose_connection_is_not_at_rest_is_not_asked_again(kind):
    """No second request goes where the end of the first answer is in doubt; and it is no forgery either."""
    with pytest.raises(Busy) as caught:
        fetch(NOT_AT_REST[kind])
    assert caught.value.retry_after_seconds is None


def test_a_busy_answer_that_breaks_off_is_a_broken_connection():
    """As it is for an answer with evidence."""
    with pytest.raises(UnreachableError) as caught:
        fetch(later("Retry-After: 1")[:-1])
    assert not isinstance(caught.value, Busy)
