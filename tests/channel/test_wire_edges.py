"""The strict decoders at their edges: where each form of a number begins, and what may not end an item."""

from __future__ import annotations

import pytest

from blindai.wire import strict_cbor, strict_json
from blindai.wire.strict_json import MAX_BRACKETS, MAX_DEPTH


def decode(data, **options):
    return strict_cbor.decode(data, max_bytes=1000, **options)


def refused(data, **options):
    """Return the words with which this text is refused."""
    with pytest.raises(ValueError, match=r"[a-z]") as caught:
        decode(data, **options)
    assert type(caught.value) is ValueError
    return str(caught.value)


@pytest.mark.parametrize(
    ("size", "least", "greatest"),
    [(0, 0, 23), (1, 24, 2**8 - 1), (2, 2**8, 2**16 - 1), (4, 2**16, 2**32 - 1), (8, 2**32, 2**64 - 1)],
)
def test_each_form_of_a_number_begins_where_the_shorter_one_ends(size, least, greatest):
    """The first and the last of each are read, of either sign; one less is in more bytes than it needs."""

    def head(major, number):
        if not size:
            return bytes([major << 5 | number])
        return bytes([major << 5 | 23 + size.bit_length()]) + number.to_bytes(size, "big")

    for number in (least, greatest):
        assert decode(head(0, number)) == number
        assert decode(head(1, number)) == -1 - number
    if size:
        assert refused(head(0, least - 1)) == "a number in more bytes than it needs"


@pytest.mark.parametrize("head", [b"\xc0", b"\xd8\x18", b"\xf7", b"\xe0", b"\xf3"], ids=bytes.hex)
def test_only_the_end_ends_an_item_of_indefinite_length(head):
    """Neither a tag nor a simple value that is none of ours closes a list or a map."""
    for open_ in (b"\x9f", b"\xbf", b"\xbf\x00"):
        assert refused(open_ + head) == "a kind of item that evidence has no use for"
    assert decode(b"\x9f\xff") == []
    assert decode(b"\xbf\xff") == {}


@pytest.mark.parametrize("text", ["f818", "f8ff", "f93c00", "fa3f800000", "fb3ff0000000000000", "1c", "fe"])
def test_a_longer_simple_value_and_a_float_have_no_head(text):
    """They are refused before their bytes are read."""
    assert refused(bytes.fromhex(text)) == "a head that is not well-formed"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ff", "an end without a beginning"),
        ("bf00ff", "a key without a value"),
        ("a100ff", "a key without a value"),
        ("81ff", "the end of an item that has a length"),
        ("8200ff", "the end of an item that has a length"),
        ("a1ff", "the end of an item that has a length"),
        ("a20000ff", "the end of an item that has a length"),
        ("5fff", "a string in pieces"),
        ("7fff", "a string in pieces"),
        ("1f", "a kind of item that evidence has no use for"),
        ("3f", "a kind of item that evidence has no use for"),
        ("df", "a kind of item that evidence has no use for"),
        ("", "truncated"),
        ("18", "truncated"),
        ("42ff", "truncated"),
        ("81", "truncated"),
        ("9f", "truncated"),
        ("bf", "truncated"),
    ],
)
def test_what_breaks_off_or_ends_too_early_is_named(text, words):
    """Each mistake by its own words."""
    assert refused(bytes.fromhex(text)) == words


def test_a_tag_that_is_none_is_read_as_what_it_is():
    """An array of 18 items begins with the number of the tag, too, and is no tag."""
    assert decode(b"\x92" + b"\x00" * 18, tag=18) == [0] * 18
    assert decode(b"\x12", tag=18) == 18
    assert decode(b"\xd2\x12", tag=18) == 18
    assert decode(b"\xc0\x00", tag=0) == 0
    assert refused(b"\xd2", tag=18) == "truncated"


def test_maps_and_lists_nest_to_the_same_depth():
    """As keys, as values and as items; eight are read and nine are not."""
    for open_ in (b"\x81", b"\xa1\x00", b"\x9f", b"\xbf\x00"):
        close = b"\xff" if open_[0] in (0x9F, 0xBF) else b""
        assert decode(open_ * 8 + b"\x00" + close * 8) is not None
        assert refused(open_ * 9 + b"\x00" + close * 9) == "nested deeper than 8"
    assert refused(b"\xa1" * 9 + b"\x00" * 10) == "nested deeper than 8"


def read(text):
    return strict_json.decode_object(text.encode(), max_bytes=1_000_000)


@pytest.mark.parametrize(("open_", "close"), [("[", "]"), ('{"a":', "}")])
def test_lists_and_objects_nest_to_the_same_depth(open_, close):
    """Sixteen are read and seventeen are not, whichever they are."""
    inner = MAX_DEPTH - 1
    assert read('{"a":' + open_ * inner + "0" + close * inner + "}")
    with pytest.raises(ValueError, match="nested deeper than 16"):
        read('{"a":' + open_ * (inner + 1) + "0" + close * (inner + 1) + "}")


def test_what_was_closed_is_no_depth():
    """A thousand lists beside each other are not nested, nor do they allow what follows to be deeper."""
    assert len(read('{"a":[' + ",".join(["[]"] * 1000) + "]}")["a"]) == 1000
    with pytest.raises(ValueError, match="nested deeper than 16"):
        read('{"a":[' + "[]," * 1000 + "[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1) + "]}")
    assert read('{"a":[' + "[]," * 1000 + "[" * (MAX_DEPTH - 2) + "]" * (MAX_DEPTH - 2) + "]}")


def test_brackets_count_outside_of_strings_only():
    """Strings with quotes and backslashes end where they end: what follows them counts."""
    assert read('{"a":"' + "[" * 50 + r"\"[\\" + '"}')["a"] == "[" * 50 + '"[\\'
    with pytest.raises(ValueError, match="nested deeper"):
        read('{"a":"\\\\",' + '"b":' + "[" * 17)
    with pytest.raises(ValueError, match="brackets"):
        read('{"a":"\\"",' + '"b":[' + "[]," * MAX_BRACKETS)


def test_so_many_brackets_and_no_more():
    """Exactly as many as are allowed."""
    pairs = MAX_BRACKETS // 2 - 2
    assert read('{"a":[' + ",".join(["[]"] * pairs) + "]}")
    with pytest.raises(ValueError, match=f"more than {MAX_BRACKETS} brackets"):
        read('{"a":[' + ",".join(["[]"] * (pairs + 1)) + "]}")


def test_members_that_may_be_there_may_be_missing():
    """What is required is not optional, and the other way round."""
    assert strict_json.members({"a": 1}, "x", {"a"}, frozenset({"b"})) == {"a": 1}
    with pytest.raises(ValueError, match="x lacks a"):
        strict_json.members({"b": 1}, "x", {"a"}, frozenset({"b"}))
    with pytest.raises(ValueError, match=r"x has 2 unknown member\(s\)"):
        strict_json.members({"a": 1, "c": 1, "d": 1}, "x", {"a"}, frozenset({"b"}))


@pytest.mark.parametrize("head", [b"\xd4", b"\xd5", b"\xd6"], ids=bytes.hex)
def test_a_tag_is_no_simple_value_of_its_number(head):
    """Tags 20 to 22 are not false, true and null."""
    for text in (head, head + b"\x00", b"\x81" + head, b"\xa1\x00" + head):
        assert refused(text) == "a kind of item that evidence has no use for"
