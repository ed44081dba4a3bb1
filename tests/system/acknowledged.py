"""What a server may hold after it was killed: what it acknowledged, and at most one change more per name."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from tests.system.weights import Weights


@dataclass(frozen=True)
class Kept:
    """One model, and who may use it."""

    weights: Weights
    visibility: str
    shared_with: tuple[str, ...] = ()

    def shown_by(self, entry: Mapping) -> bool:
        """Whether an entry of the index is wholly this one."""
        return (
            entry["sha256"] == self.weights.sha256
            and entry["size_bytes"] == len(self.weights.content)
            and entry["visibility"] == self.visibility
            and tuple(entry["shared_with"]) == self.shared_with
        )


class Acknowledged:
    """Name -> model, as far as the server has said so. Each name is changed by one thread at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._certain: dict[str, Kept] = {}
        self._asked: dict[str, Kept | None] = {}
        self._sent: dict[Weights, None] = {}
        self.outcomes: Counter[str] = Counter()

    def kept(self, name: str) -> Kept | None:
        return self._certain.get(name)

    @property
    def sent(self) -> list[Weights]:
        """All models that were ever sent, whatever became of them."""
        return list(self._sent)

    @contextmanager
    def asking(self, name: str, outcome: Kept | None) -> Iterator[None]:
        """Ask for a change; None deletes. Leaving the block without an error means it was acknowledged."""
        with self._lock:
            self._asked[name] = outcome
            if outcome is not None:
                self._sent[outcome.weights.forget()] = None
        yield
        with self._lock:
            del self._asked[name]
            self._set(name, outcome)

    def check(self, index: list[Mapping]) -> dict[str, Kept]:
        """Return what there is by the index, which has to be what there may be."""
        shown = {entry["name"]: entry for entry in index}
        assert len(shown) == len(index)
        unheard_of = shown.keys() - self._certain.keys() - self._asked.keys()
        assert not unheard_of, f"nobody put these there, or they were deleted: {unheard_of}"
        for name in self._certain.keys() | self._asked.keys():
            self._check_one(name, shown.get(name))
        self._asked.clear()
        return dict(self._certain)

    def _check_one(self, name: str, entry: Mapping | None) -> None:
        before = self._certain.get(name)
        allowed = [before, self._asked[name]] if name in self._asked else [before]
        for kept in allowed:
            if kept is None if entry is None else kept is not None and kept.shown_by(entry):
                if name in self._asked and kept != before:
                    self.outcomes["unacknowledged, and done"] += 1
                elif name in self._asked:
                    self.outcomes["unacknowledged, and not done"] += 1
                self._set(name, kept)
                return
        raise AssertionError(f"{name} is {entry}, and should be one of {allowed}")

    def _set(self, name: str, kept: Kept | None) -> None:
        if kept is None:
            self._certain.pop(name, None)
        else:
            self._certain[name] = kept
