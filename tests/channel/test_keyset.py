"""The keyset: what loads, what does not, and that its bytes are what is hashed."""

from __future__ import annotations

import contextlib
import hashlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blindai.channel import keyset
from blindai.channel.keyset import MAX_KEYSET_BYTES, Software
from blindai.errors import EvidenceMalformed, Reason
from blindai.wire import base64url

SPKI = bytes(range(32))
RECEIPT = bytes(range(32, 64))
FIELDS = {
    "names": ("inference.example", "127.0.0.1"),
    "tls_spki_sha256": SPKI,
    "receipt_key": RECEIPT,
    "not_before": 1_790_000_000,
    "not_after": 1_790_086_400,
    "software": Software("1.2.3", "ab" * 32),
    "settings": {"isolation": "process", "upload": True, "workers": 4, "sealing": ("file", "memory")},
    "simulated": False,
}
RAW = keyset.encode(**FIELDS)


def changed(**members):
    """Return the good keyset with members of its JSON replaced; ... removes one."""
    value = json.loads(RAW) | members
    return json.dumps({name: item for name, item in value.items() if item is not ...}).encode()


def refused(raw):
    with pytest.raises(EvidenceMalformed) as caught:
        keyset.parse(raw)
    assert caught.value.reason == Reason.KEYSET_MALFORMED


def test_what_is_written_is_read():
    """Every field comes back as it went in."""
    parsed = keyset.parse(RAW)
    assert {name: getattr(parsed, name) for name in FIELDS} == FIELDS


def test_its_digest_is_that_of_the_bytes():
    """Two spellings of one keyset are two keysets: nobody re-serialises it."""
    spaced = RAW.replace(b",", b", ")
    assert keyset.parse(RAW).sha256 == hashlib.sha256(RAW).digest()
    assert keyset.parse(spaced).sha256 == hashlib.sha256(spaced).digest() != keyset.parse(RAW).sha256


NOT_JSON = {
    "empty": b"",
    "null": b"null",
    "list": b"[]",
    "text": b'"keyset"',
    "number": b"1",
    "not UTF-8": RAW.replace(b"1.2.3", b"\xff.2.3"),
    "UTF-16": RAW.decode().encode("utf-16"),
    "byte order mark": b"\xef\xbb\xbf" + RAW,
    "bytes behind": RAW + b"x",
    "two of them": RAW + RAW,
    "NUL behind": RAW + b"\0",
    "truncated": RAW[:-1],
    "too long": RAW + b" " * MAX_KEYSET_BYTES,
    "duplicate member": RAW.replace(b'"simulated":false', b'"simulated":true,"simulated":false'),
    "duplicate in escapes": RAW.replace(b'"simulated":false', b'"simulated":true,"\\u0073imulated":false'),
    "duplicate setting": RAW.replace(b'"workers":4', b'"workers":4,"workers":4'),
    "duplicate software": RAW.replace(b'"source_sha256"', b'"version":"0","source_sha256"'),
    "fraction": RAW.replace(b'"workers":4', b'"workers":4.0'),
    "exponent": RAW.replace(b'"workers":4', b'"workers":4e0'),
    "infinity": RAW.replace(b'"workers":4', b'"workers":1e999'),
    "NaN": RAW.replace(b'"workers":4', b'"workers":NaN'),
    "Infinity": RAW.replace(b'"workers":4', b'"workers":-Infinity'),
    "long number": RAW.replace(b'"workers":4', b'"workers":' + b"9" * 5000),
    "deep": RAW.replace(b'"workers":4', b'"workers":' + b"[" * 17 + b"]" * 17),
    "very deep": RAW.replace(b'"workers":4', b'"workers":' + b"[" * 7000),
    "control character": RAW.replace(b"1.2.3", b"1\n3"),
    "single quotes": RAW.replace(b'"', b"'"),
    "comment": RAW + b"// ok",
}


@pytest.mark.parametrize("name", NOT_JSON)
def test_what_is_not_strict_json_is_refused(name):
    """No duplicates, fractions, byte order mark, depth or bytes behind: one text, one meaning."""
    refused(NOT_JSON[name])


