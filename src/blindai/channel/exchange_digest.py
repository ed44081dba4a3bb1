"""How a receipt names one request and its response: two digests that only the client's salt can be tried on.

::

    HMAC-SHA-256(salt, domain, field, field, ..., body)
    field = length (u64, big endian), bytes      an absent header: the length 2^64 - 1, and no bytes

The domain tells a request from a response, the number of fields is fixed, and the body comes last: no two
exchanges have the same input. The salt is 32 random bytes of the client. Without it nobody can try out what
a small input was; with it everybody can, so it is disclosed no further than the body.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from dataclasses import dataclass, field

from blindai.errors import RequestCode, RequestError
from blindai.wire import base64url

SALT_BYTES = 32
DIGEST_BYTES = 32
REQUEST_DOMAIN = b"blindai-request-v1\0"
RESPONSE_DOMAIN = b"blindai-response-v1\0"

_ABSENT = b"\xff" * 8

Bytes = bytes | bytearray | memoryview


@dataclass(frozen=True)
class RequestHead:
    """What a request's digest covers beside the body, exactly as it crossed the wire (latin-1).

    `path` is the request target without its query, not decoded. A header that was not sent is None.
    """

    method: str
    path: str
    content_type: str | None = None
    content_encoding: str | None = None
    inference_header_length: str | None = None


@dataclass(frozen=True)
class ResponseHead:
    """What a response's digest covers beside the body, exactly as it crossed the wire (latin-1)."""

    status: int
    content_type: str | None = None
    content_encoding: str | None = None
    inference_header_length: str | None = None


@dataclass(frozen=True)
class SentRequest:
    """A request that was hashed to its end while it was sent, and is held no more."""

    salt: bytes = field(repr=False)
    head: RequestHead
    claim: str


class _ExchangeDigest:
    """One half of an exchange, hashed while it passes by."""

    def __init__(self, salt: bytes, head: bytes) -> None:
        if len(salt) != SALT_BYTES:
            raise ValueError(f"a salt has {SALT_BYTES} bytes")
        self.salt = salt
        self._hmac = hmac.new(salt, head, "sha256")

    def update(self, piece: Bytes) -> None:
        """Add the next piece of the body. Where it is cut makes no difference."""
        self._hmac.update(piece)

    def digest(self) -> bytes:
        return self._hmac.digest()

    def hexdigest(self) -> str:
        return self._hmac.hexdigest()

    def claim(self) -> str:
        """Return the digest as a receipt holds it: base64url."""
        return base64url.encode(self._hmac.digest())


class RequestDigest(_ExchangeDigest):
    """The digest of one request. Raises ValueError for a salt or a head that no exchange could have."""

    def __init__(self, salt: bytes, head: RequestHead) -> None:
        fields = (
            head.method,
            head.path,
            head.content_type,
            head.content_encoding,
            head.inference_header_length,
        )
        super().__init__(salt, REQUEST_DOMAIN + _fields(fields))
        self.head = head

    def sent(self) -> SentRequest:
        """Return the digest of the request that is now complete."""
        return SentRequest(self.salt, self.head, self.claim())


class ResponseDigest(_ExchangeDigest):
    """The digest of one response. Raises ValueError for a salt or a head that no exchange could have."""

    def __init__(self, salt: bytes, head: ResponseHead) -> None:
        if not 100 <= head.status <= 999:
            raise ValueError("a status has three digits")
        fields = (str(head.status), head.content_type, head.content_encoding, head.inference_header_length)
        super().__init__(salt, RESPONSE_DOMAIN + _fields(fields))
        self.head = head


def parse_salt(text: str) -> bytes:
    """Read the salt that a client sends along, or raise RequestError (malformed)."""
    try:
        salt = base64url.decode(text)
    except ValueError:
        salt = b""
    if len(salt) != SALT_BYTES:
        raise RequestError(
            RequestCode.MALFORMED,
            f"the receipt's salt is not {SALT_BYTES} bytes in base64url without padding",
        )
    return salt


def _fields(values: Iterable[str | None]) -> bytes:
    return b"".join(_field(value) for value in values)


def _field(value: str | None) -> bytes:
    if value is None:
        return _ABSENT
    data = value.encode("latin-1")
    return len(data).to_bytes(8, "big") + data
