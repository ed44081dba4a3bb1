"""Callers by JSON Web Token: signed by an issuer whose public keys the operator gave (RFC 7519, RFC 8725)."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blindai.errors import RequestError, UsageError
from blindai.server.callers.caller import NO_QUOTA, Caller, Quota, Role
from blindai.server.callers.jwks import IssuerKey, KeyFile
from blindai.wire import base64url, strict_json
from blindai.wire.model_name import check_namespace

MAX_TOKEN_BYTES = 8 * 1024
MAX_REMEMBERED = 4096
LEEWAY_SECONDS = 60  # for the start of a token: clocks differ. Its end is its end.
MAX_SUBJECT_CHARACTERS = 255

_MAX_HEADER_BYTES = 1024
# jwk, jku, x5u and x5c bring a key along; crit and b64 change what is signed. Nothing but these is taken.
_HEADER = {"alg", "kid"}
_HEADER_OPTIONAL = frozenset({"typ"})
_TYPES = ("jwt", "at+jwt", "application/at+jwt")


@dataclass(frozen=True)
class TokenSettings:
    """Whose tokens are taken: `jwks` is the file of the issuer's public keys, `issuer` its "iss"."""

    jwks: str
    issuer: str
    role_claim: str = "role"
    namespace_claim: str = "namespace"
    quota: Quota = NO_QUOTA  # of each caller with a token


class TokenRefused(ValueError):
    """A token that is not taken. The reason has no word of the token's; it is not sent to anybody."""


class TokenExpired(TokenRefused):
    """A token that is right in everything but its time."""


@dataclass(frozen=True)
class _Verified:
    caller: Caller
    starts: int  # Unix seconds
    expires: int


class Tokens:
    """Verifies tokens, and remembers those it has verified, by hash. Not for several threads at a time."""

    def __init__(self, settings: TokenSettings, audiences: Sequence[str]) -> None:
        """`audiences` are the server's names, of which "aud" must have one.

        Raises UsageError if the key file does not load.
        """
        # The issuer is hashed with a NUL behind it: one inside would make two callers one.
        if not settings.issuer or "\0" in settings.issuer:
            raise UsageError('the issuer of the tokens must be set to what their "iss" says')
        self._settings = settings
        self._audiences = frozenset(audiences)
        self._file = KeyFile(Path(settings.jwks))
        self._remembered: OrderedDict[bytes, _Verified] = OrderedDict()  # the one used longest ago first

    def verify(self, token: str, now: int) -> Caller:
        """Return whose token this is, at `now` in Unix seconds, or raise TokenRefused."""
        if self._file.refresh(now):
            self._remembered.clear()  # a key that is gone ends its tokens, the remembered ones too
        if len(token) > MAX_TOKEN_BYTES:
            raise TokenRefused("longer than a token may be")
        digest = hashlib.sha256(token.encode("utf-8", "replace")).digest()
        verified = self._remembered.get(digest)
        if verified is None:
            verified = self._verified(token)
            _check_time(verified, now)
            self._remembered[digest] = verified
            if len(self._remembered) > MAX_REMEMBERED:
                self._remembered.popitem(last=False)
        else:
            self._remembered.move_to_end(digest)
            _check_time(verified, now)
        return verified.caller

    def _verified(self, token: str) -> _Verified:
        """1. three parts, 2. a header that agrees with the key it names, 3. the signature, 4. the claims."""
        try:
            parts = token.split(".")
            if len(parts) != 3:
                raise TokenRefused("not three parts")
            header, payload, signature = (base64url.decode(part) for part in parts)
            key = self._key(strict_json.decode_object(header, max_bytes=_MAX_HEADER_BYTES))
            if not key.verifies(f"{parts[0]}.{parts[1]}".encode("ascii"), signature):
                raise TokenRefused("the signature does not hold")
            claims = strict_json.decode_object(payload, max_bytes=MAX_TOKEN_BYTES)
        except TokenRefused:
            raise
        except ValueError as exc:
            raise TokenRefused("not a token") from exc
        return self._claimed(claims, key)

    def _key(self, header: dict[str, Any]) -> IssuerKey:
        fields = strict_json.members(header, "the header", _HEADER, _HEADER_OPTIONAL)
        kind = fields.get("typ", "JWT")
        if not isinstance(kind, str) or kind.lower() not in _TYPES:
            raise TokenRefused("not of the type of a token")
        key = self._file.keys.get(fields["kid"]) if isinstance(fields["kid"], str) else None
        if key is None:
            raise TokenRefused("no such key")
        if fields["alg"] not in key.algorithms:
            raise TokenRefused("not the algorithm of its key")
        return key

    def _claimed(self, claims: dict[str, Any], key: IssuerKey) -> _Verified:
        settings = self._settings
        if claims.get("iss") != settings.issuer:
            raise TokenRefused("from another issuer")
        matched = self._audiences.intersection(_audience(claims.get("aud")))
        if not matched:
            raise TokenRefused("for another audience")
        subject = claims.get("sub")
        if not isinstance(subject, str) or not 0 < len(subject) <= MAX_SUBJECT_CHARACTERS:
            raise TokenRefused("without a subject")
        if not subject.isprintable():
            raise TokenRefused("with a subject that cannot be shown")
        role = claims.get(settings.role_claim)
        if not isinstance(role, str) or role not in list(Role):
            raise TokenRefused("without a role that there is")
        namespace = _namespace(claims, settings.namespace_claim)
        starts = max(_time(claims, name, default=0) for name in ("nbf", "iat"))
        identifier = token_key_id(key.thumbprint, settings.issuer, min(matched), subject)
        caller = Caller(subject, Role(role), namespace, identifier, settings.quota)
        return _Verified(caller, starts, _time(claims, "exp"))


def token_key_id(thumbprint: bytes, issuer: str, audience: str, subject: str) -> str:
    """Return the key id of a caller by token. `thumbprint` is that of the issuer's key (RFC 7638, 32 bytes).

    The key is part of it, so that a host that swaps the issuer's keys for its own cannot become anybody; and
    so is the audience, whose name for this server is the host's to choose: a token that alice showed to a
    staging server, once the host gives that name to this one, is somebody else's.
    """
    parts = (issuer, audience, subject)
    text = b"\0".join((b"blindai-jwt-v1", thumbprint, *(part.encode("utf-8") for part in parts)))
    return hashlib.sha256(text).hexdigest()


def _check_time(verified: _Verified, now: int) -> None:
    if now + LEEWAY_SECONDS < verified.starts:
        raise TokenRefused("not valid yet")
    if now >= verified.expires:
        raise TokenExpired("expired")


def _audience(value: Any) -> list[str]:
    listed = value if isinstance(value, list) else [value]
    if not all(isinstance(name, str) and name.isprintable() for name in listed):
        raise TokenRefused("with an audience that is not a name")
    return listed


def _namespace(claims: dict[str, Any], claim: str) -> str:
    namespace = claims.get(claim, "")
    if namespace == "" and claim not in claims:
        return ""
    try:
        if not isinstance(namespace, str):
            raise TokenRefused("with a namespace that cannot be one")
        check_namespace(namespace)
    except RequestError as exc:
        raise TokenRefused("with a namespace that cannot be one") from exc
    return namespace


def _time(claims: dict[str, Any], name: str, default: int | None = None) -> int:
    value = claims.get(name, default)
    if type(value) is not int or value < 0:
        raise TokenRefused(f"{name} is not a time in whole seconds")
    return value
