"""Genuine tokens: whom they make of a caller, how long they hold, and what is remembered of them."""

from __future__ import annotations

import hashlib

import pytest

from blindai.errors import UsageError
from blindai.server.callers import tokens as module
from blindai.server.callers.caller import Caller, Role
from blindai.server.callers.tokens import TokenExpired, TokenRefused, token_key_id
from tests.server.callers.issuer import ISSUER, NAMES, NOW, QUOTA, claims, signed, token


def test_both_kinds_of_signature(issuer):
    """ES256, Ed25519 and its older name EdDSA are taken; claims become a caller."""
    tokens = issuer.tokens()
    for key, alg in ((issuer.curve, "ES256"), (issuer.edwards, "Ed25519"), (issuer.edwards, "EdDSA")):
        parts = [ISSUER.encode(), NAMES[0].encode(), b"alice@example.org"]
        text = b"\0".join([b"blindai-jwt-v1", key.thumbprint, *parts])
        identifier = hashlib.sha256(text).hexdigest()
        assert tokens.verify(token(key, alg=alg), NOW) == Caller(
            "alice@example.org", Role.OWNER, "alice", identifier, QUOTA
        )


def test_callers_are_told_apart_by_key_issuer_audience_and_subject():
    """Each of the four makes another key id, wherever the border between two of them lies."""
    ids = {
        token_key_id(b"k" * 32, "iss", "aud", "sub"),
        token_key_id(b"K" * 32, "iss", "aud", "sub"),
        token_key_id(b"k" * 32, "iss", "audience", "sub"),
        token_key_id(b"k" * 32, "is", "saud", "sub"),
        token_key_id(b"k" * 32, "iss", "au", "dsub"),
        token_key_id(b"k" * 32, "iss", "aud", "su"),
    }
    assert len(ids) == 6


@pytest.mark.parametrize("kind", ["JWT", "jwt", "at+jwt", "AT+JWT", "application/at+jwt"])
def test_types_of_token(issuer, kind):
    """A token says it is one, in the ways that issuers do."""
    assert issuer.tokens().verify(token(issuer.curve, typ=kind), NOW).namespace == "alice"


def test_a_type_may_be_missing(issuer):
    """Many issuers leave `typ` out."""
    header = {"alg": "ES256", "kid": issuer.curve.kid}
    assert issuer.tokens().verify(signed(issuer.curve, header, claims()), NOW).role == Role.OWNER


@pytest.mark.parametrize("role", list(Role))
def test_roles(issuer, role):
    """Every role may come in a token."""
    assert issuer.tokens().verify(token(issuer.edwards, claims(role=role.value)), NOW).role is role


def test_claims_by_other_names(issuer):
    """Role and namespace come from the claims that the settings name."""
    tokens = issuer.tokens(role_claim="https://example.org/role", namespace_claim="team")
    payload = claims(
        **{"https://example.org/role": "user", "team": "bob", "role": "admin", "namespace": "root"}
    )
    caller = tokens.verify(token(issuer.curve, payload), NOW)
    assert (caller.role, caller.namespace) == (Role.USER, "bob")


def test_without_a_namespace(issuer):
    """A token without the claim has no namespace; it can use what is public or shared."""
    assert issuer.tokens().verify(token(issuer.curve, claims(namespace=None)), NOW).namespace == ""


@pytest.mark.parametrize("audience", [*NAMES, [NAMES[1]], ["other.example.org", NAMES[0]]])
def test_audiences(issuer, audience):
    """One of the server's names among those the token is for is enough."""
    assert issuer.tokens().verify(token(issuer.curve, claims(aud=audience)), NOW).name == "alice@example.org"


def test_claims_that_mean_nothing_here(issuer):
    """Other claims are passed over."""
    payload = claims(jti="1", scope="a b", email_verified=True, nested={"list": [1, None]})
    assert issuer.tokens().verify(token(issuer.curve, payload), NOW).namespace == "alice"


def test_the_end_of_a_token(issuer):
    """It is good until the second before `exp`, and from then on it is said to have expired."""
    tokens, text = issuer.tokens(), token(issuer.curve, claims(exp=NOW + 5))
    tokens.verify(text, NOW + 4)
    with pytest.raises(TokenExpired):
        tokens.verify(text, NOW + 5)
    with pytest.raises(TokenExpired):
        issuer.tokens().verify(text, NOW + 5)


@pytest.mark.parametrize("name", ["nbf", "iat"])
def test_the_start_of_a_token(issuer, name):
    """A minute of difference between clocks is forgiven, more is not."""
    text = token(issuer.curve, claims(**{name: NOW}))
    tokens = issuer.tokens()
    tokens.verify(text, NOW - 60)
    for now in (NOW - 61, 0):
        with pytest.raises(TokenRefused) as caught:
            tokens.verify(text, now)  # remembered by now, and looked at all the same
        assert not isinstance(caught.value, TokenExpired)
    with pytest.raises(TokenRefused):
        issuer.tokens().verify(text, NOW - 61)


def test_a_token_is_verified_once(issuer):
    """What is remembered is the hash of the token, and its caller comes back as the same object."""
    tokens, text = issuer.tokens(), token(issuer.curve)
    assert tokens.verify(text, NOW) is tokens.verify(text, NOW + 1)
    assert text not in repr(vars(tokens))
    assert text.split(".")[2] not in repr(vars(tokens))


def test_a_remembered_token_with_another_signature(issuer):
    """A token that differs anywhere from the one remembered is verified anew, and refused."""
    tokens, text = issuer.tokens(), token(issuer.edwards)
    tokens.verify(text, NOW)
    other = token(issuer.edwards, claims(sub="mallory"))
    with pytest.raises(TokenRefused):
        tokens.verify(".".join([*text.split(".")[:2], other.split(".")[2]]), NOW)


def test_memory_is_bounded(issuer, monkeypatch):
    """However many tokens there are, a bounded number is remembered, and those in use stay."""
    monkeypatch.setattr(module, "MAX_REMEMBERED", 3)
    tokens = issuer.tokens()
    texts = [token(issuer.edwards, claims(jti=str(i))) for i in range(10)]
    first = tokens.verify(texts[0], NOW)
    for text in texts[1:]:
        tokens.verify(text, NOW)
        assert tokens.verify(texts[0], NOW) is first
    assert len(tokens._remembered) == 3


def test_refused_tokens_are_not_remembered(issuer):
    """Nobody fills the memory with what was never genuine, or with what has already ended."""
    tokens = issuer.tokens()
    for text in ("a.b.c", token(issuer.curve, claims(aud="x")), token(issuer.curve, claims(exp=NOW))):
        with pytest.raises(TokenRefused):
            tokens.verify(text, NOW)
    assert len(tokens._remembered) == 0


@pytest.mark.parametrize("name", ["", "with\0nul"])
def test_an_issuer_that_is_none(issuer, name):
    """Without an issuer, or with one that could hide a border, there is no start."""
    with pytest.raises(UsageError, match="issuer"):
        issuer.tokens(issuer=name)
