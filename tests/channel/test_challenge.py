"""One quote, many nonces: every client finds its own in the root, and nobody else's."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blindai.channel import challenge
from blindai.channel.challenge import MAX_DEPTH, MAX_LEAVES, ChallengeTree, Proof, padding_needed
from blindai.errors import EvidenceMalformed, Reason
from blindai.wire import base64url

NODE = base64url.encode(bytes(32))


def nonces(count):
    return [hashlib.sha256(b"nonce %d" % number).digest() for number in range(count)]


def tree_of(leaves):
    padding = [hashlib.sha256(b"padding %d" % n).digest() for n in range(padding_needed(len(leaves)))]
    return ChallengeTree(leaves, padding)


@pytest.mark.parametrize("count", range(1, 34))
def test_every_proof_leads_to_the_root(count):
    """Whatever the number of clients, and each of them by its own path."""
    leaves = nonces(count)
    tree = tree_of(leaves)
    for index, nonce in enumerate(leaves):
        proof = tree.proof(index)
        assert challenge.root_of(nonce, proof) == tree.root
        assert challenge.parse_proof(proof.to_json()) == proof
        assert 2 ** len(proof.path) == count + padding_needed(count)


@pytest.mark.parametrize("count", [1, 2, 3, 8, 33])
def test_a_proof_is_for_one_nonce_at_one_place(count):
    """Another nonce, another index or another path leads elsewhere."""
    leaves = nonces(count)
    tree = tree_of(leaves)
    for index, nonce in enumerate(leaves):
        proof = tree.proof(index)
        assert challenge.root_of(b"x" * 32, proof) != tree.root
        for level, sibling in enumerate(proof.path):
            flipped = Proof(index ^ 1 << level, proof.path)
            assert challenge.root_of(nonce, flipped) != tree.root
            changed = bytes([sibling[0] ^ 1]) + sibling[1:]
            path = (*proof.path[:level], changed, *proof.path[level + 1 :])
            assert challenge.root_of(nonce, Proof(index, path)) != tree.root
        assert challenge.root_of(nonce, Proof(index, (*proof.path, bytes(32)))) != tree.root


def test_a_tree_computed_by_hand():
    """Leaf and node have labels of their own: no node can be passed off as somebody's nonce."""
    first, second = nonces(2)
    leaves = [hashlib.sha256(b"\0" + nonce).digest() for nonce in (first, second)]
    root = hashlib.sha256(b"\1" + leaves[0] + leaves[1]).digest()
    assert tree_of([first, second]).root == root
    assert challenge.root_of(first, Proof(0, (leaves[1],))) == root
    assert challenge.root_of(leaves[0] + leaves[1], Proof(0, ())) != root


def test_padding_leaves_are_unknown_to_clients():
    """The padding decides about the root, so a root tells nobody how many others waited."""
    leaves = nonces(3)
    assert ChallengeTree(leaves, [b"a" * 32]).root != ChallengeTree(leaves, [b"b" * 32]).root


@pytest.mark.parametrize(
    ("leaves", "padding"),
    [
        ([], []),
        ([b"short"], []),
        ([b"n" * 33], []),
        ([b"n" * 32] * 3, []),
        ([b"n" * 32] * (MAX_LEAVES + 1), []),
    ],
    ids=["none", "short", "long", "no padding", "too many"],
)
def test_a_tree_that_cannot_be_is_refused(leaves, padding):
    """The server's own mistakes end in ValueError, not in a root that nobody can use."""
    with pytest.raises(ValueError, match=r"nonce|padding"):
        ChallengeTree(leaves, padding)


MALFORMED = {
    "null": None,
    "list": [],
    "text": "index",
    "empty": {},
    "no path": {"index": 0},
    "no index": {"path": []},
    "surplus member": {"index": 0, "path": [], "nonce": NODE},
    "index out of range": {"index": 1, "path": []},
    "index out of a longer range": {"index": 4, "path": [NODE, NODE]},
    "negative index": {"index": -1, "path": [NODE]},
    "true as index": {"index": True, "path": [NODE]},
    "false as index": {"index": False, "path": []},
    "text as index": {"index": "0", "path": []},
    "fraction as index": {"index": 0.0, "path": []},
    "huge index": {"index": 2**70, "path": [NODE] * MAX_DEPTH},
    "path too long": {"index": 0, "path": [NODE] * (MAX_DEPTH + 1)},
    "path as text": {"index": 0, "path": NODE},
    "path as object": {"index": 0, "path": {}},
    "number as node": {"index": 0, "path": [1]},
    "null as node": {"index": 0, "path": [None]},
    "short node": {"index": 0, "path": [base64url.encode(bytes(31))]},
    "long node": {"index": 0, "path": [base64url.encode(bytes(33))]},
    "empty node": {"index": 0, "path": [""]},
    "padded node": {"index": 0, "path": [NODE + "="]},
    "other spelling": {"index": 0, "path": [NODE[:-1] + "B"]},
    "surrogate": {"index": 0, "path": ["\ud800" * 43]},
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_challenge_is_refused(name):
    """Wrong types, surplus members, a path too long, an index that does not fit, another spelling."""
    with pytest.raises(EvidenceMalformed) as caught:
        challenge.parse_proof(MALFORMED[name])
    assert caught.value.reason == Reason.CHALLENGE_MALFORMED


def test_the_longest_path_is_read():
    """4096 clients share one quote."""
    proof = challenge.parse_proof({"index": 2**MAX_DEPTH - 1, "path": [NODE] * MAX_DEPTH})
    assert len(proof.path) == MAX_DEPTH == 12


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=40), st.data())
def test_a_nonce_that_was_not_waiting_is_not_in_the_root(leaves, data):
    """No path of this tree leads there from a nonce of somebody else."""
    tree = tree_of(leaves)
    stranger = data.draw(st.binary(min_size=32, max_size=32).filter(lambda nonce: nonce not in leaves))
    index = data.draw(st.integers(0, len(leaves) - 1))
    assert challenge.root_of(leaves[index], tree.proof(index)) == tree.root
    assert challenge.root_of(stranger, tree.proof(index)) != tree.root
