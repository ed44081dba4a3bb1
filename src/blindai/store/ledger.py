"""The store's current catalogue, and the one way in which it becomes the next.

A change is there when the new catalogue has been renamed into place and the folder synced: at every
instant the store is as it was before a change or as it is after it.
"""

from __future__ import annotations

from contextlib import suppress

from blindai.errors import StoreError, StoreFault
from blindai.store import catalogue as catalogues
from blindai.store import inspection
from blindai.store.catalogue import Catalogue
from blindai.store.folder import Folder
from blindai.store.seal import KEY_BYTES, Key, Place
from blindai.store.sealed_file import NewFile, Random


class Ledger:
    """Not for two threads at once: the store locks."""

    def __init__(self, folder: Folder, key: Key, catalogue: Catalogue, random: Random) -> None:
        self.folder, self.key, self.catalogue, self.random = folder, key, catalogue, random
        self.in_doubt = False  # whether the disk holds this catalogue or the next, nobody knows

    @classmethod
    def read(cls, folder: Folder, key: Key, random: Random) -> Ledger | None:
        """Open the catalogue; None in a folder that never had one."""
        catalogue = inspection.read_catalogue(folder, key)
        return None if catalogue is None else cls(folder, key, catalogue, random)

    @classmethod
    def found(cls, folder: Folder, key: Key, random: Random) -> Ledger:
        """Begin a store in a folder that has none."""
        ledger = cls(folder, key, Catalogue((Key(random(KEY_BYTES)),)), random)
        ledger.replace(ledger.catalogue)
        return ledger

    def new_file(self, place: Place) -> NewFile:
        """Begin a file under the newest key."""
        return NewFile(self.folder, self.catalogue.keys[-1], place, self.random)

    def replace(self, catalogue: Catalogue, *, sealing: Key | None = None) -> None:
        """Make `catalogue` the store's, on the disk and here. Removes the files that it no longer names."""
        self.check_writable()
        key = sealing or self.key
        catalogue = catalogue.next()
        new = NewFile(self.folder, key, catalogues.PLACE, self.random)
        try:
            new.write(catalogues.encode(catalogue))
            new.finish()
            new.put()
        finally:
            new.discard()
        # A restart may find the new catalogue from here on, and the old one until the folder was synced.
        self.in_doubt = True
        try:
            self.folder.sync()
        except StoreError as error:
            raise StoreError(
                StoreFault.UNAVAILABLE,
                "the disk failed at the last step: whether the change was stored shows after a restart",
                hint="look at the disk, then restart the server",
            ) from error
        self.in_doubt = False
        unnamed = self.catalogue.files.keys() - catalogue.files.keys()
        self.catalogue, self.key = catalogue, key
        for file in unnamed:
            self.remove_file(file)

    def check_writable(self) -> None:
        if self.in_doubt:
            raise StoreError(
                StoreFault.UNAVAILABLE,
                "the store takes no changes since its disk failed",
                hint="look at the disk, then restart the server",
            )

    def sweep(self) -> None:
        """Remove what an interrupted server left."""
        for name in inspection.leftovers(self.folder, self.catalogue):
            self.folder.unlink(name)

    def remove_file(self, name: str) -> None:
        with suppress(StoreError):  # removed at the next opening
            self.folder.unlink(name)
