"""The issuer's public keys: a JWKS file (RFC 7517), read again when it changes."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey
from joserfc.jws import JWSRegistry

from blindai.errors import UsageError
from blindai.wire import base64url, strict_json

MAX_FILE_BYTES = 256 * 1024
MAX_KEYS = 64
LOOK_SECONDS = 10  # between two looks at the file

_log = logging.getLogger("blindai.server")

_REGISTRY = JWSRegistry(algorithms=["ES256", "Ed25519"])
_ES256, _ED25519 = _REGISTRY.get_alg("ES256"), _REGISTRY.get_alg("Ed25519")

# What only a private or a symmetric key has (RFC 7518, 6.2.2, 6.3.2 and 6.4; "priv" is that of AKP keys).
_SECRET_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"})
_COORDINATE_BYTES = 32


@dataclass(frozen=True)
class IssuerKey:
    """A public key that may sign tokens.

    The key says what its signatures are, under any of the names in `algorithms`: a token's header can only
    agree, so there is no algorithm to confuse it with.
    """

    thumbprint: bytes  # RFC 7638, SHA-256
    algorithms: tuple[str, ...]
    _key: ECKey | OKPKey

    def verifies(self, signed: bytes, signature: bytes) -> bool:
        algorithm = _ES256 if isinstance(self._key, ECKey) else _ED25519
        return algorithm.verify(signed, signature, self._key)


class KeyFile:
    """The keys in a JWKS file, by key id. A file that turns bad leaves those of before in force."""

    def __init__(self, path: Path) -> None:
        """Raise UsageError if the file does not hold what it should."""
        self._path = path
        self._looked: int | None = None
        self._seen: tuple[int, ...] | None = None
        try:
            self._seen = _version(path)
            self.keys = _read(path)
        except (OSError, ValueError) as exc:
            raise UsageError(
                f"the JWKS file of the tokens' issuer does not load: {_why(exc)}",
                hint="it holds public keys only, of P-256 or Ed25519, each with a kid",
            ) from exc

    def refresh(self, now: int) -> bool:
        """Look whether the file has changed, at most every `LOOK_SECONDS`. Return whether the keys have."""
        if self._looked is not None and 0 <= now - self._looked < LOOK_SECONDS:
            return False
        self._looked = now
        version: tuple[int, ...] | None = None
        try:
            version = _version(self._path)
            if version == self._seen:
                return False
            keys = _read(self._path)
        except (OSError, ValueError) as exc:
            if version is None and self._seen is None:
                return False  # gone, and that has been said
            self._seen = version
            _log.error("the JWKS file does not load, its keys of before stay: %s", _why(exc))  # noqa: TRY400
            return False
        self._seen = version
        self.keys = keys
        _log.info("the JWKS file was read again: %s keys", len(keys))
        return True


def parse(data: bytes) -> Mapping[str, IssuerKey]:
    """Read a JWKS text, or raise ValueError. Keys for other purposes and of other kinds are passed over."""
    members = strict_json.decode_object(data, max_bytes=MAX_FILE_BYTES).get("keys")
    if not isinstance(members, list) or len(members) > MAX_KEYS:
        raise ValueError(f'"keys" is not a list of at most {MAX_KEYS}')
    keys: dict[str, IssuerKey] = {}
    for member in members:
        if not isinstance(member, dict):
            raise ValueError("a key is not an object")
        # Where one private key lies, the operator has mistaken the file. All of it is in doubt.
        if member.get("kty") == "oct" or _SECRET_MEMBERS & member.keys():
            raise ValueError("a key is private or symmetric")
        key = _issuer_key(member)
        if key is None:
            continue
        kid = member.get("kid")
        if not isinstance(kid, str) or not kid:
            raise ValueError("a key has no kid")
        if kid in keys:
            raise ValueError("two keys have the same kid")
        keys[kid] = key
    return MappingProxyType(keys)


def _issuer_key(member: dict[str, Any]) -> IssuerKey | None:
    """Return the key, or None for one that is not meant to sign tokens that we take."""
    algorithms = _algorithms(member)
    operations = member.get("key_ops", ["verify"])
    if not algorithms or member.get("alg", algorithms[0]) not in algorithms:
        return None
    if member.get("use", "sig") != "sig" or not isinstance(operations, list) or "verify" not in operations:
        return None
    is_curve = member["kty"] == "EC"
    material: dict[str, str | list[str]] = {
        "kty": member["kty"],
        "crv": member["crv"],
        "x": _coordinate(member, "x"),
    }
    if is_curve:
        material["y"] = _coordinate(member, "y")
    try:
        key: ECKey | OKPKey = ECKey.import_key(material) if is_curve else OKPKey.import_key(material)
        return IssuerKey(base64url.decode(key.thumbprint()), algorithms, key)
    except (JoseError, ValueError) as exc:
        raise ValueError("a key is not a point of its curve") from exc


def _coordinate(member: dict[str, Any], name: str) -> str:
    value = member.get(name)
    # In one spelling only: a key has one thumbprint.
    if not isinstance(value, str) or len(base64url.decode(value)) != _COORDINATE_BYTES:
        raise ValueError("a coordinate of a key does not have 32 bytes")
    return value


def _algorithms(member: dict[str, Any]) -> tuple[str, ...]:
    match member.get("kty"), member.get("crv"):
        case "EC", "P-256":
            return ("ES256",)
        case "OKP", "Ed25519":
            return ("Ed25519", "EdDSA")  # RFC 9864 and, before it, RFC 8037
    return ()


def _version(path: Path) -> tuple[int, ...]:
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("it is not a file")  # a pipe would hold the server up for ever
    return (status.st_mtime_ns, status.st_size, status.st_ino)


def _read(path: Path) -> Mapping[str, IssuerKey]:
    with path.open("rb") as file:
        return parse(file.read(MAX_FILE_BYTES + 1))


def _why(error: Exception) -> str:
    """Say what is wrong without a word of the file's: it may hold a secret by mistake."""
    if isinstance(error, OSError):
        return os.strerror(error.errno or 0)
    return "it is not JSON" if type(error) is not ValueError else str(error)
