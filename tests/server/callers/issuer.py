"""An issuer of tokens that signs whatever it is told, written without the library under test."""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from blindai.server.callers.caller import Quota
from blindai.server.callers.tokens import Tokens, TokenSettings
from blindai.wire import base64url

NOW = 1_800_000_000
ISSUER = "https://issuer.example.org"
NAMES = ("inference.example.org", "localhost")
QUOTA = Quota(3, 4, 5)

PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


@dataclass(frozen=True)
class SigningKey:
    """A private key under a key id."""

    kid: str
    private: PrivateKey

    @property
    def jwk(self) -> dict[str, Any]:
        return {**self.material, "kid": self.kid}

    @property
    def material(self) -> dict[str, Any]:
        """The required members alone, in the order of RFC 7638."""
        if isinstance(self.private, ed25519.Ed25519PrivateKey):
            raw = self.private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
            return {"crv": "Ed25519", "kty": "OKP", "x": base64url.encode(raw)}
        numbers = self.private.public_key().public_numbers()
        x, y = (base64url.encode(number.to_bytes(32, "big")) for number in (numbers.x, numbers.y))
        return {"crv": "P-256", "kty": "EC", "x": x, "y": y}

    @property
    def thumbprint(self) -> bytes:
        return hashlib.sha256(json.dumps(self.material, separators=(",", ":")).encode()).digest()

    @property
    def alg(self) -> str:
        return "Ed25519" if isinstance(self.private, ed25519.Ed25519PrivateKey) else "ES256"

    def sign(self, signed: bytes) -> bytes:
        if isinstance(self.private, ed25519.Ed25519PrivateKey):
            return self.private.sign(signed)
        r, s = decode_dss_signature(self.private.sign(signed, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def curve_key(kid: str = "curve") -> SigningKey:
    return SigningKey(kid, ec.generate_private_key(ec.SECP256R1()))


def edwards_key(kid: str = "edwards") -> SigningKey:
    return SigningKey(kid, ed25519.Ed25519PrivateKey.generate())


def claims(**changes: Any) -> dict[str, Any]:
    """Those of alice, an owner; a change to None leaves the claim out."""
    given = {
        "iss": ISSUER,
        "aud": NAMES[0],
        "sub": "alice@example.org",
        "iat": NOW - 10,
        "exp": NOW + 600,
        "role": "owner",
        "namespace": "alice",
        **changes,
    }
    return {name: value for name, value in given.items() if value is not None}


def token(key: SigningKey, payload: dict[str, Any] | None = None, **header: Any) -> str:
    """A token that `key` signed, with more or other members in its header."""
    return signed(key, {"alg": key.alg, "typ": "JWT", "kid": key.kid, **header}, payload or claims())


def signed(key: SigningKey, header: dict[str, Any] | bytes, payload: dict[str, Any] | bytes) -> str:
    """A token of exactly this header and payload."""
    text = signing_input(header, payload)
    return f"{text}.{base64url.encode(key.sign(text.encode()))}"


def keyed(secret: bytes, header: dict[str, Any], payload: dict[str, Any]) -> str:
    """A token with an HMAC in place of a signature."""
    text = signing_input(header, payload)
    return f"{text}.{base64url.encode(hmac.digest(secret, text.encode(), 'sha256'))}"


def signing_input(header: dict[str, Any] | bytes, payload: dict[str, Any] | bytes) -> str:
    texts = (part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, payload))
    return ".".join(base64url.encode(text) for text in texts)


@dataclass
class Issuer:
    """An issuer with both kinds of key, and the server's side of it."""

    folder: Path
    curve: SigningKey = field(default_factory=curve_key)
    edwards: SigningKey = field(default_factory=edwards_key)

    def __post_init__(self) -> None:
        self.publish(self.curve.jwk, self.edwards.jwk)

    @property
    def path(self) -> Path:
        return self.folder / "jwks.json"

    def publish(self, *keys: Any) -> None:
        """Put these keys into the file, which is seen to be another one."""
        new = self.folder / "new.json"
        new.write_text(json.dumps({"keys": keys}))
        new.replace(self.path)

    def tokens(self, **changes: Any) -> Tokens:
        return Tokens(
            TokenSettings(**{"jwks": str(self.path), "issuer": ISSUER, "quota": QUOTA, **changes}), NAMES
        )
