"""Base64url: one encoding per byte string."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blindai.wire import base64url


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_every_byte_string_comes_back(data: bytes) -> None:
    """Decoding what was encoded gives the same bytes."""
    assert base64url.decode(base64url.encode(data)) == data


@settings(deadline=None)
@given(st.text(alphabet="ABab01-_+/= \n", max_size=12))
def test_a_text_that_decodes_is_the_one_encoding(text: str) -> None:
    """Whatever decodes at all is exactly what encoding its bytes gives."""
    try:
        data = base64url.decode(text)
    except ValueError:
        return
    assert base64url.encode(data) == text


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("AA==", id="padding"),
        pytest.param("A", id="impossible length"),
        pytest.param("AB", id="trailing bits set"),
        pytest.param("+/8", id="standard alphabet"),
        pytest.param("AA AA", id="space"),
        pytest.param("AAAA\n", id="line break"),
        pytest.param("ÄÄÄÄ", id="not ASCII"),
        pytest.param("AA=A", id="padding inside"),
    ],
)
def test_other_spellings_are_refused(text: str) -> None:
    """Padding, foreign alphabets, white space and non-zero trailing bits are all ValueError."""
    with pytest.raises(ValueError, match="base64url"):
        base64url.decode(text)


def test_known_values() -> None:
    """The alphabet is the URL-safe one, without padding."""
    assert base64url.encode(b"\xfb\xff") == "-_8"
    assert base64url.encode(b"") == ""
