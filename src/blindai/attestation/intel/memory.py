"""What was verified once and cannot change: remembered by every byte that it followed from.

A vendor's collateral is the same for days and for all of its machines, and checking it is most of a
verification. Remembered is only that signatures and revocation hold, never a verdict: trust in the root, all
dates and the policy are judged anew each time, by whoever asks.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Memory(Generic[K, V]):
    """The newest few values, by keys that hold the very bytes, not a digest of them.

    Threads may share one, without a lock: what is there never changes, it is replaced as a whole. Of two who
    keep something at the same moment, one may be forgotten.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._values: dict[K, V] = {}

    def get(self, key: K) -> V | None:
        return self._values.get(key)

    def keep(self, key: K, value: V) -> None:
        """Remember `value`; the oldest is forgotten where there are too many."""
        others = [item for item in self._values.items() if item[0] != key]
        self._values = dict([*others[max(0, len(others) - self._size + 1) :], (key, value)])

    def forget(self) -> None:
        """Forget everything, as if the process had met no vendor yet."""
        self._values = {}
