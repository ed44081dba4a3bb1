"""Reading an answer: what is too large, what is malformed, and what the conclusion makes of an operator."""

from __future__ import annotations

import json

import pytest

from blindai.attestation.types import MAX_EVIDENCE_BYTES, TDX_QUOTE
from blindai.channel import answer, keyset
from blindai.channel.handshake import Receive, Send, fetch_answer
from blindai.errors import EvidenceMalformed, Reason, UnreachableError
from blindai.testing import make_keyset
from tests.attestation.scene import NONCE, NOW, TLS, answer_of

KEYSET = make_keyset(tls_spki_sha256=TLS.spki_sha256, now=NOW)


def reason_of(read, raw):
    """Return the reason for which reading ends."""
    with pytest.raises(EvidenceMalformed) as caught:
        read(raw)
    return caught.value.reason


@pytest.mark.parametrize(
    ("characters", "reason"),
    [
        (2 * MAX_EVIDENCE_BYTES, Reason.ANSWER_MALFORMED),
        (2 * MAX_EVIDENCE_BYTES + 1, Reason.EVIDENCE_TOO_LARGE),
    ],
)
def test_a_text_too_long_for_any_evidence_is_not_decoded(tdx, characters, reason):
    """Its length is looked at first; below that, what is no base64url is malformed."""
    value = json.loads(answer_of(tdx))
    value["evidence"] = [[TDX_QUOTE, "=" * characters]]
    assert reason_of(answer.parse, json.dumps(value).encode()) == reason


def test_a_keyset_of_the_largest_size_is_read():
    """16 KiB of text, and not one byte more."""
    largest = KEYSET + b" " * (keyset.MAX_KEYSET_BYTES - len(KEYSET))
    assert keyset.parse(largest).names
    assert reason_of(keyset.parse, largest + b" ") == Reason.KEYSET_MALFORMED


@pytest.mark.parametrize("member", ["version", "source_sha256"])
@pytest.mark.parametrize("length", [1, 256, 0, 257])
def test_a_text_of_a_keyset_has_1_to_256_characters(member, length):
    """What the software calls itself, too."""
    value = json.loads(KEYSET)
    value["software"][member] = "a" * length
    raw = json.dumps(value).encode()
    if 1 <= length <= 256:
        assert getattr(keyset.parse(raw).software, member) == "a" * length
    else:
        assert reason_of(keyset.parse, raw) == Reason.KEYSET_MALFORMED


@pytest.mark.parametrize("name", ["a\t", "\ta", "a\u00a0", "\u3000a", "a\x1f", "a\x7f", "\u0131", "a\u200b"])
def test_a_name_with_a_blank_that_is_none_is_refused(name):
    """Whatever editors and terminals take for a blank, a letter or nothing."""
    raw = json.dumps({**json.loads(KEYSET), "names": [name]}).encode()
    assert reason_of(keyset.parse, raw) == Reason.KEYSET_MALFORMED


def test_a_keyset_is_written_without_blanks():
    """Its bytes are hashed: what is written is as short as it can be."""
    assert json.dumps(json.loads(KEYSET), separators=(",", ":")).encode() == KEYSET


def test_settings_keep_their_kinds():
    """A list of texts stays one, true stays true."""
    value = {**json.loads(KEYSET), "settings": {"a": ["x", "y"], "b": True, "c": 0, "d": "", "e": []}}
    parsed = keyset.parse(json.dumps(value).encode())
    assert parsed.settings == {"a": ("x", "y"), "b": True, "c": 0, "d": "", "e": ()}
    assert parsed.settings["b"] is True
    assert type(parsed.settings["c"]) is int


HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"


def steps(*received):
    """Drive the exchange with these reads; return what was asked for, and the body or the error."""
    exchange, asked, reply = fetch_answer("a.example", NONCE), [], None
    reads = iter(received)
    try:
        while True:
            step = exchange.send(reply)
            asked.append(step)
            reply = None if isinstance(step, Send) else next(reads)
    except StopIteration as done:
        return asked, done.value
    except (EvidenceMalformed, UnreachableError) as error:
        return asked, error


