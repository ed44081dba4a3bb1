"""Who asks, and whether they may: what that costs every request, in this process."""

from __future__ import annotations

import itertools
import json
import secrets
import time
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256

from bench import records
from bench.turns import Limit, Section, in_turns, timed
from blindai.runtime.onnx import OnnxEngine
from blindai.runtime.shelf import Shelf
from blindai.server.callers.access import Action
from blindai.server.callers.caller import Caller, Role
from blindai.server.callers.directory import Callers
from blindai.server.callers.keys import KeyHolder, key_id, new_key
from blindai.server.callers.tokens import Tokens, TokenSettings
from blindai.server.catalogue.catalogue import Catalogue
from blindai.server.catalogue.entries import Entries
from blindai.server.catalogue.entry import Entry, ModelLimits
from blindai.server.catalogue.keeping import MemoryKeeping
from blindai.server.catalogue.stock import Stock
from blindai.server.http.gate import Gate
from blindai.store.catalogue import Binding
from tests.server.callers import issuer

LIMIT = 50.0
HOLDERS = 1000
MODELS = 64
CALLS = 500
FRESH_CALLS = 20
_OFTEN = 10**9  # requests a minute: a limit that is reckoned with and never met
_FINDS = 2  # an inference looks for its model before its body is read, and after


def measure(folder: Path, rounds: int) -> list[Section]:
    keys = [new_key(secrets.token_bytes) for _ in range(HOLDERS)]
    holders = [
        KeyHolder(f"c{number}", Role.OWNER, f"n{number}", key_id(key)) for number, key in enumerate(keys)
    ]
    signer = {"ES256": issuer.curve_key(), "Ed25519": issuer.edwards_key("edwards")}
    jwks = folder / "jwks.json"
    jwks.write_text(json.dumps({"keys": [key.jwk for key in signer.values()]}))
    tokens = Tokens(TokenSettings(str(jwks), issuer.ISSUER), issuer.NAMES)
    gate = Gate(Callers(holders, tokens, open=False), requests_per_minute=_OFTEN)
    pick = itertools.cycle(_headers(key) for key in keys)
    remembered = _headers(_token(signer["ES256"], "remembered"))
    needed = rounds * FRESH_CALLS
    fresh = {
        name: iter([_headers(_token(key, f"{name}{number}")) for number in range(needed)])
        for name, key in signer.items()
    }
    found = _catalogue(owner := gate.admit(next(pick)))
    user = gate.admit(next(pick))
    us = 1e-6
    sides = {
        f"API key, one of {HOLDERS}": timed(lambda: gate.admit(next(pick)), CALLS, us),
        "token, seen before": timed(lambda: gate.admit(remembered), CALLS, us),
        "the bare signature (ES256)": timed(_checked(signer["ES256"]), FRESH_CALLS, us),
        "the bare signature (Ed25519)": timed(_checked(signer["Ed25519"]), FRESH_CALLS, us),
        "token, new (ES256)": timed(lambda: gate.admit(next(fresh["ES256"])), FRESH_CALLS, us),
        "token, new (Ed25519)": timed(lambda: gate.admit(next(fresh["Ed25519"])), FRESH_CALLS, us),
        "find one's own model": timed(lambda: found.find(owner, "m7", None, Action.PREDICT), CALLS, us),
        "find another's public model": timed(
            lambda: found.find(user, f"{owner.namespace}/m7", None, Action.PREDICT), CALLS, us
        ),
    }
    for side in list(sides.values())[:2]:
        side()
    section = Section("authorization of one request", "us", in_turns(sides, rounds))
    find = max(section.median("find one's own model"), section.median("find another's public model"))
    # A new token is checked once in its life; its signature alone takes longer than the limit.
    for name in list(sides)[:2]:
        total = section.median(name) + _FINDS * find
        section.limits.append(Limit(f"{name}, and its model found twice", total, LIMIT, "us"))
    return [section]


def _headers(credential: str) -> list[tuple[bytes, bytes]]:
    return [
        (b"host", b"localhost:9924"),
        (b"accept", b"*/*"),
        (b"accept-encoding", b"identity"),
        (b"connection", b"keep-alive"),
        (b"user-agent", b"blindai"),
        (b"content-type", b"application/octet-stream"),
        (b"content-length", b"602112"),
        (b"authorization", f"Bearer {credential}".encode()),
    ]


def _checked(key: issuer.SigningKey) -> Callable[[], object]:
    """Return the check of one signature, without which no token can be taken."""
    signed, private = bytes(300), key.private
    if isinstance(private, Ed25519PrivateKey):
        edwards, signature = private.public_key(), private.sign(signed)
        return lambda: edwards.verify(signature, signed)
    how = ECDSA(SHA256())
    curve, other = private.public_key(), private.sign(signed, how)
    return lambda: curve.verify(other, signed, how)


def _token(key: issuer.SigningKey, subject: str) -> str:
    now = int(time.time())
    return issuer.token(key, issuer.claims(sub=subject, iat=now - 10, exp=now + 3600))


def _catalogue(owner: Caller) -> Catalogue:
    """Return one with so many public models of this owner, whose namespace is bound to their key."""
    keeping = MemoryKeeping()
    keeping.bind(owner.namespace, Binding((owner.key_id,)))
    models = [
        records.public(owner.namespace, f"m{number}", sha256="ab" * 32, size_bytes=1000, dimension=4)
        for number in range(MODELS)
    ]
    entries = Entries(Entry(model, ModelLimits()) for model in models)
    shelf = Shelf(max_bytes=2**30)
    return Catalogue(Stock(entries, keeping, shelf, OnnxEngine(), now=lambda: 0, served=lambda: 0))
