"""Which models there are, what each caller may do with them, and how they are lent, shared and deleted.

To a caller who may not see a model, it does not exist: the same error, by the same way through the code.
All methods may be called from several threads; those that say so block.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping

from blindai.errors import RequestError
from blindai.runtime.engine import LoadedModel
from blindai.server.callers.access import Access, Action, allows, belongs
from blindai.server.callers.caller import Caller
from blindai.server.catalogue.entry import VERSION, Entry
from blindai.server.catalogue.refusals import fixed, forbidden, not_found
from blindai.server.catalogue.room import usage
from blindai.server.catalogue.stock import Stock
from blindai.wire.access import Sharing
from blindai.wire.model_name import ModelName


class Catalogue:
    def __init__(self, stock: Stock) -> None:
        self._stock = stock
        self._used: dict[ModelName, tuple[int, int]] = {}

    # What a caller may know

    def find(self, caller: Caller, text: str, version: str | None, action: Action) -> Entry:
        """Return the model that `text` means to this caller. Raises RequestError.

        A name without a namespace is the caller's own model, or else the server's.
        """
        for name in _meant(caller, text):
            entry = self._stock.entries.get(name)
            if entry is None or version not in (None, VERSION):
                continue
            access = self._access(entry)
            if allows(caller, action, access):
                return entry
            if allows(caller, Action.SEE, access):
                raise forbidden("this model is not yours to use in this way")
        raise not_found()

    def visible(self, caller: Caller) -> tuple[Entry, ...]:
        """Return the models that this caller may know of, by name."""
        return tuple(
            entry for entry in self._stock.entries.all() if allows(caller, Action.SEE, self._access(entry))
        )

    def may(self, caller: Caller, action: Action, entry: Entry) -> bool:
        return allows(caller, action, self._access(entry))

    def usage_of(self, caller: Caller) -> tuple[int, int]:
        """Return how many models this caller has, and their bytes; none where the namespace is not theirs."""
        bound = self._stock.keeping.binding(caller.namespace).keys
        if not belongs(caller, Access(caller.namespace, bound_keys=bound)):
            return 0, 0
        return usage(self._stock.entries.all(), caller.namespace)

    # Running models

    @contextlib.contextmanager
    def lend(self, entry: Entry) -> Iterator[LoadedModel]:
        """Lend the loaded model, loading it if it must. Blocks."""
        record = entry.record
        with self._stock.shelf.lend(entry.key, record.size_bytes, lambda: self._loaded(entry)) as model:
            self._used[record.name] = (self._stock.now(), self._stock.served())
            yield model

    def load(self, entry: Entry) -> None:
        """Load a model, so that the next request need not wait for it. Blocks."""
        with self.lend(entry):
            pass

    def preload(self) -> None:
        """Load every model that there is room for. Blocks. Raises RequestError for one that does not load."""
        for entry in self._stock.entries.all():
            self.load(entry)

    def is_loaded(self, entry: Entry) -> bool:
        return self._stock.shelf.holds(entry.key)

    def unload(self, entry: Entry) -> None:
        """Free the memory of a model; the next request loads it again."""
        if entry.startup or not self._stock.keeping.loads_again:
            raise fixed("this model is kept in memory only: unloading it would lose it")
        self._stock.shelf.drop(entry.key)

    # Changing what is there

    def remove(self, entry: Entry, caller: Caller | None) -> None:
        """Delete a model for a caller, or for the server (None). Blocks. Those who run it finish."""
        with self._stock.entries.changes:
            current = self._stock.entries.changeable(entry)
            self._check_still(caller, Action.DELETE, current)
            self._stock.keeping.remove(current.record.name)
            self._stock.entries.drop(entry)
            self._used.pop(entry.record.name, None)
        self._stock.shelf.drop(entry.key)

    def share(self, entry: Entry, sharing: Sharing, caller: Caller) -> Entry:
        """Change who may use a model. Blocks."""
        with self._stock.entries.changes:
            current = self._stock.entries.changeable(entry)
            self._check_still(caller, Action.SHARE, current)
            changed = dataclasses.replace(
                current.record, visibility=sharing.visibility, shared_with=sharing.shared_with
            )
            self._stock.keeping.update(changed)
            current = dataclasses.replace(current, record=changed)
            self._stock.entries.put(current)
            return current

    # What nobody uses

    def keep_uses(self, write: Callable[[Mapping[str, int]], None]) -> None:
        """Give `write` when models (by id) were last used since the last time, in Unix seconds. Blocks.

        If it raises, they are kept for the next time: a model that was used must not look as if it were not.
        """
        with self._stock.entries.changes:
            used, self._used = self._used, {}
            entries = []
            for name, (at, served) in used.items():
                entry = self._stock.entries.get(name)
                if entry is not None:
                    entries.append(self._stock.entries.change(entry, last_used=at, last_used_served=served))
        try:
            write({entry.record.id: entry.record.last_used for entry in entries if not entry.startup})
        except BaseException:
            self._used = {**used, **self._used}
            raise

    def last_used(self, entry: Entry) -> int:
        """Return when a model was last used, in Unix seconds: also what is not written down yet."""
        at, _ = self._used.get(entry.record.name, (0, 0))
        return max(at, entry.record.last_used)

    def remove_unused(self, for_seconds: int) -> tuple[Entry, ...]:
        """Delete the models that nobody used for that long while the server ran; return them. Blocks.

        The wall clock has no say: a host that sets it forward must not empty the store.
        """
        before = self._stock.served() - for_seconds
        removed = []
        for entry in self._stock.entries.all():
            recent = entry.record.last_used_served >= before or entry.record.name in self._used
            if not entry.startup and not recent:
                with contextlib.suppress(RequestError):  # it may go, or be replaced, at this moment
                    self.remove(entry, None)
                    removed.append(entry)
        return tuple(removed)

    def _check_still(self, caller: Caller | None, action: Action, entry: Entry) -> None:
        """Ask again: a key may be removed while what it asked for waits for the disk."""
        if caller is not None and not self.may(caller, action, entry):
            raise not_found()

    def _loaded(self, entry: Entry) -> LoadedModel:
        """Load a model from where it is kept, unless it went while its request was on its way."""
        try:
            model = self._stock.keeping.load(entry.record, self._stock.engine)
        except RequestError:
            self._stock.entries.present(entry)
            raise
        try:
            self._stock.entries.present(entry)
        except RequestError:
            model.close()
            raise
        return model

    def _access(self, entry: Entry) -> Access:
        return entry.access(self._stock.keeping.binding(entry.record.name.namespace).keys)


def _meant(caller: Caller, text: str) -> Iterator[ModelName]:
    try:
        name = ModelName.parse(text)
    except RequestError:
        return  # no model has such a name
    if not name.namespace and caller.namespace:
        yield ModelName(caller.namespace, name.name)
    yield name
