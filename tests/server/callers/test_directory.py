"""The Authorization header: who gets in, and what those learn who do not."""

from __future__ import annotations

import hashlib

import pytest

from blindai.errors import RequestCode, RequestError
from blindai.server.callers.caller import ANONYMOUS, Role
from blindai.server.callers.directory import Callers
from blindai.server.callers.keys import KeyHolder, key_id, new_key
from tests.server.callers.issuer import NAMES, NOW, claims, curve_key, keyed, signed, token

KEY, UNKNOWN = (new_key(lambda n, i=i: hashlib.sha256(bytes([i])).digest()[:n]) for i in (1, 2))
HOLDER = KeyHolder("alice", Role.OWNER, "alice", key_id(KEY))


@pytest.fixture
def callers(issuer) -> Callers:
    return Callers([HOLDER], issuer.tokens(), open=False)


def refusal(callers: Callers, authorization: str | None, now: int = NOW) -> str:
    with pytest.raises(RequestError) as caught:
        callers.authenticate(authorization, now)
    assert caught.value.code == RequestCode.UNAUTHENTICATED
    assert caught.value.hint == ""
    return str(caught.value)


def test_keys_and_tokens(callers, issuer):
    """Both come in the same header."""
    assert callers.authenticate(f"Bearer {KEY}", NOW).key_id == key_id(KEY)
    assert callers.authenticate(f"Bearer {token(issuer.curve)}", NOW).name == "alice@example.org"


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEaReR", "Bearer  "])
def test_the_scheme(callers, scheme):
    """It is written in any case."""
    assert callers.authenticate(f"{scheme} {KEY}", NOW).name == "alice"


def test_one_answer_for_all(callers, issuer):
    """Unknown, forged, for others: the client reads the same words, of whatever exists here or not."""
    known_kid = signed(curve_key("curve"), {"alg": "ES256", "kid": "curve"}, claims())
    answers = {
        refusal(callers, f"Bearer {credential}")
        for credential in (
            UNKNOWN,
            KEY[:-1],
            key_id(KEY),
            "alice",
            "x",
            known_kid,
            token(curve_key("other")),
            token(issuer.curve, claims(aud="other.example.org")),
            token(issuer.curve, claims(iss="other")),
            token(issuer.curve, claims(role="root")),
            token(issuer.curve, claims(nbf=NOW + 1000)),
            token(curve_key("curve"), claims(exp=NOW - 1)),
            keyed(b"secret", {"alg": "HS256", "kid": "curve"}, claims()),
            "a.b.c",
            "..",
            "A" * 8000,
            "A" * 100_000,
        )
    }
    assert len(answers) == 1
    without_tokens = Callers([HOLDER], None, open=False)
    assert {refusal(without_tokens, f"Bearer {text}") for text in (UNKNOWN, token(issuer.curve))} == answers
    nobody = Callers([], None, open=True)
    assert {refusal(nobody, f"Bearer {text}") for text in (UNKNOWN, token(issuer.curve))} == answers


def test_a_genuine_token_is_told_of_its_end(callers, issuer):
    """Who signed in with a real token may know that it has expired, and nobody else."""
    ended = token(issuer.curve, claims(exp=NOW))
    assert "expired" in refusal(callers, f"Bearer {ended}")
    assert "expired" not in refusal(callers, f"Bearer {token(curve_key('curve'), claims(exp=NOW))}")
    assert "expired" not in refusal(callers, f"Bearer {token(issuer.curve, claims(exp=NOW, aud='x'))}")


def test_a_token_remembered_then_expired(callers, issuer):
    """What was good a second ago ends when it ends."""
    text = f"Bearer {token(issuer.edwards, claims(exp=NOW + 2))}"
    assert callers.authenticate(text, NOW) is callers.authenticate(text, NOW + 1)
    assert "expired" in refusal(callers, text, NOW + 2)


def test_no_header(callers):
    """A server with callers says what it asks for; an open one lets in without."""
    assert "Authorization: Bearer" in refusal(callers, None)
    assert Callers([], None, open=True).authenticate(None, NOW) is ANONYMOUS


def test_an_open_server_takes_keys_at_their_word(issuer):
    """Whoever sends a key to an open server means to be somebody: a wrong one is not overlooked."""
    opened = Callers([HOLDER], issuer.tokens(), open=True)
    assert opened.authenticate(None, NOW) is ANONYMOUS
    assert opened.authenticate(f"Bearer {KEY}", NOW).name == "alice"
    for text in (f"Bearer {UNKNOWN}", "Bearer a.b.c", "Bearer", "Bearer ", "", " ", f"Basic {KEY}"):
        refusal(opened, text)


@pytest.mark.parametrize(
    "authorization",
    [
        KEY,
        f"{KEY} Bearer",
        f"Bearer{KEY}",
        f"Bearer\t{KEY}",
        f"Bearer\u00a0{KEY}",
        f"Bearer\u2003{KEY}",
        f"Bearer {KEY}\u00a0",
        f"Bearer {KEY}\n",
        f"Bearer {KEY}\r\nX: y",
        f"Bearer {KEY}\x00",
        f"Bearer {KEY}é",
        f"Bearer {KEY},",
        f"Bearer {KEY}, Bearer {KEY}",
        f"Bearer {KEY} {KEY}",
        f'Bearer "{KEY}"',
        f"Bearer token={KEY}",
        f"Bearer {KEY}=",
        f"Bearer {KEY.replace('b', chr(0x1D68B), 1)}",
        f"Bearer {KEY.replace('b', chr(0xFF42), 1)}",
        f"Bearer {KEY.replace('_', chr(0xFF3F), 1)}",
        f"Ｂearer {KEY}",  # noqa: RUF001 - a fullwidth B
        f"Веаrer {KEY}",  # noqa: RUF001 - Cyrillic letters
        f"Bearer {KEY}".encode("utf-16").decode("latin-1"),
        f"Token {KEY}",
        f"Basic {KEY}",
        f"Bearer {' ' * 20_000}{KEY}",
        "Bearer " + "\ud800",
    ],
)
def test_texts_that_are_no_bearer(callers, authorization):
    """Look-alikes, blanks of other kinds, several credentials and other schemes are nobody."""
    assert "does not accept" in refusal(callers, authorization)


def test_the_error_does_not_repeat_what_was_sent(callers):
    """What a client sent stands in no message, nor in the cause of one."""
    for text in (UNKNOWN, "se.cr.et", f"{'secret' * 4000}"):
        with pytest.raises(RequestError) as caught:
            callers.authenticate(f"Bearer {text}", NOW)
        assert text[:6] not in f"{caught.value}{caught.value.__cause__}"


def test_an_audience_is_a_name_of_this_server(issuer):
    """A token for another server of the same issuer is not one for this."""
    callers = Callers([], issuer.tokens(), open=False)
    for name in NAMES:
        callers.authenticate(f"Bearer {token(issuer.curve, claims(aud=name))}", NOW)
    refusal(callers, f"Bearer {token(issuer.curve, claims(aud='inference.example.com'))}")
