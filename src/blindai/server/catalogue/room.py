"""Whether there is room for one more model: on the server, and in its owner's share."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from blindai.errors import RequestCode, RequestError
from blindai.runtime.shelf import Shelf
from blindai.server.callers.caller import Caller
from blindai.server.catalogue.entry import Entry, ModelLimits
from blindai.wire.model_name import ModelName


@dataclass(frozen=True)
class CatalogueLimits:
    """Of the server, and of each namespace whose caller has none of its own. Zero of the latter: none."""

    max_models: int
    max_stored_bytes: int
    caller_max_models: int = 0
    caller_max_model_bytes: int = 0
    model: ModelLimits = dataclasses.field(default_factory=ModelLimits)


class Room:
    """`fixed`: models cannot be unloaded, so that all of them need their place in memory at once."""

    def __init__(self, limits: CatalogueLimits, shelf: Shelf, *, fixed: bool) -> None:
        self._limits = limits
        self._shelf = shelf
        self._fixed = fixed

    def check(
        self,
        caller: Caller,
        name: ModelName,
        size_bytes: int,
        entries: Sequence[Entry],
        replaced: Entry | None,
    ) -> None:
        """Raise RequestError (storage-full, quota-exceeded) unless a model of this size fits."""
        gone = 0 if replaced is None else replaced.record.size_bytes
        self.check_count(len(entries) + (replaced is None))
        self._shelf.check_room(size_bytes - (gone if self._fixed else 0))
        count, held = usage(entries, name.namespace)
        most = caller.quota.max_models or self._limits.caller_max_models
        if most and count + (replaced is None) > most:
            raise _over_quota(f"you may have at most {most} models")
        most = caller.quota.max_model_bytes or self._limits.caller_max_model_bytes
        if most and held - gone + size_bytes > most:
            raise _over_quota(f"your models may have at most {most} bytes in all")

    def check_stored(self, entries: Sequence[Entry], replaced: Entry | None, size_bytes: int) -> None:
        """Raise RequestError (storage-full) if so many bytes more were too many for the server."""
        gone = 0 if replaced is None else replaced.record.size_bytes
        if stored_bytes(entries) - gone + size_bytes > self._limits.max_stored_bytes:
            raise _full(f"the server keeps at most {self._limits.max_stored_bytes} bytes of models")

    def check_count(self, count: int) -> None:
        """Raise RequestError (storage-full) if the server would have too many models."""
        if count > self._limits.max_models:
            raise _full(f"the server holds at most {self._limits.max_models} models")


def stored_bytes(entries: Sequence[Entry]) -> int:
    """Return the bytes of all models that were uploaded."""
    return sum(entry.record.size_bytes for entry in entries if not entry.startup)


def usage(entries: Sequence[Entry], namespace: str) -> tuple[int, int]:
    """Return how many models a namespace has, and their bytes. Those of the start count for nobody."""
    sizes = [
        entry.record.size_bytes
        for entry in entries
        if entry.record.name.namespace == namespace and not entry.startup
    ]
    return len(sizes), sum(sizes)


def _full(message: str) -> RequestError:
    return RequestError(RequestCode.STORAGE_FULL, f"{message}: delete one first")


def _over_quota(message: str) -> RequestError:
    return RequestError(RequestCode.QUOTA_EXCEEDED, f"{message}: delete one first")
