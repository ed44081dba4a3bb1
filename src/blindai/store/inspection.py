"""What lies in a store's folder against what its catalogue says: at each opening, and in depth on demand."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from blindai.errors import StoreError, StoreFault
from blindai.store import catalogue as catalogues
from blindai.store.catalogue import MODEL_SUFFIX, Catalogue, Entry
from blindai.store.folder import Folder
from blindai.store.seal import CHUNK_BYTES, Key, Kind, Place
from blindai.store.sealed_file import NEW_SUFFIX, Blob

# Names of ours, and of nobody who keeps files of their own in the folder.
_RANDOM = re.compile(r"[0-9a-f]{32}")
_WRONG_KEY = "name the key that it was sealed under; after `rotate --new-key` that is the new one"
_LOST = "put back a copy of the whole folder, or begin with an empty one: its models are lost then"
_REPAIR = "restore the file from a backup, or give the model up: blindai store repair"


def read_catalogue(folder: Folder, key: Key) -> Catalogue | None:
    """Return the catalogue, or None in a folder that never had one."""
    names = folder.names()
    if catalogues.NAME not in names:
        if any(_is_model(name) for name in names):
            raise StoreError(
                StoreFault.MISSING,
                f"{folder.path} holds sealed models and no catalogue",
                hint="restore the catalogue from a backup, or move the models away: without it nobody "
                "can open them",
            )
        return None
    with _told_what_to_do(), _catalogue_file(folder, key) as blob:
        if blob.size_bytes > catalogues.MAX_CATALOGUE_BYTES:
            raise StoreError(StoreFault.MALFORMED, "the catalogue is longer than any that is written")
        return catalogues.decode(b"".join(map(bytes, blob.pieces(CHUNK_BYTES))))


def _catalogue_file(folder: Folder, key: Key) -> Blob:
    return Blob(folder, catalogues.NAME, [key], catalogues.PLACE, unknown=StoreFault.WRONG_KEY)


@contextmanager
def _told_what_to_do() -> Iterator[None]:
    """Say what can be done about a catalogue that does not open: nothing can repair it."""
    try:
        yield
    except StoreError as error:
        if error.hint:
            raise
        hint = _WRONG_KEY if error.fault is StoreFault.WRONG_KEY else _LOST
        raise StoreError(error.fault, _plain(error), hint=hint) from error


def faults(folder: Folder, catalogue: Catalogue) -> Iterator[tuple[Entry, StoreError]]:
    """Yield the models whose files are not there or not what was put there, by their headers and sizes."""
    for entry in catalogue.entries.values():
        try:
            open_model(folder, catalogue, entry).close()
        except StoreError as error:
            yield entry, error


def open_model(folder: Folder, catalogue: Catalogue, entry: Entry) -> Blob:
    """Return a model's bytes. Errors, which are logged, call it by its id: its name is its owner's."""
    try:
        blob = Blob(folder, entry.file, catalogue.keys, Place(Kind.MODEL, entry.file))
    except StoreError as error:
        raise StoreError(error.fault, f"model {entry.model.id}: {_plain(error)}", hint=_REPAIR) from error
    if blob.size_bytes != entry.model.size_bytes:
        blob.close()
        raise StoreError(
            StoreFault.DAMAGED, f"model {entry.model.id}: {entry.file} has another size than it had"
        )
    return blob


def check_bytes(folder: Folder, catalogue: Catalogue, entry: Entry, progress: Callable[[int], None]) -> None:
    """Open every chunk of a model and compare its digest. Raises StoreError."""
    digest = hashlib.sha256()
    with open_model(folder, catalogue, entry) as blob:
        for piece in blob.pieces(CHUNK_BYTES):
            digest.update(piece)
            progress(len(piece))
    if digest.hexdigest() != entry.model.sha256:
        raise StoreError(StoreFault.DAMAGED, f"model {entry.model.id}: {entry.file} holds another model")


def leftovers(folder: Folder, catalogue: Catalogue) -> list[str]:
    """Return what an interrupted server left. Raises StoreError for models that another store sealed:
    with the wrong catalogue in the folder, everything would look left over."""
    for _, error in strangers(folder, catalogue):
        raise error
    return [name for name in sorted(folder.names()) if _is_new(name)] + _unnamed(folder, catalogue)


def strangers(folder: Folder, catalogue: Catalogue) -> Iterator[tuple[str, StoreError]]:
    """Yield the files that have a model's name and are neither in the catalogue nor left over from it."""
    for name in _unnamed(folder, catalogue):
        try:
            Blob(folder, name, catalogue.keys, Place(Kind.MODEL, name)).close()
        except StoreError as error:
            yield (
                name,
                StoreError(
                    error.fault,
                    f"{_plain(error)}, and the catalogue does not know it",
                    hint="move the file away; if there are many, the catalogue is another store's",
                ),
            )


def _unnamed(folder: Folder, catalogue: Catalogue) -> list[str]:
    known = catalogue.files
    return [name for name in sorted(folder.names()) if _is_model(name) and name not in known]


def _plain(error: StoreError) -> str:
    return str(error).removesuffix(f" [{error.fault}]")


def is_ours(name: str) -> bool:
    """Whether a file's name is one that a store gives."""
    return name == catalogues.NAME or _is_model(name) or _is_new(name)


def _is_model(name: str) -> bool:
    return _RANDOM.fullmatch(name.removesuffix(MODEL_SUFFIX)) is not None and name.endswith(MODEL_SUFFIX)


def _is_new(name: str) -> bool:
    return _RANDOM.fullmatch(name.removesuffix(NEW_SUFFIX)) is not None and name.endswith(NEW_SUFFIX)
