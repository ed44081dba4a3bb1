"""New keys for everything in the store, in steps that may be interrupted anywhere and gone on with.

1. The catalogue gets a new key beside the old ones, and is itself sealed under the new sealing key if
   there is one: whoever learns the old sealing key finds the new keys nowhere.
2. Each model's file is sealed again and renamed over the old one.
3. The catalogue drops the old keys.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from blindai.store.catalogue import Entry
from blindai.store.inspection import open_model
from blindai.store.ledger import Ledger
from blindai.store.seal import CHUNK_BYTES, KEY_BYTES, Key, Kind, Place

Progress = Callable[[int, int], None]  # bytes done, bytes in all


def rotate(ledger: Ledger, new_key: bytes | None, progress: Progress | None) -> None:
    ledger.sweep()  # no file under an old key may be left when the old keys go
    keys = ledger.catalogue.keys
    if new_key is not None or len(keys) == 1:  # else an interrupted rotation is gone on with
        keys = (*keys, Key(ledger.random(KEY_BYTES)))
    sealing = None if new_key is None else Key(new_key)
    ledger.replace(replace(ledger.catalogue, keys=keys), sealing=sealing)
    _seal_everything_again(ledger, progress)
    ledger.folder.sync()
    ledger.replace(replace(ledger.catalogue, keys=keys[-1:]))


def _seal_everything_again(ledger: Ledger, progress: Progress | None) -> None:
    total, done = sum(ledger.catalogue.files.values()), 0
    buffer = memoryview(bytearray(CHUNK_BYTES))
    for entry in {entry.file: entry for entry in ledger.catalogue.entries.values()}.values():
        for count in _seal_again(ledger, entry, buffer):
            done += count
            if progress is not None:
                progress(done, total)


def _seal_again(ledger: Ledger, entry: Entry, buffer: memoryview) -> Iterator[int]:
    with open_model(ledger.folder, ledger.catalogue, entry) as blob:
        if blob.key == ledger.catalogue.keys[-1]:  # done before an interruption
            yield blob.size_bytes
            return
        new = ledger.new_file(Place(Kind.MODEL, entry.file))
        try:
            while count := blob.readinto(buffer):
                new.write(buffer[:count])
                yield count
            new.finish()
            new.put()
        finally:
            new.discard()
