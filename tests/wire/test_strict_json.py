"""The strict decoder refuses every text that two readers could understand differently."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blindai.wire.strict_json import MAX_BRACKETS, MAX_DEPTH, decode_object, members

_LEAVES = st.none() | st.booleans() | st.integers() | st.text(max_size=8)
_VALUES = st.recursive(
    _LEAVES,
    lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=4), v, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)
@given(st.dictionaries(st.text(max_size=4), _VALUES, max_size=4))
def test_plain_objects_decode_to_themselves(value: dict[str, object]) -> None:
    """Objects of strings, integers, booleans, null, lists and objects come back as they were."""
    assert decode_object(json.dumps(value).encode(), max_bytes=100_000) == value


@settings(deadline=None)
@given(st.binary(max_size=60) | st.text(alphabet='{}[]":,\\u0019eE.+-NaN \n', max_size=60).map(str.encode))
def test_hostile_bytes_raise_nothing_but_value_error(data: bytes) -> None:
    """Any bytes either decode to an object or raise ValueError."""
    try:
        value = decode_object(data, max_bytes=50)
    except ValueError:
        return
    assert isinstance(value, dict)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(b'{"a":1,"a":2}', "duplicate", id="duplicate member"),
        pytest.param(b'{"x":{"a":1,"\\u0061":2}}', "duplicate", id="duplicate behind an escape, nested"),
        pytest.param(b'{"a":NaN}', "NaN", id="NaN"),
        pytest.param(b'{"a":-Infinity}', "infinity", id="infinity"),
        pytest.param(b'{"a":1.0}', "not an integer", id="fraction"),
        pytest.param(b'{"a":1e999}', "not an integer", id="exponent"),
        pytest.param(b"[]", "not a JSON object", id="list"),
        pytest.param(b"\xef\xbb\xbf{}", "byte order mark", id="byte order mark"),
        pytest.param(b'{"a":"\xff"}', "not UTF-8", id="not UTF-8"),
        pytest.param('{"a":1}'.encode("utf-16-le"), "property name", id="UTF-16"),
        pytest.param(b"{} {}", "Extra data", id="trailing text"),
        pytest.param(b"", "Expecting value", id="empty"),
    ],
)
def test_ambiguous_texts_are_refused(data: bytes, message: str) -> None:
    """Each of these is ValueError, with the reason in the message."""
    with pytest.raises(ValueError, match=message):
        decode_object(data, max_bytes=1000)


def test_the_size_is_checked_first() -> None:
    """A text of exactly the limit is read, one byte more is not."""
    assert decode_object(b'{"a":1}', max_bytes=7) == {"a": 1}
    with pytest.raises(ValueError, match="longer than 6 bytes"):
        decode_object(b'{"a":1}', max_bytes=6)


def test_depth_is_bounded_without_recursion() -> None:
    """The deepest allowed nesting is read, one more is refused, and a million brackets do not recurse."""
    inner = MAX_DEPTH - 1
    assert decode_object(b'{"a":' + b"[" * inner + b"]" * inner + b"}", max_bytes=1000)
    for brackets, words in ((MAX_DEPTH, "nested deeper"), (1_000_000, "brackets")):
        with pytest.raises(ValueError, match=words):
            decode_object(b'{"a":' + b"[" * brackets, max_bytes=2_000_000)


def test_a_long_row_of_brackets_is_refused() -> None:
    """However shallow: counting them one by one would cost seconds."""
    row = b'{"a":[' + b",".join([b"[]"] * (MAX_BRACKETS // 2 - 2))
    assert decode_object(row + b"]}", max_bytes=100_000)
    with pytest.raises(ValueError, match="brackets"):
        decode_object(row + b",[]]}", max_bytes=100_000)


def test_brackets_inside_strings_do_not_count() -> None:
    """A string full of brackets, escaped quotes and backslashes is no nesting."""
    value = {"a": '["\\' * 50}
    assert decode_object(json.dumps(value).encode(), max_bytes=10_000) == value


def test_members_are_exactly_the_ones_named() -> None:
    """Missing and unknown members are refused, optional ones may be there; the unknown is not echoed."""
    assert members({"a": 1, "b": 2}, "thing", {"a"}, frozenset({"b"})) == {"a": 1, "b": 2}
    with pytest.raises(ValueError, match="thing lacks a, c"):
        members({"b": 2}, "thing", {"a", "c"}, frozenset({"b"}))
    with pytest.raises(ValueError, match=r"thing has 1 unknown member\(s\)"):
        members({"a": 1, "secret": 2}, "thing", {"a"})
    with pytest.raises(ValueError, match="thing is not an object"):
        members([], "thing", {"a"})


@pytest.mark.parametrize("text", ['"' + r"\"" * 200_000, "[]" * 200_000, '["' * 200_000, "\\[" * 200_000])
def test_hostile_texts_take_linear_time(text):
    """Texts made to defeat the depth check end in ValueError, in a moment and without deep recursion."""
    with pytest.raises(ValueError):  # noqa: PT011  which message does not matter
        decode_object(f'{{"a":{text}'.encode(), max_bytes=10**7)
