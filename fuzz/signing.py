"""Signed texts (JWS), written anew after each change: what lies behind a signature is reached too.

A recipe is `{"header": text, "payload": text, "signer": name, "signature": base64url or null}`: without a
signature the signer's is made, for any header and payload; with one, it stands as it is. So an input holds
both what a stranger can do to a genuine text and what a careless signer would have signed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from blindai.wire import base64url

Sign = Callable[[bytes], bytes]


@dataclass(frozen=True)
class Signed:
    """A compact JWS; `signer` is whose signature was made for it, None where one was given."""

    compact: str
    payload: str
    signer: str | None

    @property
    def signing_input(self) -> str:
        return self.compact.rpartition(".")[0]


def members_of(data: bytes) -> dict[str, Any]:
    """Return the JSON object that is the recipe, or an empty one."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def text_in(recipe: Any, name: str, otherwise: str = "") -> str:
    value = recipe.get(name) if isinstance(recipe, dict) else None
    return value if isinstance(value, str) else otherwise


def bytes_in(recipe: Any, name: str) -> bytes:
    """Return what a member says in hexadecimal, or no bytes."""
    try:
        return bytes.fromhex(text_in(recipe, name))
    except ValueError:
        return b""


def composed(recipe: Any, signers: Mapping[str, Sign]) -> Signed:
    """Return the text that a recipe stands for; a recipe that is a text stands for itself."""
    if isinstance(recipe, str):
        return Signed(recipe, "", None)
    payload = text_in(recipe, "payload")
    parts = [text_in(recipe, "header"), payload]
    signed = ".".join(base64url.encode(part.encode("utf-8", "replace")) for part in parts)
    signer = text_in(recipe, "signer")
    signature = text_in(recipe, "signature")
    if signature or signer not in signers:
        return Signed(f"{signed}.{signature}", payload, None)
    return Signed(f"{signed}.{base64url.encode(signers[signer](signed.encode('ascii')))}", payload, signer)


def recipe_of(header: Any, payload: Any, signer: str, signature: str | None = None) -> dict[str, Any]:
    header, payload = (json.dumps(part, separators=(",", ":")) for part in (header, payload))
    return {"header": header, "payload": payload, "signer": signer, "signature": signature}


def es256(key: ec.EllipticCurvePrivateKey) -> Sign:
    """Return a signer whose signatures are the same in every run (RFC 6979)."""

    def sign(data: bytes) -> bytes:
        r, s = decode_dss_signature(key.sign(data, ec.ECDSA(hashes.SHA256(), deterministic_signing=True)))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    return sign
