"""No two exchanges have the same digest, and nobody has one without the salt."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blindai.channel import exchange_digest
from blindai.channel.exchange_digest import (
    RequestDigest,
    RequestHead,
    ResponseDigest,
    ResponseHead,
    parse_salt,
)
from blindai.errors import RequestCode, RequestError
from blindai.wire import base64url
from tests.channel.exchanges import REQUEST, RESPONSE, SALT

# Few letters, and bytes that lengths are made of, so that a wrong encoding collides soon.
latin = st.text(st.sampled_from("\0\x01\xffab"), max_size=9)
header = st.none() | latin
body = st.binary(max_size=9) | st.just(b"\xff" * 8) | st.just(bytes(7) + b"\x01a")
requests = st.tuples(st.builds(RequestHead, latin, latin, header, header, header), body)
responses = st.tuples(st.builds(ResponseHead, st.integers(100, 999), header, header, header), body)


@pytest.fixture
def inputs(monkeypatch):
    """Return what goes into the HMAC for an exchange, byte by byte."""

    class Recorder:
        def __init__(self, key, message, digestmod):
            assert (key, digestmod) == (SALT, "sha256")
            self.message = message

        def update(self, piece):
            self.message += piece

    monkeypatch.setattr(exchange_digest.hmac, "new", Recorder)

    def of(kind, head, body):
        digest = kind(SALT, head)
        digest.update(body)
        return digest._hmac.message

    return of


def read_back(message: bytes) -> tuple[type, list[bytes | None], bytes]:
    """Read an input as its format says: whatever can be read back is of one exchange only."""
    for kind, domain, count in (
        (RequestDigest, exchange_digest.REQUEST_DOMAIN, 5),
        (ResponseDigest, exchange_digest.RESPONSE_DOMAIN, 4),
    ):
        if message.startswith(domain):
            rest, fields = message[len(domain) :], []
            for _ in range(count):
                length, rest = int.from_bytes(rest[:8], "big"), rest[8:]
                if length == 2**64 - 1:
                    fields.append(None)
                else:
                    fields.append(rest[:length])
                    rest = rest[length:]
            return kind, fields, rest
    raise AssertionError("no domain")


def test_every_exchange_has_an_input_of_its_own(inputs):
    """The bytes that are hashed say which exchange they are of: they can be read back to it."""

    @settings(max_examples=400, deadline=None, derandomize=True)
    @given(exchange=requests | responses)
    def check(exchange):
        head, body = exchange
        kind = RequestDigest if isinstance(head, RequestHead) else ResponseDigest
        values = [str(value) if isinstance(value, int) else value for value in vars(head).values()]
        fields = [None if value is None else value.encode("latin-1") for value in values]
        assert read_back(inputs(kind, head, body)) == (kind, fields, body)

    check()


@settings(max_examples=400, deadline=None, derandomize=True)
@given(one=requests | responses, other=requests | responses)
def test_two_exchanges_have_two_digests(one, other):
    """Also a request and a response, and neighbours whose fields are cut elsewhere."""
    assert (digest_of(one) == digest_of(other)) == (one == other)


def digest_of(exchange):
    head, body = exchange
    kind = RequestDigest if isinstance(head, RequestHead) else ResponseDigest
    digest = kind(SALT, head)
    digest.update(body)
    return digest.digest()


def test_the_format_is_the_documented_one():
    """Written out by hand: a change of it would orphan every receipt there is."""
    digest = RequestDigest(SALT, RequestHead("POST", "/x", "", None, "7"))
    digest.update(b"body")
    message = (
        b"blindai-request-v1\0" + bytes(7) + b"\x04POST" + bytes(7) + b"\x02/x" + bytes(8)
        + b"\xff" * 8 + bytes(7) + b"\x017" + b"body"
    )  # fmt: skip
    assert digest.digest() == hmac.digest(SALT, message, "sha256")
    assert digest.hexdigest() == digest.digest().hex()
    assert base64url.decode(digest.claim()) == digest.digest()
    answer = ResponseDigest(SALT, ResponseHead(404))
    assert answer.digest() == hmac.digest(
        SALT, b"blindai-response-v1\0" + bytes(7) + b"\x03404" + b"\xff" * 24, hashlib.sha256
    )


@pytest.mark.parametrize("cuts", [(), (0,), (1, 2, 3), (5, 5)])
def test_where_a_body_is_cut_makes_no_difference(cuts):
    """A body comes in whatever pieces the network made of it, in any kind of buffer."""
    whole, pieces = RequestDigest(SALT, REQUEST), RequestDigest(SALT, REQUEST)
    whole.update(b"0123456789")
    for start, end in zip((0, *cuts), (*cuts, 10), strict=True):
        pieces.update(memoryview(bytearray(b"0123456789"))[start:end])
    assert whole.digest() == pieces.digest()


def test_another_salt_is_another_digest():
    """Who has the receipt and not the salt can try nothing out."""
    assert RequestDigest(SALT, REQUEST).digest() != RequestDigest(bytes(32), REQUEST).digest()


def test_what_no_exchange_could_have():
    """A salt of another length, a status of two digits, a header that is not bytes."""
    for salt in (b"", bytes(31), bytes(33)):
        with pytest.raises(ValueError, match="salt"):
            RequestDigest(salt, REQUEST)
        with pytest.raises(ValueError, match="salt"):
            ResponseDigest(salt, RESPONSE)
    for status in (-1, 0, 99, 1000):
        with pytest.raises(ValueError, match="status"):
            ResponseDigest(SALT, ResponseHead(status))
    with pytest.raises(ValueError, match="latin-1"):
        RequestDigest(SALT, RequestHead("POST", "/\u0431"))


def test_a_salt_comes_as_canonical_base64url():
    """Anything else in the header is the client's mistake, and says so without quoting it."""
    assert parse_salt(base64url.encode(SALT)) == SALT
    good = base64url.encode(SALT)
    for text in (
        "",
        "AAAA",
        good + "=",
        good[:-1],
        good + "A",
        "+" * 43,
        good[:-1] + "J",
        " " + good,
        "\xff" * 43,
    ):
        with pytest.raises(RequestError) as caught:
            parse_salt(text)
        assert caught.value.code is RequestCode.MALFORMED
        assert text == "" or text not in str(caught.value)
