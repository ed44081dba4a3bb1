"""How models come in: uploaded by their owners, or named by the operator at the start."""

from __future__ import annotations

import contextlib

from blindai.errors import RequestError
from blindai.runtime.engine import LoadedModel
from blindai.server.callers.caller import Caller
from blindai.server.catalogue.entry import Entry, ModelLimits, default_sharing, new_record
from blindai.server.catalogue.intake import Intake
from blindai.server.catalogue.namespaces import check_may_upload
from blindai.server.catalogue.refusals import fixed
from blindai.server.catalogue.room import CatalogueLimits, Room
from blindai.server.catalogue.stock import Stock
from blindai.store.catalogue import UNBOUND, Binding
from blindai.store.record import StoredModel
from blindai.wire.access import Sharing
from blindai.wire.model_name import ModelName


class Admission:
    def __init__(self, stock: Stock, limits: CatalogueLimits) -> None:
        self._stock = stock
        self._limits = limits
        self._room = Room(limits, stock.shelf, fixed=not stock.keeping.loads_again)

    def check(self, caller: Caller, text: str, size_bytes: int, elsewhere_bytes: int = 0) -> ModelName:
        """Return the name that a model would get. RequestError if the caller could not upload it.

        `elsewhere_bytes` arrive at this moment from other callers.
        """
        name = ModelName.parse(text, caller.namespace)
        self._check(caller, name, size_bytes, elsewhere_bytes)
        return name

    def intake(self, name: ModelName) -> Intake:
        """Begin an upload. Blocks."""
        return self._stock.keeping.intake(name.namespace)

    def commit(
        self, caller: Caller, name: ModelName, intake: Intake, wanted: Sharing | None
    ) -> tuple[Entry, Entry | None]:
        """Load what has arrived and make it a model; return it, and the one it replaced. Blocks.

        Nothing has changed if this raises RequestError.
        """
        self._check(caller, name, intake.size_bytes)
        model = intake.load(self._stock.engine)
        try:
            return self._enter(caller, name, intake, wanted, model)
        except BaseException:
            model.close()
            raise

    def add_startup(
        self,
        name: ModelName,
        model: LoadedModel,
        sha256: str,
        size_bytes: int,
        sharing: Sharing,
        limits: ModelLimits,
    ) -> None:
        """Hold a model of the operator's for as long as the server runs. Raises RequestError."""
        if self._stock.entries.get(name) is not None:
            raise fixed("the store has a model of this name: give the model of the start another one")
        self._room.check_count(len(self._stock.entries.all()) + 1)
        record = self._record(name, sha256, size_bytes, sharing, model)
        self._stock.shelf.put(record.id, model, size_bytes, pinned=True)
        self._stock.entries.put(Entry(record, limits, startup=True))

    def _check(self, caller: Caller, name: ModelName, size_bytes: int, elsewhere_bytes: int = 0) -> None:
        check_may_upload(caller, name, self._stock.keeping.binding(name.namespace))
        replaced = self._stock.entries.get(name)
        if replaced is not None and replaced.startup:
            raise fixed("a model of this name was given when the server started: choose another name")
        entries = self._stock.entries.all()
        self._room.check_stored(entries, replaced, size_bytes + elsewhere_bytes)
        self._room.check(caller, name, size_bytes, entries, replaced)

    def _enter(
        self, caller: Caller, name: ModelName, intake: Intake, wanted: Sharing | None, model: LoadedModel
    ) -> tuple[Entry, Entry | None]:
        with self._stock.entries.changes:
            # Again: others may have come in while this one was loaded.
            self._check(caller, name, intake.size_bytes)
            replaced = self._stock.entries.get(name)
            sharing = wanted or default_sharing(caller, replaced)
            record = self._record(name, intake.sha256, intake.size_bytes, sharing, model)
            self._stock.shelf.put(
                record.id,
                model,
                record.size_bytes,
                pinned=not self._stock.keeping.loads_again,
                replacing=None if replaced is None else replaced.key,
            )
            try:
                self._keep(caller, intake, record)
            except BaseException:
                self._stock.shelf.drop(record.id)
                raise
            entry = Entry(record, self._limits.model)
            self._stock.entries.put(entry)
        if replaced is not None:
            self._stock.shelf.drop(replaced.key)
        return entry, replaced

    def _keep(self, caller: Caller, intake: Intake, record: StoredModel) -> None:
        """Commit a model, after its namespace became its uploader's: else anybody could take both."""
        namespace = record.name.namespace
        first = caller.is_authenticated and self._stock.keeping.binding(namespace) == UNBOUND
        if first:
            self._stock.keeping.bind(namespace, Binding((caller.key_id,)))
        try:
            self._stock.keeping.commit(intake, record)
        except BaseException:
            if first:
                with contextlib.suppress(RequestError):  # the disk may fail twice; the first time is told
                    self._stock.keeping.bind(namespace, UNBOUND)
            raise

    def _record(
        self, name: ModelName, sha256: str, size_bytes: int, sharing: Sharing, model: LoadedModel
    ) -> StoredModel:
        return new_record(
            name, sha256, size_bytes, sharing, model, now=self._stock.now(), served=self._stock.served()
        )
