"""Who may use a model, as it crosses the wire: a slip never makes a model visible to more than were meant."""

from __future__ import annotations

import json
from typing import Any

import pytest

from blindai.errors import RequestCode, RequestError, ResponseError
from blindai.wire.access import MAX_SHARES, CallerInfo, Sharing, Visibility, caller_info, is_key_id, sharing

ALICE, BOB = "a1" * 32, "b2" * 32
INFO = CallerInfo("alice", "owner", "alice", ALICE, 1, 5, 10, 0, 60, (ALICE, BOB))


@pytest.mark.parametrize("visibility", ["private", "public"])
def test_a_visibility_without_keys(visibility: str):
    """Private and public name nobody."""
    assert sharing(visibility, []) == Sharing(Visibility(visibility))


def test_a_shared_model_names_its_keys_once():
    """In their order, each once, up to the most."""
    assert sharing("shared", [BOB, ALICE, BOB]) == Sharing(Visibility.SHARED, (BOB, ALICE))
    most = [f"{number:064x}" for number in range(MAX_SHARES)]
    assert sharing("shared", most).shared_with == tuple(most)
    assert sharing("shared", [*most, *most]).shared_with == tuple(most)


@pytest.mark.parametrize(
    ("visibility", "keys"),
    [
        ("shared", []),
        ("private", [BOB]),
        ("public", [BOB]),
        ("shared", [f"{number:064x}" for number in range(MAX_SHARES + 1)]),
        ("shared", [BOB, "bob"]),
        ("shared", [BOB.upper()]),
        ("shared", [BOB + "\n"]),
        ("shared", [BOB[:-1]]),
        ("shared", [7]),
        ("shared", [None]),
        ("shared", [[]]),
        ("shared", [{}]),
        ("shared", [int("1" * 64)]),
        ("Private", []),
        ("", []),
        ("everybody", []),
        (None, []),
        (True, []),
        (["public"], []),
    ],
)
def test_a_sharing_that_makes_no_sense(visibility: Any, keys: list[Any]):
    """Nothing is guessed; what was sent is not quoted."""
    with pytest.raises(RequestError) as caught:
        sharing(visibility, keys)
    assert caught.value.code is RequestCode.MALFORMED
    assert BOB not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", ALICE[1:], ALICE + "a", "g" * 64, ALICE.upper(), ALICE + "\n", None, 64]
)
def test_what_is_no_key_id(text: Any):
    """64 lower-case hexadecimal digits, and nothing else."""
    assert is_key_id(ALICE)
    assert not is_key_id(text)


def sent(**changes: Any) -> dict[str, Any]:
    """What a server sends of a caller, as JSON brings it."""
    value: dict[str, Any] = json.loads(json.dumps({**INFO.to_json(), **changes}))
    return value


def test_what_a_caller_is_told_of_itself():
    """Reads back as it was written; members that this client does not know are left alone."""
    assert caller_info(sent()) == INFO
    assert caller_info(sent(new=1)) == INFO
    assert caller_info(sent(models=0)).models == 0
    older = {name: value for name, value in sent().items() if name != "namespace_keys"}
    assert caller_info(older).namespace_keys == ()


@pytest.mark.parametrize("keys", [None, "", BOB, {}, [1], [None], ["bob"], [BOB, BOB.upper()], [[]]])
def test_keys_of_a_namespace_that_are_none(keys: Any):
    """A list of key ids, or the server's error."""
    with pytest.raises(ResponseError):
        caller_info(sent(namespace_keys=keys))


@pytest.mark.parametrize("value", [None, [], "alice", 7])
def test_what_is_no_caller(value: Any):
    """An answer of another shape is the server's error, not a crash."""
    with pytest.raises(ResponseError):
        caller_info(value)


@pytest.mark.parametrize("member", [name for name in INFO.to_json() if name != "namespace_keys"])
def test_a_caller_that_lacks_a_member(member: str):
    """Each has to be there, and be what it is."""
    others: list[Any] = [None, [], True, 1.5, -1]
    others.append("1" if isinstance(INFO.to_json()[member], int) else 1)
    for other in others:
        with pytest.raises(ResponseError):
            caller_info(sent(**{member: other}))
    with pytest.raises(ResponseError):
        caller_info({name: value for name, value in sent().items() if name != member})
