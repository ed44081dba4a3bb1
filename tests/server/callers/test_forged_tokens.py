"""Every trick with a token that is known to have worked somewhere."""

from __future__ import annotations

import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from blindai.server.callers.tokens import MAX_TOKEN_BYTES, TokenExpired, TokenRefused
from blindai.wire import base64url
from tests.server.callers.issuer import (
    NAMES,
    NOW,
    SigningKey,
    claims,
    curve_key,
    edwards_key,
    keyed,
    signed,
    signing_input,
    token,
)


@pytest.fixture
def refused(issuer):
    """Demand that a token is refused, and not with the one word that only genuine tokens are told."""
    tokens = issuer.tokens()

    def demand(text: str, now: int = NOW) -> None:
        with pytest.raises(TokenRefused) as caught:
            tokens.verify(text, now)
        assert not isinstance(caught.value, TokenExpired)

    return demand


@pytest.mark.parametrize(
    "alg", ["none", "None", "NONE", "nOnE", "", None, 0, True, [], ["ES256"], {"ES256": 1}]
)
def test_no_signature(issuer, refused, alg):
    """`none` in any spelling, and anything that is not the name of an algorithm, is refused."""
    header = {"alg": alg, "kid": issuer.curve.kid}
    refused(f"{signing_input(header, claims())}.")
    refused(signed(issuer.curve, header, claims()))


def test_an_empty_signature(issuer, refused):
    """A right header with nothing behind it is refused, for either kind of key."""
    for key in (issuer.curve, issuer.edwards):
        refused(token(key).rpartition(".")[0] + ".")


@pytest.mark.parametrize("alg", ["HS256", "HS384", "HS512", "ES256", "Ed25519", "EdDSA"])
def test_the_public_key_as_a_secret(issuer, refused, alg):
    """An HMAC under the public key, in every form it is published in, is not a signature."""
    for key in (issuer.curve, issuer.edwards):
        public = key.private.public_key()
        for secret in (
            public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
            public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
            json.dumps(key.jwk).encode(),
            key.jwk["x"].encode(),
            base64url.decode(key.jwk["x"]),
            issuer.path.read_bytes(),
            b"",
        ):
            refused(keyed(secret, {"alg": alg, "kid": key.kid}, claims()))


def test_rsa(issuer, refused):
    """RS256 is not taken, not even when its key stands in the file."""
    private = rsa.generate_private_key(65537, 2048)
    numbers = private.public_key().public_numbers()
    modulus = base64url.encode(numbers.n.to_bytes(256, "big"))
    issuer.publish(issuer.curve.jwk, {"kty": "RSA", "kid": "rsa", "n": modulus, "e": "AQAB", "alg": "RS256"})
    for kid in ("rsa", issuer.curve.kid):
        text = signing_input({"alg": "RS256", "kid": kid}, claims())
        signature = private.sign(text.encode(), PKCS1v15(), SHA256())
        refused(f"{text}.{base64url.encode(signature)}", NOW + 100)


def test_a_key_of_ones_own(issuer, refused):
    """A key that nobody knows signs for nobody, whatever kid it borrows and however it is brought along."""
    for mine in (curve_key("curve"), edwards_key("edwards"), curve_key("edwards"), curve_key("mine")):
        refused(token(mine))
        for member, value in (
            ("jwk", mine.jwk),
            ("jku", "https://mallory.example.org/jwks.json"),
            ("x5u", "https://mallory.example.org/chain.pem"),
            ("x5c", ["MIIB"]),
            ("x5t", "AAAA"),
            ("x5t#S256", "AAAA"),
        ):
            refused(token(mine, **{member: value}))


@pytest.mark.parametrize(
    "more",
    [
        {"jwk": {}},
        {"jku": ""},
        {"x5u": ""},
        {"x5c": []},
        {"crit": []},
        {"crit": ["exp"], "exp": NOW + 600},
        {"b64": False, "crit": ["b64"]},
        {"b64": True},
        {"cty": "JWT"},
        {"zip": "DEF"},
        {"enc": "A128GCM"},
        {"nonce": "1"},
        {"alg ": "none"},
    ],
)
def test_other_members_of_a_header(issuer, refused, more):
    """A genuine signature under a header with anything else in it is refused: nothing is followed."""
    refused(token(issuer.curve, **more))


@pytest.mark.parametrize(
    "kind", ["", "JWS", "blindai-receipt+jws", "secevent+jwt", "dpop+jwt", None, 1, ["JWT"]]
)
def test_texts_for_another_purpose(issuer, refused, kind):
    """What the issuer signed as something else is not a token."""
    refused(token(issuer.curve, typ=kind))


@pytest.mark.parametrize(
    "kid",
    [
        "edwards",
        "",
        "CURVE",
        "curve ",
        "other",
        None,
        0,
        ["curve"],
        {"curve": 1},
        "../../dev/null",
        "' OR 1=1--",
    ],
)
def test_another_kid(issuer, refused, kid):
    """The kid must be that of the key which signed, exactly; there is no second guess."""
    refused(token(issuer.curve, kid=kid))


