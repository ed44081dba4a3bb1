"""The catalogue: one sealed file with everything that the store knows but the models' bytes.

One file, because what lies in files of its own can be taken away or put back alone: without its binding a
namespace would be the host's for the asking, and an old record would make a private model public again.
Here the host can only put back the whole catalogue, and `revision` is what a hardware counter would catch
that with. It holds the keys of the models' files too: a change of keys is one rename.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from blindai.errors import RequestError, StoreError, StoreFault
from blindai.store import record
from blindai.store.record import StoredModel
from blindai.store.seal import KEY_BYTES, Key, Kind, Place
from blindai.wire import strict_json
from blindai.wire.access import is_key_id
from blindai.wire.model_name import ModelName, check_namespace

NAME = "catalogue"
PLACE = Place(Kind.CATALOGUE, NAME)
MODEL_SUFFIX = ".model"
MAX_CATALOGUE_BYTES = 256 * 1024 * 1024
MAX_BOUND_KEYS = 1024
_FORMAT = 1


@dataclass(frozen=True)
class Entry:
    """A model and the file that holds its bytes; models of one owner with the same bytes share a file."""

    model: StoredModel
    file: str


@dataclass(frozen=True)
class Binding:
    """Whose a namespace is: `keys` hold it, `invited` are let in by one of them and have not come yet."""

    keys: tuple[str, ...] = ()
    invited: tuple[str, ...] = ()


UNBOUND = Binding()


@dataclass(frozen=True)
class Catalogue:
    """The state of a store. Never changed: a change makes the next one."""

    keys: tuple[Key, ...]  # of the models' files; new ones are sealed under the last
    revision: int = 0
    served_seconds: int = 0
    bindings: Mapping[str, Binding] = field(default_factory=dict)
    entries: Mapping[ModelName, Entry] = field(default_factory=dict)

    @property
    def files(self) -> dict[str, int]:
        """The files that hold models, and how many bytes are in each, before sealing."""
        return {entry.file: entry.model.size_bytes for entry in self.entries.values()}

    def file_of(self, namespace: str, sha256: str) -> str | None:
        """Return the file that holds these bytes for this owner."""
        return next((entry.file for entry in self.entries.values() if _holds(entry, namespace, sha256)), None)

    def with_model(self, model: StoredModel, file: str) -> Catalogue:
        """Add or replace a model. Others of its owner with the same bytes move to `file` with it."""
        entries = {
            name: replace(entry, file=file) if _holds(entry, model.name.namespace, model.sha256) else entry
            for name, entry in self.entries.items()
        }
        return replace(self, entries={**entries, model.name: Entry(model, file)})

    def without(self, names: Iterable[ModelName]) -> Catalogue:
        gone = set(names)
        return replace(self, entries={name: e for name, e in self.entries.items() if name not in gone})

    def with_binding(self, namespace: str, binding: Binding) -> Catalogue:
        bindings = {**self.bindings, namespace: binding}
        return replace(self, bindings={name: held for name, held in bindings.items() if held.keys})

    def with_uses(self, used: Mapping[str, int], served_seconds: int) -> Catalogue:
        """Note when models, by id, were last used; those that are gone do not matter."""
        entries = {
            name: replace(
                entry,
                model=replace(entry.model, last_used=used[entry.model.id], last_used_served=served_seconds),
            )
            if entry.model.id in used
            else entry
            for name, entry in self.entries.items()
        }
        return replace(self, entries=entries)

    def next(self) -> Catalogue:
        return replace(self, revision=self.revision + 1)


def encode(catalogue: Catalogue) -> bytes:
    """Write a catalogue as lines of JSON; each is read by the strict decoder, whose limits fit a line."""
    lines: list[dict[str, Any]] = [
        {
            "format": _FORMAT,
            "revision": catalogue.revision,
            "served_seconds": catalogue.served_seconds,
            "keys": [key.secret.hex() for key in catalogue.keys],
        }
    ]
    lines += [
        {"namespace": name, "keys": list(binding.keys), "invited": list(binding.invited)}
        for name, binding in sorted(catalogue.bindings.items())
    ]
    lines += [
        {"model": record.encode(entry.model), "file": entry.file}
        for _, entry in sorted(catalogue.entries.items())
    ]
    data = b"\n".join(json.dumps(line, separators=(",", ":")).encode() for line in lines)
    if len(data) > MAX_CATALOGUE_BYTES:
        raise StoreError(StoreFault.FULL, f"the catalogue would have more than {MAX_CATALOGUE_BYTES} bytes")
    return data


def decode(data: bytes) -> Catalogue:
    """Read a catalogue whose seal was checked. StoreError (malformed): another version wrote it."""
    try:
        return _decode(data)
    except (ValueError, KeyError, TypeError) as exc:
        raise StoreError(
            StoreFault.MALFORMED,
            "the catalogue was not written by this version of blindai",
            hint="open it with the version that wrote it",
        ) from exc


def check_binding(namespace: str, binding: Binding) -> None:
    """Raise StoreError (malformed) unless a binding can be read back. "" is the server's own shelf."""
    keys = (*binding.keys, *binding.invited)
    try:
        if namespace:
            check_namespace(namespace)
    except RequestError as exc:
        raise StoreError(StoreFault.MALFORMED, str(exc)) from exc
    if len(keys) > MAX_BOUND_KEYS or len(set(keys)) != len(keys) or not all(map(is_key_id, keys)):
        raise StoreError(
            StoreFault.MALFORMED, f"a namespace is bound to at most {MAX_BOUND_KEYS} different key ids"
        )


def _decode(data: bytes) -> Catalogue:
    first, *rest = [
        strict_json.decode_object(x, max_bytes=record.MAX_RECORD_BYTES) for x in data.split(b"\n")
    ]
    head = strict_json.members(first, "the catalogue", {"format", "revision", "served_seconds", "keys"})
    keys = tuple(Key(bytes.fromhex(secret)) for secret in head["keys"])
    if head["format"] != _FORMAT or not keys or any(len(key.secret) != KEY_BYTES for key in keys):
        raise ValueError("another format")
    if any(type(head[name]) is not int or head[name] < 0 for name in ("revision", "served_seconds")):
        raise ValueError("a count that is none")
    bindings: dict[str, Binding] = {}
    entries: dict[ModelName, Entry] = {}
    for line in rest:
        if "model" in line:
            model = record.decode(line["model"])
            if not isinstance(line["file"], str):
                raise ValueError("a file without a name")
            entries[model.name] = Entry(model, line["file"])
        else:
            binding = Binding(tuple(line["keys"]), tuple(line["invited"]))
            check_binding(line["namespace"], binding)
            bindings[line["namespace"]] = binding
    return Catalogue(keys, head["revision"], head["served_seconds"], bindings, entries)


def _holds(entry: Entry, namespace: str, sha256: str) -> bool:
    return entry.model.name.namespace == namespace and entry.model.sha256 == sha256
