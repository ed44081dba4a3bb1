"""The sealed store: models and what is known of them, on a disk that may lie, fail and lose its power.

A change is there when the catalogue that says so has been renamed into place and the folder synced: at
every instant the store is as it was before a call or as it is after it. Bytes are on the disk before the
catalogue names them, and are removed after it has ceased to.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from blindai.errors import StoreError, StoreFault
from blindai.store import catalogue as catalogues
from blindai.store import inspection, record, rotation
from blindai.store import repair as repairing
from blindai.store.catalogue import Binding, Entry
from blindai.store.folder import Folder
from blindai.store.ledger import Ledger
from blindai.store.record import StoredModel as StoredModel
from blindai.store.repair import Finding
from blindai.store.rotation import Progress
from blindai.store.seal import KEY_BYTES, Key, Kind, Place
from blindai.store.sealed_file import Blob, NewFile, Random
from blindai.store.staging import Staged, Staging
from blindai.wire.model_name import ModelName


class Store:
    """One open store. Every method may be called from any thread, blocks, and raises StoreError."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._lock = threading.RLock()
        self._pending: set[NewFile] = set()

    @classmethod
    def open(
        cls,
        path: Path,
        key: bytes,
        *,
        random: Random = secrets.token_bytes,
        folder: Callable[[Path], Folder] = Folder.open,
    ) -> Self:
        """Lock the store, check it, and remove what an interrupted server left. A first opening makes it."""
        if len(key) != KEY_BYTES:
            raise ValueError(f"a sealing key has {KEY_BYTES} bytes")
        opened = folder(path)
        try:
            ledger = Ledger.read(opened, Key(key), random) or Ledger.found(opened, Key(key), random)
            for _, error in inspection.faults(opened, ledger.catalogue):
                raise error
            _sweep(ledger)
        except BaseException:
            opened.close()
            raise
        return cls(ledger)

    def close(self) -> None:
        """Give up what is staged and unlock the folder. What is being read can be read to its end."""
        with self._lock:
            for file in self._unsettled():
                file.discard()
            self._ledger.folder.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # What is there.

    def models(self) -> tuple[StoredModel, ...]:
        return tuple(entry.model for _, entry in sorted(self._ledger.catalogue.entries.items()))

    def read(self, model: StoredModel) -> Blob:
        with self._lock:
            file = self._ledger.catalogue.file_of(model.name.namespace, model.sha256)
            if file is None:
                raise _missing(model.id)
            return inspection.open_model(self._ledger.folder, self._ledger.catalogue, Entry(model, file))

    # Putting a model there: stage, finish, look at it, commit.

    def stage(self, namespace: str) -> Staging:
        with self._lock:
            self._ledger.check_writable()
            place = Place(Kind.MODEL, self._ledger.random(16).hex() + catalogues.MODEL_SUFFIX)
            file = self._ledger.new_file(place)
            self._pending = {*self._unsettled(), file}
            return Staging(file, namespace)

    def read_staged(self, staged: Staged) -> Blob:
        with self._lock:
            return Blob(self._ledger.folder, staged.file.name, self._ledger.catalogue.keys, staged.file.place)

    def commit(self, staged: Staged, model: StoredModel) -> None:
        """Make a model of what was staged, in the place of one of that name. When this returns it is
        there for good; when it raises, it is not (unless the error says that nobody can know)."""
        record.check(model)
        described = (model.name.namespace, model.sha256, model.size_bytes)
        if described != (staged.namespace, staged.sha256, staged.size_bytes):
            raise ValueError("the model describes other bytes than were staged")
        with self._lock, _discarded_on_failure(staged):
            self._ledger.check_writable()
            staged.file.put()
            file = staged.file.place.name
            try:
                self._ledger.folder.sync()
                self._ledger.replace(self._ledger.catalogue.with_model(model, file))
            except BaseException:
                if not self._ledger.in_doubt:
                    self._ledger.remove_file(file)
                raise

    # Changing what is there.

    def update(self, *models: StoredModel) -> None:
        """Put new records in the place of those with the same names, ids and bytes."""
        with self._lock:
            catalogue = self._ledger.catalogue
            for model in models:
                record.check(model)
                entry = catalogue.entries.get(model.name)
                if entry is None or _identity(entry.model) != _identity(model):
                    raise _missing(model.id)
                catalogue = catalogue.with_model(model, entry.file)
            self._ledger.replace(catalogue)

    def remove(self, *names: ModelName) -> None:
        with self._lock:
            for name in names:
                if name not in self._ledger.catalogue.entries:
                    raise StoreError(StoreFault.MISSING, "the store has no model of this name")
            self._ledger.replace(self._ledger.catalogue.without(names))

    def bound_keys(self, namespace: str) -> tuple[str, ...]:
        """Return the key ids that a namespace belongs to; none before it is bound."""
        return self.binding(namespace).keys

    def binding(self, namespace: str) -> Binding:
        return self._ledger.catalogue.bindings.get(namespace, catalogues.UNBOUND)

    def bind(self, namespace: str, keys: tuple[str, ...], invited: tuple[str, ...] = ()) -> None:
        """Say whose a namespace is. No keys at all unbind it."""
        binding = Binding(keys, invited)
        catalogues.check_binding(namespace, binding)
        with self._lock:
            self._ledger.replace(self._ledger.catalogue.with_binding(namespace, binding))

    @property
    def revision(self) -> int:
        """How often the store was changed: what a hardware counter tells a roll-back of the store by."""
        return self._ledger.catalogue.revision

    @property
    def served_seconds(self) -> int:
        """How long the server has run, over all its starts: a clock that nobody can set."""
        return self._ledger.catalogue.served_seconds

    def tick(self, served_seconds: int, used: Mapping[str, int] | None = None) -> None:
        """Write down how long the server has run, and when (Unix seconds) models, by id, were last used."""
        with self._lock:
            now = max(served_seconds, self.served_seconds)
            catalogue = self._ledger.catalogue.with_uses(used or {}, now)
            self._ledger.replace(replace(catalogue, served_seconds=now))

    def rotate(self, new_key: bytes | None = None, *, progress: Progress | None = None) -> None:
        """Seal everything under new keys, and the store under `new_key` if there is one.

        After an interruption the store opens under `new_key` if the rotation had begun, and rotating
        again, without a new key, goes on. Everything else waits meanwhile.
        """
        with self._lock:
            if self._unsettled():
                raise StoreError(
                    StoreFault.IN_USE, "a model is being uploaded", hint="rotate after it is done"
                )
            rotation.rotate(self._ledger, new_key, progress)

    def _unsettled(self) -> set[NewFile]:
        return {file for file in self._pending if not file.settled}


def examine(
    path: Path, key: bytes, *, repair: bool = False, progress: Progress | None = None
) -> tuple[Finding, ...]:
    """Open every chunk of a store that nobody uses, and say of each model how it is. `repair` gives up the
    models that cannot be read, so that the store opens again; their files stay, under another name."""
    folder = Folder.open(path)
    try:
        ledger = Ledger.read(folder, Key(key), secrets.token_bytes)
        if ledger is None:
            return ()
        findings = repairing.examine(ledger, progress)
        if repair and any(finding.error for finding in findings):
            repairing.give_up(ledger, findings)
        return findings
    finally:
        folder.close()


def _sweep(ledger: Ledger) -> None:
    try:
        ledger.sweep()
    except StoreError as error:
        if error.fault != StoreFault.READ_ONLY:  # which can be read all the same
            raise


def _identity(model: StoredModel) -> tuple[str, str, int]:
    return model.id, model.sha256, model.size_bytes


def _missing(model_id: str) -> StoreError:
    return StoreError(StoreFault.MISSING, f"the store has no model {model_id} with these bytes")


@contextmanager
def _discarded_on_failure(staged: Staged) -> Iterator[None]:
    try:
        yield
    except BaseException:
        staged.file.discard()
        raise
