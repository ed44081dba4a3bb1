"""What scripts/mutate.py found untested in the challenge tree: how many nonces, and of which length."""

from __future__ import annotations

import pytest

from blindai.channel.challenge import ChallengeTree, root_of

NONCES = [number.to_bytes(32, "big") for number in range(4097)]


def test_a_tree_of_4096_nonces_and_no_more():
    """The deepest path that a client takes, and nothing deeper."""
    tree = ChallengeTree(NONCES[:4096], [])
    assert root_of(NONCES[4095], tree.proof(4095)) == tree.root
    with pytest.raises(ValueError, match="a tree has 1 to 4096 nonces"):
        ChallengeTree(NONCES, [bytes(32)] * 4095)


def test_a_tree_of_nothing_is_refused():
    """A root that answers nobody must not be made."""
    with pytest.raises(ValueError, match="a tree has 1 to 4096 nonces"):
        ChallengeTree([], [bytes(32)] * 2)


@pytest.mark.parametrize("at", [0, 1])
@pytest.mark.parametrize("nonce", [b"", b"n" * 31, b"n" * 33])
def test_one_nonce_of_another_length_is_one_too_many(at, nonce):
    """A leaf is the hash of a nonce of fixed length, wherever it stands."""
    nonces = [NONCES[0], NONCES[1]]
    nonces[at] = nonce
    with pytest.raises(ValueError, match="a nonce has 32 bytes"):
        ChallengeTree(nonces, [])
