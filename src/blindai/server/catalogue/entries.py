"""The table of models by name, and the one lock for those who change it."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterable
from typing import Any

from blindai.server.catalogue.entry import Entry
from blindai.server.catalogue.refusals import fixed, not_found
from blindai.wire.model_name import ModelName


class Entries:
    """Name -> model.

    `changes` is held by whoever changes something, also while that goes to the disk. Who reads, on the event
    loop above all, never waits for it: one look into a dictionary is whole by itself.
    """

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._by_name = {entry.record.name: entry for entry in entries}
        self.changes = threading.Lock()

    def get(self, name: ModelName) -> Entry | None:
        return self._by_name.get(name)

    def all(self) -> list[Entry]:
        """Return all models, by name."""
        return sorted(self._by_name.values(), key=lambda entry: entry.record.name)

    def put(self, entry: Entry) -> None:
        self._by_name[entry.record.name] = entry

    def drop(self, entry: Entry) -> None:
        del self._by_name[entry.record.name]

    def change(self, entry: Entry, **changes: Any) -> Entry:
        """Put a new record in the place of the old one."""
        changed = dataclasses.replace(entry, record=dataclasses.replace(entry.record, **changes))
        self.put(changed)
        return changed

    def present(self, entry: Entry) -> Entry:
        """Return what is there now: between finding a model and using it, another may take its name.

        Raises RequestError (model-not-found).
        """
        current = self.get(entry.record.name)
        if current is None or current.key != entry.key:
            raise not_found()
        return current

    def changeable(self, entry: Entry) -> Entry:
        """As `present`, for a model that callers may change. Raises RequestError (model-fixed) for others."""
        current = self.present(entry)
        if current.startup:
            raise fixed("this model was given when the server started: it goes with the server")
        return current
