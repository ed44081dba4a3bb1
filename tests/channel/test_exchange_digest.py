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
    salt_of,
)
from blindai.errors import RequestCode, RequestError
from blindai.wire import base64url
from tests.channel.exchanges import POLICY_SHA256, REQUEST, RESPONSE, SALT, SEED

# Few letters, and bytes that lengths are made of, so that a wrong encoding collides soon.
latin = st.text(st.sampled_from("\0\x01\xffab"), max_size=9)
header = st.none() | latin
body = st.binary(max_size=9) | st.just(b"\xff" * 8) | st.just(bytes(7) + b"\x01a")
requests = st.tuples(st.builds(RequestHead, latin, latin, header, header, header), body)
responses = st.tuples(st.builds(ResponseHead, st.integers(100, 999), header, header, header), body)


@pytest.fixture
def inputs(monkeypatch):
    """Return what goes into the two HMACs for an exchange, byte by byte: the head's, then the body's."""
    outer = []

    class Recorder:
        def __init__(self, key, message, digestmod):
            assert (key, digestmod) == (SALT, "sha256")
            self.message = message

        def update(self, piece):
            self.message += piece

        def digest(self):
            return b"D" * 32

    def one_shot(key, message, digestmod):
        assert (key, digestmod) == (SALT, "sha256")
        outer.append(message)
        return bytes(32)

    monkeypatch.setattr(exchange_digest.hmac, "new", Recorder)
    monkeypatch.setattr(exchange_digest.hmac, "digest", one_shot)

    def of(kind, head, body):
        digest = kind(SALT, head)
        digest.update(body)
        digest.digest()
        return outer.pop(), digest._body.message

    return of


def read_back(message: bytes, body: bytes) -> tuple[type, list[bytes | None], bytes]:
    """Read the inputs as the format says: whatever can be read back is of one exchange only."""
    for kind, domain, body_domain, count in (
        (RequestDigest, exchange_digest.REQUEST_DOMAIN, exchange_digest.REQUEST_BODY_DOMAIN, 5),
        (ResponseDigest, exchange_digest.RESPONSE_DOMAIN, exchange_digest.RESPONSE_BODY_DOMAIN, 4),
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
            assert rest == b"D" * 32
            assert body.startswith(body_domain)
            return kind, fields, body.removeprefix(body_domain)
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
        assert read_back(*inputs(kind, head, body)) == (kind, fields, body)

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
    inner = hmac.digest(SALT, b"blindai-request-body-v1\0body", "sha256")
    fields = (
        bytes(7) + b"\x04POST" + bytes(7) + b"\x02/x" + bytes(8) + b"\xff" * 8 + bytes(7) + b"\x017"
    )  # fmt: skip
    assert digest.body_digest() == inner
    assert digest.digest() == hmac.digest(SALT, b"blindai-request-v1\0" + fields + inner, "sha256")
    assert digest.hexdigest() == digest.digest().hex()
    assert base64url.decode(digest.claim()) == digest.digest()
    answer = ResponseDigest(SALT, ResponseHead(404))
    inner = hmac.digest(SALT, b"blindai-response-body-v1\0", "sha256")
    assert answer.digest() == hmac.digest(
        SALT, b"blindai-response-v1\0" + bytes(7) + b"\x03404" + b"\xff" * 24 + inner, hashlib.sha256
    )
    policy = bytes(range(32))
    assert salt_of(SEED, policy.hex(), RequestHead("POST", "/x", "", None, "7")) == hmac.digest(
        SEED, b"blindai-receipt-salt-v1\0" + policy + fields, "sha256"
    )


def test_the_domains_are_no_prefixes_of_one_another():
    """Under one salt there are four kinds of input: none begins like another."""
    domains = [value for name, value in vars(exchange_digest).items() if name.endswith("_DOMAIN")]
    assert len(domains) == 5
    assert not [one for one in domains for other in domains if one is not other and one.startswith(other)]


def test_a_head_is_checked_without_the_body():
    """The claim is that of the head and of the body's digest, whoever has hashed the body."""
    for whole, blank in (
        (RequestDigest(SALT, REQUEST), RequestDigest(SALT, REQUEST)),
        (ResponseDigest(SALT, RESPONSE), ResponseDigest(SALT, RESPONSE)),
    ):
        whole.update(b"body")
        assert blank.claim_over(whole.body_digest()) == whole.claim() != blank.claim()
        for digest in (b"", bytes(31), bytes(33)):  # or a header's bytes could be those of a body's digest
            with pytest.raises(ValueError, match="body's digest"):
                blank.claim_over(digest)


def test_a_salt_commits_to_the_policy_and_to_the_request():
    """Whoever changes one of them has another salt, and no seed to make up for it."""
    salts = {
        salt_of(seed, policy, head)
        for seed in (SEED, bytes(32))
        for policy in (POLICY_SHA256, "00" * 32)
        for head in (REQUEST, RequestHead("GET", REQUEST.path), RequestHead("GE", "T" + REQUEST.path))
    }
    assert len(salts) == 12
    for seed in (b"", bytes(31), bytes(33), SEED + bytes(32)):
        with pytest.raises(ValueError, match="seed"):
            salt_of(seed, POLICY_SHA256, REQUEST)
    for policy in ("", "00" * 31, "00" * 33, "no digest"):
        with pytest.raises(ValueError, match=r"64|fromhex"):
            salt_of(SEED, policy, REQUEST)


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