def test_no_kid(issuer, refused):
    """Without a kid no key is tried, not even an only one."""
    issuer.publish(issuer.curve.jwk)
    refused(signed(issuer.curve, {"alg": "ES256", "typ": "JWT"}, claims()), NOW + 100)


@pytest.mark.parametrize("alg", ["Ed25519", "EdDSA", "ES384", "ES512", "ES256K", "Ed448", "es256", "PS256"])
def test_the_algorithm_of_another_key(issuer, refused, alg):
    """The header must agree with the key that it names."""
    refused(token(issuer.curve, alg=alg))


@pytest.mark.parametrize("alg", ["ES256", "Ed448", "ED25519", "eddsa"])
def test_the_algorithm_of_another_key_for_edwards(issuer, refused, alg):
    """So for the other kind of key."""
    refused(token(issuer.edwards, alg=alg))


def test_another_curve(issuer, refused):
    """A signature of P-384 under the kid of a P-256 key is refused."""
    other = SigningKey("curve", ec.generate_private_key(ec.SECP384R1()))
    text = signing_input({"alg": "ES256", "kid": "curve"}, claims())
    refused(f"{text}.{base64url.encode(other.private.sign(text.encode(), ec.ECDSA(SHA256())))}")


def test_signatures_of_zeros_and_of_another_form(issuer, refused):
    """r = s = 0, r = s = the order, DER, and too long or too short: refused."""
    text = signing_input({"alg": "ES256", "kid": "curve"}, claims())
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    good = base64url.decode(token(issuer.curve).rpartition(".")[2])
    der = issuer.curve.private.sign(text.encode(), ec.ECDSA(SHA256()))
    for signature in (
        bytes(64),
        order.to_bytes(32, "big") * 2,
        bytes(31) + b"\1" + bytes(32),
        der,
        good[:-1],
        good + b"\0",
        good[:32],
        b"\xff" * 64,
    ):
        refused(f"{text}.{base64url.encode(signature)}")


def test_a_changed_part(issuer, refused):
    """Parts of two genuine tokens do not make a third."""
    first = token(issuer.curve).split(".")
    second = token(issuer.curve, claims(role="admin")).split(".")
    refused(".".join([first[0], second[1], first[2]]))
    refused(".".join([first[0], first[1], second[2]]))


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": None},
        {"exp": "never"},
        {"exp": str(NOW + 600)},
        {"exp": float(NOW + 600)},
        {"exp": True},
        {"exp": -1},
        {"exp": [NOW + 600]},
        {"nbf": NOW + 61},
        {"nbf": str(NOW)},
        {"iat": NOW + 61},
        {"iat": False},
        {"iss": None},
        {"iss": "https://issuer.example.org/"},
        {"iss": "https://ISSUER.example.org"},
        {"iss": ["https://issuer.example.org"]},
        {"aud": None},
        {"aud": "other.example.org"},
        {"aud": ""},
        {"aud": []},
        {"aud": ["other.example.org"]},
        {"aud": [NAMES[0], 1]},
        {"aud": [[NAMES[0]]]},
        {"aud": {NAMES[0]: 1}},
        {"aud": NAMES[0].upper()},
        {"aud": NAMES[0] + "."},
        {"aud": f"{NAMES[0]} {NAMES[1]}"},
        {"aud": "*"},
        {"sub": None},
        {"sub": ""},
        {"sub": 7},
        {"sub": "a" * 256},
        {"sub": "alice\0bob"},
        {"sub": "alice\nroot"},
        {"sub": "\ud800"},
        {"sub": "\u202ealice"},
        {"role": None},
        {"role": "root"},
        {"role": "Admin"},
        {"role": ["admin"]},
        {"role": {"admin": 1}},
        {"role": 1},
        {"namespace": ""},
        {"namespace": "../bob"},
        {"namespace": "Alice"},
        {"namespace": "a/b"},
        {"namespace": "alice\0"},
        {"namespace": "аlice"},  # noqa: RUF001 - a Cyrillic a
        {"namespace": ["alice"]},
        {"namespace": 1},
        {"namespace": False},
    ],
)
def test_claims_that_are_not_right(issuer, refused, changes):
    """A genuine signature over claims that are missing, of another type or for somebody else is refused."""
    refused(token(issuer.edwards, claims(**changes)))


def test_a_null_namespace(issuer, refused):
    """A claim that is there and says nothing is not the same as no claim."""
    refused(token(issuer.edwards, {**claims(), "namespace": None}))


def test_expired_and_for_somebody_else(issuer, refused):
    """Only a token that is right in all else is told that it has expired."""
    ended = {"exp": NOW - 1}
    with pytest.raises(TokenExpired):
        issuer.tokens().verify(token(issuer.curve, claims(**ended)), NOW)
    refused(token(issuer.curve, claims(**ended, aud="other.example.org")))
    refused(token(issuer.curve, claims(**ended, iss="x")))
    refused(token(issuer.curve, claims(**ended, nbf=NOW + 100)))
    refused(token(curve_key("curve"), claims(**ended)))


