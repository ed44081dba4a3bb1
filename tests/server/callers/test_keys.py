"""API keys in the settings, and whom a request with one comes from."""

from __future__ import annotations

import dataclasses

import pytest

from blindai.errors import UsageError
from blindai.server.callers.caller import Caller, Quota, Role
from blindai.server.callers.keys import ApiKeys, KeyHolder, key_id, new_key

KEY, OTHER = (new_key(lambda n, i=i: bytes([i]) * n) for i in (1, 2))
ALICE = KeyHolder("alice", Role.OWNER, "alice", key_id(KEY), Quota(1, 2, 3))


def test_a_key_has_its_holder():
    """A key is recognised by its hash and brings all that the settings say of its holder."""
    keys = ApiKeys([ALICE, KeyHolder("app", Role.USER, "alice", key_id(OTHER))])
    assert keys.holder_of(KEY) == Caller("alice", Role.OWNER, "alice", key_id(KEY), Quota(1, 2, 3))
    assert keys.holder_of(OTHER) == Caller("app", Role.USER, "alice", key_id(OTHER), Quota(0, 0, 0))


@pytest.mark.parametrize(
    "wrong",
    ["", KEY[:-1], KEY + "A", KEY.lower(), KEY.removeprefix("blindai_"), key_id(KEY), KEY + "\n", "é"],
)
def test_anything_else_has_none(wrong):
    """Neither a part of a key, nor its hash, nor another spelling of it is the key."""
    assert ApiKeys([ALICE]).holder_of(wrong) is None


def test_the_last_character_has_one_spelling():
    """Base64 has spare bits at the end; a key with other ones there is another text, hence not the key."""
    assert KEY.endswith("E")
    assert ApiKeys([ALICE]).holder_of(KEY[:-1] + "F") is None


def test_one_person_may_hold_two_keys():
    """While keys are exchanged, both are good."""
    keys = ApiKeys([ALICE, dataclasses.replace(ALICE, key_sha256=key_id(OTHER))])
    assert {keys.holder_of(key).name for key in (KEY, OTHER)} == {"alice"}


def test_one_key_is_of_one_person():
    """The same hash twice is refused, and both holders are named."""
    with pytest.raises(UsageError, match="alice and bob have the same key_sha256"):
        ApiKeys([ALICE, dataclasses.replace(ALICE, name="bob")])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": ""}, "the name of a caller cannot be one"),
        ({"name": "Alice"}, "the name of a caller cannot be one"),
        ({"name": "alice\nadmin"}, "the name of a caller cannot be one"),
        ({"name": "аlice"}, "the name of a caller cannot be one"),  # noqa: RUF001 - a Cyrillic a
        ({"namespace": "../bob"}, "the namespace of alice cannot be one"),
        ({"namespace": "a/b"}, "the namespace of alice cannot be one"),
        ({"role": "root"}, "the role of alice is not one of admin, owner, user"),
        ({"key_sha256": key_id(KEY).upper()}, "the key_sha256 of alice is not 64"),
        ({"key_sha256": ""}, "the key_sha256 of alice is not 64"),
        ({"key_sha256": KEY}, "the key_sha256 of alice is not 64"),
    ],
)
def test_what_cannot_be_meant(changes, message):
    """Names, roles and hashes that are none stop the start; a key in place of its hash is not repeated."""
    with pytest.raises(UsageError, match=message) as caught:
        ApiKeys([dataclasses.replace(ALICE, **changes)])
    assert KEY not in f"{caught.value}{caught.value.hint}"


def test_no_key_is_kept():
    """After a request was recognised, nothing of the directory shows the key."""
    keys = ApiKeys([ALICE])
    keys.holder_of(KEY)
    assert KEY not in f"{keys!r}{vars(keys)}{ALICE!r}"
