"""Names of a hostile peer in our messages."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from blindai.wire.names import MAX_SHOWN_CHARACTERS, shown


def test_an_ordinary_name_is_quoted() -> None:
    """An ordinary name is shown as it is, in quotes."""
    assert shown("pixel_values.1") == '"pixel_values.1"'


@settings(deadline=None)
@given(st.text(max_size=200) | st.text(alphabet='\x1b[2J\r\n\u202e"\ud800', max_size=200))
def test_a_hostile_name_stays_short_and_printable(name: str) -> None:
    """No name gets control characters, line breaks, quotes or more than 64 characters into a message."""
    text = shown(name)
    assert text.isprintable()
    assert text.count('"') == 2
    assert len(text) <= MAX_SHOWN_CHARACTERS + 3
