"""How a receipt names one request and its response: two digests that only the client's salt can be tried on.

::

    body digest = HMAC-SHA-256(salt, body domain, body)
    digest      = HMAC-SHA-256(salt, domain, field, field, ..., body digest)
    salt        = HMAC-SHA-256(seed, salt domain, SHA-256 of the client's policy, the request's fields)
    field = length (u64, big endian), bytes      an absent header: the length 2^64 - 1, and no bytes

No two exchanges have the same input: the domains tell its kinds apart, the number of fields is fixed, what
comes last has a fixed length or is a body. Two levels, so that whoever has the body digest can check the
head without the body. The server knows the salt and nothing of how it is made: by it the client commits to
what no digest covers, its policy, and the head of a request that the server refuses unread.

The seed is 32 random bytes of the client. Without salt or seed nobody can try out what a small input was;
with either everybody can, so they are disclosed no further than the body.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from dataclasses import dataclass, field

from blindai.errors import RequestCode, RequestError
from blindai.wire import base64url

SEED_BYTES = 32
SALT_BYTES = 32
DIGEST_BYTES = 32
SALT_DOMAIN = b"blindai-receipt-salt-v1\0"
REQUEST_DOMAIN = b"blindai-request-v1\0"
RESPONSE_DOMAIN = b"blindai-response-v1\0"
REQUEST_BODY_DOMAIN = b"blindai-request-body-v1\0"
RESPONSE_BODY_DOMAIN = b"blindai-response-body-v1\0"

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
    body_digest: bytes


class _ExchangeDigest:
    """One half of an exchange, hashed while it passes by."""

    def __init__(self, salt: bytes, head: bytes, body_domain: bytes) -> None:
        if len(salt) != SALT_BYTES:
            raise ValueError(f"a salt has {SALT_BYTES} bytes")
        self.salt = salt
        self._head = head
        self._body = hmac.new(salt, body_domain, "sha256")

    def update(self, piece: Bytes) -> None:
        """Add the next piece of the body. Where it is cut makes no difference."""
        self._body.update(piece)

    def body_digest(self) -> bytes:
        """Return what stands for the body where the body itself is not at hand."""
        return self._body.digest()

    def digest(self) -> bytes:
        return self._over(self._body.digest())

    def hexdigest(self) -> str:
        return self.digest().hex()

    def claim(self) -> str:
        """Return the digest as a receipt holds it: base64url."""
        return base64url.encode(self.digest())

    def claim_over(self, body_digest: bytes) -> str:
        """Return the claim of this head and of a body that only its digest is known of."""
        if len(body_digest) != DIGEST_BYTES:
            raise ValueError(f"a body's digest has {DIGEST_BYTES} bytes")
        return base64url.encode(self._over(body_digest))

    def _over(self, body_digest: bytes) -> bytes:
        return hmac.digest(self.salt, self._head + body_digest, "sha256")


class RequestDigest(_ExchangeDigest):
    """The digest of one request. Raises ValueError for a salt or a head that no exchange could have."""

    def __init__(self, salt: bytes, head: RequestHead) -> None:
        super().__init__(salt, REQUEST_DOMAIN + _request_fields(head), REQUEST_BODY_DOMAIN)
        self.head = head

    def sent(self) -> SentRequest:
        """Return the digest of the request that is now complete."""
        return SentRequest(self.salt, self.head, self.body_digest())


class ResponseDigest(_ExchangeDigest):
    """The digest of one response. Raises ValueError for a salt or a head that no exchange could have."""

    def __init__(self, salt: bytes, head: ResponseHead) -> None:
        if not 100 <= head.status <= 999:
            raise ValueError("a status has three digits")
        fields = (str(head.status), head.content_type, head.content_encoding, head.inference_header_length)
        super().__init__(salt, RESPONSE_DOMAIN + _fields(fields), RESPONSE_BODY_DOMAIN)
        self.head = head


def salt_of(seed: bytes, policy_sha256: str, head: RequestHead) -> bytes:
    """Return the salt by which a client commits to its policy and to the request that it is about to send."""
    if len(seed) != SEED_BYTES:
        raise ValueError(f"a seed has {SEED_BYTES} bytes")
    policy = bytes.fromhex(policy_sha256)
    if len(policy) != DIGEST_BYTES:  # what follows would be cut elsewhere
        raise ValueError("a policy's digest has 64 hexadecimal digits")
    return hmac.digest(seed, SALT_DOMAIN + policy + _request_fields(head), "sha256")


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


def _request_fields(head: RequestHead) -> bytes:
    return _fields(
        (
            head.method,
            head.path,
            head.content_type,
            head.content_encoding,
            head.inference_header_length,
        )
    )


def _fields(values: Iterable[str | None]) -> bytes:
    return b"".join(_field(value) for value in values)


def _field(value: str | None) -> bytes:
    if value is None:
        return _ABSENT
    data = value.encode("latin-1")
    return len(data).to_bytes(8, "big") + data
