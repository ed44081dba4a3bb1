"""Who calls: API keys and tokens, changed and signed again by their issuer or by a stranger."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
from functools import cache
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from blindai.errors import RequestError
from blindai.server.callers import jwks as key_sets
from blindai.server.callers.caller import Caller, Role
from blindai.server.callers.directory import Callers
from blindai.server.callers.keys import KeyHolder
from blindai.server.callers.tokens import LEEWAY_SECONDS, Tokens, TokenSettings
from blindai.wire import base64url
from blindai.wire.api_key import new_key
from fuzz import samples, scratch
from fuzz.signing import Signed, composed, es256, members_of, recipe_of, text_in

ISSUER, AUDIENCE = "https://issuer.example.org", "inference.example.org"
API_KEY = new_key(lambda count: bytes(range(count)))
HOLDER = KeyHolder("bob", Role.USER, "bob", hashlib.sha256(API_KEY.encode()).hexdigest())
CURVE, EDWARDS = (
    ec.derive_private_key(11, ec.SECP256R1()),
    Ed25519PrivateKey.from_private_bytes(bytes([3]) * 32),
)
STRANGER = Ed25519PrivateKey.from_private_bytes(bytes([4]) * 32)
ALGORITHMS = {"curve": ("ES256",), "edwards": ("Ed25519", "EdDSA")}


def _of_edwards(key: Ed25519PrivateKey) -> dict[str, Any]:
    raw = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return {"crv": "Ed25519", "kty": "OKP", "x": base64url.encode(raw)}


def _of_curve(key: ec.EllipticCurvePrivateKey) -> dict[str, Any]:
    numbers = key.public_key().public_numbers()
    x, y = (base64url.encode(number.to_bytes(32, "big")) for number in (numbers.x, numbers.y))
    return {"crv": "P-256", "kty": "EC", "x": x, "y": y}


JWKS = {"curve": _of_curve(CURVE), "edwards": _of_edwards(EDWARDS)}
SIGNERS = {
    "curve": es256(CURVE),
    "edwards": EDWARDS.sign,
    "stranger": STRANGER.sign,
    "stranger on the curve": es256(ec.derive_private_key(12, ec.SECP256R1())),
    # The classic: the public key, which everybody has, as the secret of an HMAC.
    "public key": lambda data: hmac.digest(JWKS["curve"]["x"].encode(), data, "sha256"),
}


def authorization(data: bytes) -> None:
    """Whoever gets in is who the issuer, or the key, says; a genuine token lets nobody in after its end."""
    recipe = members_of(data)
    signed = composed(recipe.get("token"), SIGNERS)
    value = text_in(recipe, "before") + signed.compact + text_in(recipe, "after")
    callers = Callers([HOLDER], Tokens(TokenSettings(str(_key_file()), ISSUER), [AUDIENCE]), open=False)
    now, then = (_moment(recipe, name) for name in ("now", "then"))
    with contextlib.suppress(RequestError):
        _check(callers.authenticate(value, now), value, signed, now)
    _check(callers.authenticate(value, then), value, signed, then)  # remembered, or not any more


def _check(caller: Caller, value: str, signed: Signed, now: int) -> None:
    scheme, _, credential = value.partition(" ")
    credential = credential.lstrip(" ")
    if scheme.lower() != "bearer" or not caller.is_authenticated:
        raise AssertionError("let in without a credential")
    if hashlib.sha256(credential.encode()).hexdigest() == HOLDER.key_sha256:
        if (caller.name, caller.role, caller.namespace, caller.key_id) != _holder():
            raise AssertionError("somebody else than holds the key")
        return
    header, payload, _ = (base64url.decode(part) for part in credential.split("."))
    fields, claims = json.loads(header), json.loads(payload)
    kid = fields["kid"]
    signer = signed.signer if credential == signed.compact else None
    if signer is None:
        signer = _genuine().get(credential.rpartition(".")[0])
    if signer is None or signer != kid or fields["alg"] not in ALGORITHMS[kid]:
        raise AssertionError("a token that the key it names never signed")
    names = (ISSUER.encode(), AUDIENCE.encode(), claims["sub"].encode())
    text = b"\0".join((b"blindai-jwt-v1", _thumbprint(JWKS[kid]), *names))
    expected = (claims["sub"], claims["role"], claims.get("namespace", ""), hashlib.sha256(text).hexdigest())
    if (caller.name, caller.role, caller.namespace, caller.key_id) != expected:
        raise AssertionError("somebody else than the token names")
    audience = claims["aud"]
    if claims["iss"] != ISSUER or (
        AUDIENCE not in audience if type(audience) is list else audience != AUDIENCE
    ):
        raise AssertionError("a token from another issuer, or for another audience")
    starts = max(claims.get("nbf", 0), claims.get("iat", 0))
    if not starts - LEEWAY_SECONDS <= now < claims["exp"]:
        raise AssertionError("a token outside of its time")


def jwks(data: bytes) -> None:
    """Keys are those of the file: public, of a known kind, under their own thumbprints."""
    keys = key_sets.parse(data)
    members = json.loads(data)["keys"]
    if any({"d", "k", "p", "q", "priv"} & member.keys() for member in members):
        raise AssertionError("a file with a private key was taken")
    for kid, key in keys.items():
        # Those that are passed over may bear the same name; only one may be taken.
        named = [member for member in members if member.get("kid") == kid]
        if not any(key.thumbprint == _thumbprint(member) for member in named):
            raise AssertionError("a key under a name that is not its own")
        if key.algorithms not in ALGORITHMS.values() or key.verifies(b"nothing", bytes(64)):
            raise AssertionError("a key that verifies what nobody signed")


def _thumbprint(key: dict[str, Any]) -> bytes:
    required = {
        name: key[name]
        for name in ("crv", "kty", "x", "y")
        if name in key and (name != "y" or key.get("kty") == "EC")
    }
    return hashlib.sha256(json.dumps(required, separators=(",", ":")).encode()).digest()


def _holder() -> tuple[str, ...]:
    return HOLDER.name, HOLDER.role, HOLDER.namespace, HOLDER.key_sha256


def _moment(recipe: dict[str, Any], name: str) -> int:
    value = recipe.get(name)
    return value if type(value) is int and 0 <= value < 2**53 else samples.NOW


def authorizations() -> list[bytes]:
    """Return recipes of Authorization values: a key, genuine tokens, and tokens to sign again."""
    rest = {"before": "Bearer ", "after": "", "now": samples.NOW, "then": samples.NOW + 599}
    recipes: list[Any] = [API_KEY, *_recipes()]
    recipes += [{**recipe, "signature": _signature(recipe)} for recipe in _recipes()]
    forged = _recipes()[0]
    recipes += [{**forged, "signer": signer} for signer in ("stranger on the curve", "public key")]
    recipes += [{**forged, "header": forged["header"].replace("ES256", "none"), "signer": ""}]
    found = [{"token": recipe, **rest} for recipe in recipes]
    found += [{**found[1], "then": samples.NOW + 600}, {**found[2], "now": samples.NOW - 71}]
    return [json.dumps(each).encode() for each in found]


def _recipes() -> list[dict[str, Any]]:
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "alice@example.org",
        "iat": samples.NOW - 10,
        "exp": samples.NOW + 600,
        "role": "owner",
        "namespace": "alice",
    }
    return [
        recipe_of({"alg": "ES256", "typ": "JWT", "kid": "curve"}, claims, "curve"),
        recipe_of(
            {"alg": "EdDSA", "kid": "edwards"}, {**claims, "aud": ["x", AUDIENCE], "role": "admin"}, "edwards"
        ),
    ]


def _signature(recipe: dict[str, Any]) -> str:
    return composed(recipe, SIGNERS).compact.rpartition(".")[2]


@cache
def _genuine() -> dict[str, str]:
    """Return what the issuer signed of its own will, and with which key."""
    return {composed(recipe, SIGNERS).signing_input: recipe["signer"] for recipe in _recipes()}


def key_files() -> list[bytes]:
    named = [{**material, "kid": kid} for kid, material in JWKS.items()]
    told = [
        {**named[0], "use": "sig", "alg": "ES256", "key_ops": ["verify"]},
        {**named[1], "alg": "EdDSA"},
        {"kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": "curve"},
        {**named[0], "use": "enc", "kid": "other"},
    ]
    mistaken = [named[0], {**named[1], "d": named[1]["x"]}]
    return [json.dumps({"keys": keys}).encode() for keys in ([], named, told, mistaken)]


@cache
def _key_file() -> Path:
    path = scratch.folder() / "jwks.json"
    path.write_bytes(key_files()[1])
    return path
