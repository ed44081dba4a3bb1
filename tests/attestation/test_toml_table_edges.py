"""Reading one table by itself: each kind of value, absent, given, empty and of another kind."""

from __future__ import annotations

import pytest

from blindai.attestation.toml_table import Table, parse_hexadecimal, toml_list
from blindai.errors import PolicyError


def table(**values):
    return Table(values, header="accept", occurrence=0, text="")


def refused(ask, words):
    with pytest.raises(PolicyError, match=words):
        ask()


def test_a_list_of_integers():
    """What is absent is empty; what is given has at least one, and each is a count."""
    assert table(key=[3, 0]).integers("key") == (3, 0)
    assert table().integers("key") == ()
    for wrong in (
        [],
        [-1],
        [1, -1],
        [-1, 1],
        [True],
        [1, True],
        ["1"],
        [1, "1"],
        1,
        "1",
        {},
        True,
        {1: 2},
        (1,),
    ):
        refused(lambda wrong=wrong: table(key=wrong).integers("key"), "at least one integer, 0 or more")


def test_a_count():
    """0 is one; less, a fraction, a text and true are none."""
    for given in (0, 1, 2**63 - 1):
        assert table(key=given).integer("key", default=7) == given
        assert table(key=given).optional_integer("key") == given
    assert table().integer("key", default=7) == 7
    assert table().optional_integer("key") is None
    for wrong in (-1, 1.0, "1", True, False, [1]):
        refused(lambda wrong=wrong: table(key=wrong).integer("key", default=0), "an integer, 0 or more")
        refused(lambda wrong=wrong: table(key=wrong).optional_integer("key"), "an integer, 0 or more")


def test_true_and_false():
    """Nothing else is either."""
    for given in (True, False):
        assert table(key=given).boolean("key", default=not given) is given
        assert table().boolean("key", default=given) is given
    for wrong in (0, 1, "true", [True]):
        refused(lambda wrong=wrong: table(key=wrong).boolean("key", default=True), "must be true or false")


def test_a_text_that_may_be_absent():
    """None where it is; but what is given says something."""
    assert table().optional_string("key") is None
    assert table(key="a").optional_string("key") == "a"
    for wrong in ("", 1, ["a"]):
        refused(lambda wrong=wrong: table(key=wrong).optional_string("key"), "non-empty string")


def test_a_list_of_texts_that_may_be_absent():
    """The default is for the absent list, not for an empty one."""
    assert table().strings("key") == ()
    assert table().strings("key", default=("a",)) == ("a",)
    assert table(key=["b", "c"]).strings("key", default=("a",)) == ("b", "c")
    refused(lambda: table(key=[]).strings("key", default=("a",)), "at least one string")


@pytest.mark.parametrize(
    "ask",
    [
        lambda one: one.table("key"),
        lambda one: one.strings("key"),
        lambda one: one.boolean("key", default=True),
        lambda one: one.integer("key", default=0),
        lambda one: one.integers("key"),
        lambda one: one.optional_string("key"),
        lambda one: one.optional_integer("key"),
        lambda one: one.hexadecimal("key", size_bytes=1),
        lambda one: one.date("key"),
    ],
)
def test_a_key_that_was_asked_for_is_suggested_though_it_is_absent(ask):
    """A misspelt key is refused with the one that was meant, of whatever kind."""
    one = table(kye=1)
    ask(one)
    refused(one.finish, r"\[accept\] kye is not a known key; did you mean 'key'\?")


def test_a_table_whose_keys_are_the_users():
    """All of them are known then."""
    one = table(any=1, thing=2)
    assert one.everything() == {"any": 1, "thing": 2}
    one.finish()


def test_what_another_key_stands_for_is_read_like_a_key():
    """And is refused like one where nobody asks for it."""
    one = table()
    one.fill({"key": 3})
    assert "key" in one
    assert "other" not in one
    refused(one.finish, "key is not a known key")
    assert one.integer("key", default=0) == 3
    one.finish()


def test_a_byte_string():
    """Of exactly its size, in either case, and of nothing but digits."""
    assert table().hexadecimal("key", size_bytes=2) is None
    assert table(key="00fF").hexadecimal("key", size_bytes=2) == b"\x00\xff"
    for wrong in (
        "",
        "00f",
        "00ff0",
        "00ff00",
        "00 f",
        "0x00",
        "00fg",
        " 00f",
        "00ff\n",
        0,
        b"00ff",
        ["00ff"],
        None,
    ):
        assert parse_hexadecimal(wrong, 2) is None
        refused(
            lambda wrong=wrong: table(key=wrong).hexadecimal("key", size_bytes=2),
            r"must be 4 hexadecimal digits \(2 bytes\)",
        )


def test_a_list_is_written_sorted():
    """Two policies of one set are one text."""
    assert toml_list({"b", "a"}) == '["a", "b"]'
    assert toml_list(()) == "[]"
