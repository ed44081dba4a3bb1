"""The search for plaintext finds it."""

from __future__ import annotations

import pytest

from tests.store.shelf import content, plaintext_in


@pytest.mark.parametrize("start", range(0, 33, 3))
@pytest.mark.parametrize("before", [0, 1, 8])
def test_any_32_bytes_are_found(start, before):
    """Wherever they were in the plaintext, and wherever they are in the file."""
    secret = content("secret", 200)
    raw = bytes(before) + secret[start : start + 32] + content("noise", 1000)
    assert plaintext_in(raw, content("another"), secret)
    assert not plaintext_in(raw, content("another"))


@pytest.mark.parametrize("raw", [b"", b"1234567", b"12345678"])
def test_nothing_is_found_in_nothing(raw):
    """Short files, and no plaintext to look for."""
    assert not plaintext_in(raw, b"", content("secret"))
    assert not plaintext_in(raw)
