"""Batched nonces: one quote answers many challenges, each client sees its own freshness (design 4.3).

Clients' nonces are the leaves of a perfect binary tree whose root the hardware signs. Each client gets
the path from its own leaf to the root. The client hashes *its own* nonce; the answer never repeats it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from blindai.errors import EvidenceMalformed, Reason
from blindai.wire import base64url, strict_json

NONCE_BYTES = 32
MAX_DEPTH = 12
MAX_LEAVES = 2**MAX_DEPTH


@dataclass(frozen=True)
class Proof:
    """Where a leaf stands and its siblings from the leaf up; bit i of `index` says the side at level i."""

    index: int
    path: tuple[bytes, ...]

    def to_json(self) -> dict[str, Any]:
        return {"index": self.index, "path": [base64url.encode(node) for node in self.path]}


def parse_proof(value: Any) -> Proof:
    """Read the `challenge` member of an answer, or raise EvidenceMalformed."""
    try:
        fields = strict_json.members(value, "challenge", {"index", "path"})
        index, path = fields["index"], fields["path"]
        if not isinstance(path, list) or len(path) > MAX_DEPTH:
            raise ValueError(f"the path is not a list of at most {MAX_DEPTH}")
        if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < 2 ** len(path):
            raise ValueError("the index does not fit the path")
        nodes = tuple(base64url.decode(node) if isinstance(node, str) else b"" for node in path)
        if any(len(node) != 32 for node in nodes):
            raise ValueError("a node does not have 32 bytes")
    except ValueError as exc:
        raise EvidenceMalformed(Reason.CHALLENGE_MALFORMED, f"the challenge is malformed: {exc}") from exc
    return Proof(index, nodes)


def root_of(nonce: bytes, proof: Proof) -> bytes:
    """Return the root that `proof` leads to from this client's own nonce."""
    node = _leaf(nonce)
    for level, sibling in enumerate(proof.path):
        on_the_right = proof.index >> level & 1
        node = _node(sibling, node) if on_the_right else _node(node, sibling)
    return node


class ChallengeTree:
    """The server's side: a tree over `nonces`, filled up to a power of two with leaves from `padding`.

    `padding` is random, at least `padding_needed(len(nonces))` byte strings of 32, and `places` says at which
    leaf each nonce stands, at random too (default: in order). So clients learn of how many others wait only
    the power of two, which the path's length shows.
    """

    def __init__(
        self, nonces: Sequence[bytes], padding: Sequence[bytes], places: Sequence[int] | None = None
    ) -> None:
        if not 1 <= len(nonces) <= MAX_LEAVES:
            raise ValueError(f"a tree has 1 to {MAX_LEAVES} nonces")
        if any(len(nonce) != NONCE_BYTES for nonce in nonces):
            raise ValueError(f"a nonce has {NONCE_BYTES} bytes")
        needed = padding_needed(len(nonces))
        if len(padding) < needed:
            raise ValueError(f"{needed} padding leaves are needed")
        count = len(nonces) + needed
        chosen = range(len(nonces)) if places is None else places
        if len({*chosen}) != len(nonces) or not all(0 <= place < count for place in chosen):
            raise ValueError(f"each nonce has a place of its own, from 0 to {count - 1}")
        standing = dict(zip(chosen, nonces, strict=True))
        filling = iter(padding)
        self._levels = [
            [_leaf(standing[place]) if place in standing else next(filling) for place in range(count)]
        ]
        while len(self._levels[-1]) > 1:
            below = self._levels[-1]
            self._levels.append([_node(below[i], below[i + 1]) for i in range(0, len(below), 2)])

    @property
    def root(self) -> bytes:
        return self._levels[-1][0]

    def proof(self, index: int) -> Proof:
        """Return the path of the leaf at place `index`."""
        path = [level[index >> depth ^ 1] for depth, level in enumerate(self._levels[:-1])]
        return Proof(index, tuple(path))


def padding_needed(count: int) -> int:
    """Return how many leaves fill `count` up to the next power of two."""
    return int(2 ** (count - 1).bit_length()) - count


def _leaf(nonce: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + nonce).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()
