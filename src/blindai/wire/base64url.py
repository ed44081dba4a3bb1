"""Base64url without padding, canonical: every byte string has exactly one encoding (RFC 4648, 3.5)."""

from __future__ import annotations

import base64
import binascii


def encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def decode(text: str) -> bytes:
    """Return the bytes of `text`, or raise ValueError if it is not the one encoding of them."""
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as exc:
        raise ValueError("not base64url") from exc
    # Trailing bits that are not zero, padding and foreign alphabets would give one value two spellings.
    if encode(data) != text:
        raise ValueError("not canonical base64url")
    return data