@pytest.mark.parametrize(
    "payload",
    [
        b'{"role":"user","role":"admin"}',
        b'{"aud":"inference.example.org","aud":"other"}',
        b"[]",
        b'"alice"',
        b"",
        b"{",
        b"{}{}",
        b"\xef\xbb\xbf{}",
        b"\xff",
        b'{"exp":NaN}',
        b'{"exp":Infinity}',
        b'{"exp":1e999}',
        b'{"exp":' + b"9" * 5000 + b"}",
        b'{"a":' * 2000 + b"1" + b"}" * 2000,
        b"[" * 6000,
    ],
)
def test_json_that_is_not_strict(issuer, refused, payload):
    """Duplicate members, other values than objects, numbers without end and deep nests are refused."""
    whole = json.dumps(claims()).encode()
    refused(signed(issuer.edwards, {"alg": "Ed25519", "kid": "edwards"}, payload))
    refused(signed(issuer.edwards, {"alg": "Ed25519", "kid": "edwards"}, whole[:-1] + b"," + payload[1:]))


def test_a_header_that_is_not_strict(issuer, refused):
    """The same for the header, of which the last duplicate would win elsewhere."""
    for header in (
        b'{"alg":"none","alg":"Ed25519","kid":"edwards"}',
        b'{"alg":"Ed25519","kid":"edwards","kid":"edwards"}',
        b'{"alg":"Ed25519","kid":"edwards"} x',
        b'["Ed25519","edwards"]',
        b"null",
        b'{"alg":"Ed25519","kid":"edwards","typ":"' + b"a" * 2000 + b'"}',
    ):
        refused(signed(issuer.edwards, header, claims()))


def test_spaces_in_json_are_fine(issuer):
    """An issuer may write its JSON as it likes."""
    text = signed(issuer.edwards, b'{ "kid" : "edwards",\n"alg":"Ed25519" }', claims())
    assert issuer.tokens().verify(text, NOW).namespace == "alice"


def test_huge_tokens(issuer, refused):
    """A token of more than 8 KiB is refused before anything of it is read, however genuine."""
    room = MAX_TOKEN_BYTES * 3 // 4 - 300
    small = token(issuer.edwards, claims(jti="x" * (room - 300)))
    assert len(small) <= MAX_TOKEN_BYTES
    issuer.tokens().verify(small, NOW)
    refused(token(issuer.edwards, claims(jti="x" * (room + 300))))
    refused("a" * 10_000_000)
    refused("." * MAX_TOKEN_BYTES)
    refused("." * 10_000_000)


def test_another_spelling(issuer, refused):
    """One token has one text: no padding, spare bits, blanks or further parts, and no JSON form."""
    text = token(issuer.edwards)
    header, payload, signature = text.split(".")
    assert signature[-1] in "AQgw"
    spare = signature[:-1] + chr(ord(signature[-1]) + 1)
    for other in (
        f"{text}==",
        f"{header}.{payload}.{spare}",
        f"{header}=.{payload}.{signature}",
        f" {text}",
        f"{text}\n",
        f"{text}.",
        f"{text}.{signature}",
        f".{text}",
        f"{header}..{signature}",
        f"{header}.{payload}",
        text.replace(".", "..", 1),
        text.replace(".", "\u3002"),
        text + "\u0000",
        text[:10] + "\n" + text[10:],
        json.dumps({"protected": header, "payload": payload, "signature": signature}),
        "",
        ".",
        "..",
    ):
        refused(other)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_any_changed_byte(issuer, data):
    """A token with any character changed is refused, with no error of another kind."""
    text = data.draw(st.sampled_from(_genuine(issuer)))
    place = data.draw(st.integers(0, len(text) - 1))
    other = text[:place] + data.draw(st.characters()) + text[place + 1 :]
    if other == text:
        return
    with pytest.raises(TokenRefused):
        issuer.tokens().verify(other, NOW)


@settings(deadline=None)
@given(st.text(max_size=200) | st.lists(st.text("ab-_=", max_size=9), max_size=5).map(".".join))
def test_any_text(some_tokens, text):
    """Nothing that is not a token ends in anything but a refusal."""
    with pytest.raises(TokenRefused):
        some_tokens.verify(text, NOW)


@pytest.fixture(scope="module")
def some_tokens(tmp_path_factory):
    """Those of an issuer that a whole property may share."""
    from tests.server.callers.issuer import Issuer  # noqa: PLC0415

    return Issuer(tmp_path_factory.mktemp("issuer")).tokens()


def _genuine(issuer) -> list[str]:
    if not hasattr(issuer, "genuine"):
        issuer.genuine = [token(issuer.curve), token(issuer.edwards)]
    return issuer.genuine