def test_one_request_is_sent_and_then_it_is_only_read():
    """64 KiB at a time, and no more than it takes."""
    asked, body = steps(HEAD, b"\r\n{", b"}")
    assert [type(step) for step in asked] == [Send, Receive, Receive, Receive]
    assert {step.max_bytes for step in asked[1:]} == {65_536}
    assert body == b"{}"


@pytest.mark.parametrize("more", [1, 100])
def test_a_head_has_16_kib_at_most(more):
    """A server may not keep a client reading headers."""
    filler = b"X-A: " + b"b" * (16 * 1024 - len(HEAD) - 20) + b"\r\n"
    _, body = steps(HEAD + filler, b"\r\n{}")
    assert body == b"{}"
    endless = HEAD + b"X-A: " + b"b" * (16 * 1024 - len(HEAD) - 5 + more)
    _, error = steps(endless, b"\r\n\r\n{}")
    assert isinstance(error, EvidenceMalformed)
    assert error.reason == Reason.ANSWER_FRAMING


def test_the_refusals_say_what_to_try():
    """A busy server, an ordinary one, and one that closes."""
    _, busy = steps(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
    assert "in a few seconds" in busy.hint
    _, ordinary = steps(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
    assert "its status is 404, not 200" in str(ordinary)
    _, closed = steps(b"")
    assert "closed the connection" in str(closed)


@pytest.mark.parametrize("evidence", [5, True, "ab", {"a": 1}, [], None])
def test_what_is_no_list_is_no_evidence(tdx, evidence):
    """Also where it is not empty."""
    value = {**json.loads(answer_of(tdx)), "evidence": evidence}
    assert reason_of(answer.parse, json.dumps(value).encode()) == Reason.EVIDENCE_MISSING


@pytest.mark.parametrize("member", ["not_before", "not_after"])
@pytest.mark.parametrize("value", ["1790000000", None, [], True, -1, 2**53])
def test_what_is_no_time_is_named(member, value):
    """In our words, not in those of a comparison that failed."""
    with pytest.raises(EvidenceMalformed, match=f"the keyset is malformed: {member} is not a Unix time"):
        keyset.parse(json.dumps({**json.loads(KEYSET), member: value}).encode())


@pytest.mark.parametrize("record", [[TDX_QUOTE, None], [TDX_QUOTE, []], [TDX_QUOTE, 1], [None, ""], [1, ""]])
def test_a_record_of_other_things_than_two_strings_is_named(tdx, record):
    """In our words, too."""
    value = {**json.loads(answer_of(tdx)), "evidence": [record]}
    with pytest.raises(EvidenceMalformed, match="a piece of evidence is malformed: not two strings"):
        answer.parse(json.dumps(value).encode())


@pytest.mark.parametrize(
    ("wire", "words"),
    [
        (b"HTTP/1.1 100 Continue\r\n\r\n" + HEAD + b"\r\n{}", "it is not one plain response"),
        (b"HTTP/1.1 103 Early Hints\r\n\r\n", "it is not one plain response"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "it is not HTTP"),
        (HEAD + b"Content-Length: 3\r\n\r\n{}", "it is not HTTP"),
        (HEAD + b"\r\n{}x", "it does not end where it says, or it ends the connection"),
        (HEAD + b"Connection: close\r\n\r\n{}", "it does not end where it says, or it ends the connection"),
        (b"HTTP/1.1 200 OK\r\n\r\n{}", "it does not have exactly one Content-Length"),
    ],
)
def test_what_is_wrong_with_an_answer_is_named(wire, words):
    """Whoever runs the server looks for it there."""
    _, error = steps(wire, b"")
    assert str(error).startswith(f"the attestation answer is malformed: {words}")