@pytest.mark.parametrize("member", json.loads(RAW))
def test_a_missing_member_is_refused(member):
    """Every member is required."""
    refused(changed(**{member: ...}))


def test_an_unknown_member_is_refused():
    """Version 1 has these members and no others, on both levels."""
    refused(changed(hpke_key="x"))
    refused(changed(software={"version": "1", "source_sha256": "x", "more": "y"}))


WRONG = [
    *(("version", value) for value in (0, 2, -1, True, "1", None, [1])),
    *(("simulated", value) for value in (0, 1, "false", None, [])),
    *(
        ("names", value)
        for value in (
            [],
            "localhost",
            None,
            {},
            [""],
            [1],
            [None],
            [["a"]],
            ["A.example"],
            ["*.example"],
            [" a"],
            ["a "],
            ["a\n"],
            ["ä.example"],
            ["a" * 257],
            ["a"] * 33,
        )
    ),
    *(
        (name, value)
        for name in ("tls_spki_sha256", "receipt_key")
        for value in (
            "",
            None,
            1,
            base64url.encode(bytes(31)),
            base64url.encode(bytes(33)),
            base64url.encode(bytes(32)) + "=",
            bytes(32).hex(),
            base64url.encode(bytes(32))[:-1] + "B",
            "+" * 43,
        )
    ),
    *(
        (name, value)
        for name in ("not_before", "not_after")
        for value in (-1, 2**53, 2**70, True, "1790000000", None, [])
    ),
    *(
        ("software", value)
        for value in (None, "1", {}, {"version": "1"}, {"version": 1, "source_sha256": "a"})
    ),
    *(("software", value) for value in ({"version": "", "source_sha256": "a"},)),
    *(("settings", value) for value in (None, [], "x", {"a": None}, {"a": {}}, {"a": [1]}, {"a": [None]})),
    *(("settings", value) for value in ({"a": [[]]}, {"a": [""]})),
]


@pytest.mark.parametrize(("member", "value"), WRONG)
def test_a_member_of_the_wrong_kind_is_refused(member, value):
    """Nothing is converted: a number is not true, a text is not a list, a name is canonical."""
    refused(changed(**{member: value}))


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("names", ["a"]),
        ("names", ["a.example"] * keyset.MAX_NAMES),
        ("names", ["a" * 256]),
        ("not_before", 0),
        ("not_after", 2**53 - 1),
    ],
)
def test_the_edges_of_what_is_allowed_are_read(member, value):
    """32 names of 256 characters, and every moment that a double holds exactly."""
    read = getattr(keyset.parse(changed(**{member: value})), member)
    assert read == (tuple(value) if isinstance(value, list) else value)


@pytest.mark.parametrize("name", ["a b", "a\u0000", "a\u001b[2j", "a\nb"])
def test_a_name_with_a_blank_or_a_control_character_is_refused(name):
    """It cannot be dialled, but it would be shown."""
    refused(changed(names=[name]))


def test_a_keyset_that_cannot_be_read_is_not_written():
    """The server finds out at its start, not its clients."""
    with pytest.raises(EvidenceMalformed):
        keyset.encode(**{**FIELDS, "names": ("*.example",)})


texts = st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), min_size=1, max_size=20)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    st.dictionaries(texts, st.one_of(texts, st.booleans(), st.integers(-(2**60), 2**60)), max_size=5),
    st.integers(0, 2**53 - 1),
    st.booleans(),
)
def test_any_settings_survive_the_round_trip(stated, start, simulated):
    """Values keep their types."""
    fields = {**FIELDS, "settings": stated, "not_before": start, "simulated": simulated}
    parsed = keyset.parse(keyset.encode(**fields))
    assert (dict(parsed.settings), parsed.not_before, parsed.simulated) == (stated, start, simulated)
    assert [type(value) for value in parsed.settings.values()] == [type(value) for value in stated.values()]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.data())
def test_mutated_bytes_never_escape(data):
    """Whatever the bytes, they parse or they are malformed."""
    raw = bytearray(RAW)
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(EvidenceMalformed):
        keyset.parse(bytes(raw))
