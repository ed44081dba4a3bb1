"""What an API key looks like, here so that a client without the server can make one."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from blindai.wire import base64url

PREFIX = "blindai_"  # scanners for leaked secrets, and people, know it by this
RANDOM_BYTES = 32


def new_key(random: Callable[[int], bytes]) -> str:
    """Return a new API key made of `random(32)`."""
    return PREFIX + base64url.encode(random(RANDOM_BYTES))


def key_id(key: str) -> str:
    """Return the name of `key` that may be written down: its SHA-256, 64 lower-case hexadecimal digits.

    A plain hash is enough: nobody guesses 256 random bits, and a slow one would be paid by every request.
    """
    return hashlib.sha256(key.encode("utf-8")).hexdigest()
