"""Who sent this request: the one place that reads an Authorization header."""

from __future__ import annotations

import re
from collections.abc import Sequence

from blindai.errors import RequestCode, RequestError
from blindai.server.callers.caller import ANONYMOUS, Caller
from blindai.server.callers.keys import ApiKeys, KeyHolder
from blindai.server.callers.tokens import MAX_TOKEN_BYTES, TokenExpired, TokenRefused, Tokens

# RFC 6750 and RFC 9110, 11.2: the scheme in any case, then a token68.
_BEARER = re.compile(r"bearer +([A-Za-z0-9._~+/-]+=*)", re.ASCII | re.IGNORECASE)
_MAX_CHARACTERS = MAX_TOKEN_BYTES + 64


class Callers:
    """Everybody whom this server knows. Not for several threads at a time."""

    def __init__(self, keys: Sequence[KeyHolder], tokens: Tokens | None, *, open: bool) -> None:  # noqa: A002
        """`open` lets those in who send no key at all. Raises UsageError for holders that cannot be meant."""
        self._keys = ApiKeys(keys)
        self._tokens = tokens
        self._open = open

    def authenticate(self, authorization: str | None, now: int) -> Caller:
        """Return who sent the value of an Authorization header, at `now` in Unix seconds.

        Raises RequestError (unauthenticated): one and the same whatever is wrong with a key or a token, so
        that nobody learns from it which ones exist. Only a genuine token is told that it has expired.
        """
        if authorization is None:
            if self._open:
                return ANONYMOUS
            raise _refused("this server asks for a key: send Authorization: Bearer <API key or token>")
        bearer = _BEARER.fullmatch(authorization) if len(authorization) <= _MAX_CHARACTERS else None
        if bearer is None:
            raise _not_accepted()
        # On an open server too: whoever sends a key means to be somebody.
        return self._holder(bearer[1], now)

    def _holder(self, credential: str, now: int) -> Caller:
        caller = self._keys.holder_of(credential)
        if caller is not None:
            return caller
        if self._tokens is None:
            raise _not_accepted()
        try:
            return self._tokens.verify(credential, now)
        except TokenExpired as exc:
            raise _refused("the token has expired; ask its issuer for a new one") from exc
        except TokenRefused as exc:
            raise _not_accepted() from exc


def _not_accepted() -> RequestError:
    return _refused("this server does not accept the key or token of the Authorization header")


def _refused(message: str) -> RequestError:
    return RequestError(RequestCode.UNAUTHENTICATED, message)
