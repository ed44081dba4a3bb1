"""The form of an API key, and its name that may be written down."""

from __future__ import annotations

import hashlib
import re
import secrets

from blindai.wire import base64url
from blindai.wire.api_key import key_id, new_key


def test_a_key_is_32_random_bytes():
    """It has a prefix to be found by, and all of its randomness is in it."""
    key = new_key(secrets.token_bytes)
    assert re.fullmatch(r"blindai_[A-Za-z0-9_-]{43}", key)
    assert new_key(bytes) == "blindai_" + "A" * 43
    assert base64url.decode(new_key(lambda n: bytes(range(n))).removeprefix("blindai_")) == bytes(range(32))
    assert key != new_key(secrets.token_bytes)


def test_its_id_is_its_sha256():
    """Anybody can compute it with sha256sum."""
    key = new_key(bytes)
    assert key_id(key) == hashlib.sha256(key.encode("ascii")).hexdigest()
