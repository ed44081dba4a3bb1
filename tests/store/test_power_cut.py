"""A power cut after any operation: every disk it could leave behind is opened again.

Everything that changes a store is recorded once. Each beginning of the record is a moment; for each, the
disks are made in which what was not synced is there, is not, or is in part.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from blindai.errors import StoreError
from blindai.store.folder import Folder
from blindai.store.store import Store
from blindai.wire.access import Visibility
from blindai.wire.model_name import ModelName
from tests.store.recording import Disk, Operation, Recording
from tests.store.shelf import KEY, OTHER_KEY, content, contents, plaintext_in, put

NAMES = ("first", "second", "third")


@dataclass(frozen=True)
class Step:
    """One change: how many operations had been recorded when its caller was told, and what was true then."""

    what: str
    end: int
    state: Any


@dataclass(frozen=True)
class Recorded:
    log: tuple[Operation, ...]
    steps: tuple[Step, ...]


def state(store: Store) -> Any:
    """Everything that a store says."""
    return store.models(), contents(store), store.bound_keys("alice"), store.served_seconds


def changes(store: Store):
    """Every kind of change, one after the other; yields what each was."""
    yield "first opening"
    first = put(store, "alice/first", content(1))
    yield "upload"
    second = put(store, "alice/second", content(1))
    yield "upload of the same bytes"
    put(store, "alice/first", content(2, 9000))
    yield "replacement"
    store.bind("alice", ("aa" * 32,))
    yield "binding"
    store.update(replace(second, visibility=Visibility.SHARED, shared_with=("bb" * 32,)))
    yield "sharing"
    store.tick(60, {first.id: 5})
    yield "tick"
    with store.stage("alice") as staging:
        staging.write(content("given up"))
        staging.finish()
    yield "upload that is given up"
    store.rotate()
    yield "rotation"
    store.remove(ModelName("alice", "first"))
    yield "removal"
    put(store, "alice/third", content(3))
    yield "upload after a removal"
    store.rotate(OTHER_KEY)
    yield "rotation to another sealing key"
    store.remove(ModelName("alice", "second"), ModelName("alice", "third"))
    yield "removal of the rest"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """The operations of all changes."""
    opened: list[Recording] = []

    def folder(path):
        opened.append(Recording.open(path))
        return opened[0]

    with Store.open(tmp_path_factory.mktemp("recorded") / "store", KEY, folder=folder) as store:
        steps = [Step(what, len(opened[0].log), state(store)) for what in changes(store)]
    return Recorded(tuple(opened[0].log), tuple(steps))


class Unsynced(Folder):
    """For disks that are looked at once: syncing hundreds of them takes most of the time."""

    def sync(self):
        pass

    def sync_file(self, file):
        pass


class Reader:
    """Opens worlds and says what is in them, each once."""

    def __init__(self, path) -> None:
        self._path = path
        self._known: dict[
            tuple[tuple[str, bytes], ...], Any
        ] = {}  # to what is in it, and under how many keys

    def found(self, world: dict[str, bytes]) -> Any:
        key = tuple(sorted(world.items()))
        if key not in self._known:
            self._known[key] = self._open(world)
        return self._known[key]

    def __len__(self) -> int:
        return len(self._known)

    def _open(self, world: dict[str, bytes]) -> Any:
        shutil.rmtree(self._path, ignore_errors=True)
        self._path.mkdir()
        for name, data in world.items():
            (self._path / name).write_bytes(data)
        try:
            with self._opened() as store:
                found = state(store), len(store._ledger.catalogue.keys)
                if found[1] > 1:  # a rotation was cut off: it can be gone on with
                    store.rotate()
                    assert (state(store), len(store._ledger.catalogue.keys)) == (found[0], 1)
                known = {"catalogue", *store._ledger.catalogue.files}
        except StoreError as error:
            return str(error)
        assert {file.name for file in self._path.iterdir()} == known, "something is left over"
        return found

    def _opened(self) -> Store:
        try:
            return Store.open(self._path, KEY, folder=Unsynced.open)
        except StoreError as error:
            if error.fault != "wrong-key":
                raise
            return Store.open(self._path, OTHER_KEY, folder=Unsynced.open)


def violation(recorded: Recorded, reader: Reader, *, without: int = -1) -> str | None:
    """Return the first moment whose disks hold anything but what was promised, if there is one.

    `without` leaves one operation out of what the disk is told, as if the store had forgotten it.
    """
    disk = Disk()
    done = 0
    for moment in range(len(recorded.log) + 1):
        while done < len(recorded.steps) and recorded.steps[done].end <= moment:
            done += 1
        promised = [(recorded.steps[max(done - 1, 0)].state, 1)]
        if done and moment > recorded.steps[done - 1].end:  # in the middle of the next change
            after = recorded.steps[done]
            promised.append((after.state, 1))
            if "rotation" in after.what:
                promised.append((after.state, 2))  # the old keys beside the new ones
        if moment >= without:
            for world in disk.worlds():
                found = reader.found(world)
                if found not in promised:
                    during = recorded.steps[min(done, len(recorded.steps) - 1)].what
                    return f"{during}, after {recorded.log[:moment][-3:]}: {found}"
        if moment < len(recorded.log) and moment != without:
            disk.apply(recorded.log[moment])
    return None


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    return Reader(tmp_path_factory.mktemp("worlds") / "world")


def test_every_change_outlasts_a_power_cut(recorded, reader):
    """What a caller was told is there on every disk; a change that was cut off is whole or not there."""
    assert violation(recorded, reader) is None
    assert len(reader) > 200


def test_every_sync_is_needed(recorded, reader):
    """Each of them, left out, loses something on some disk: so the test above would find a missing one."""
    syncs = [i for i, operation in enumerate(recorded.log) if operation.kind in ("sync", "sync_file")]
    idle = [i for i in syncs if violation(recorded, reader, without=i) is None]
    during = [next(step.what for step in recorded.steps if step.end > i) for i in idle]
    assert during == ["upload that is given up"]


def test_no_plaintext_is_ever_written(recorded):
    """Not in anything that the disk was given at any time, and not in a name."""
    written = b"\0".join(operation.name.encode() + b"\0" + operation.data for operation in recorded.log)
    assert not plaintext_in(written, content(1), content(2, 9000), content(3), content("given up"))
    assert not any(name.encode() in written for name in (*NAMES, "alice"))


def test_a_first_opening_outlasts_a_power_cut(tmp_path, monkeypatch):
    """The folder that a first opening makes, and its parents, are known to their parents."""
    synced = []

    def fsync(descriptor: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))

    monkeypatch.setattr(os, "fsync", fsync)
    Folder.open(tmp_path / "a" / "b").close()
    assert synced == [str(tmp_path), str(tmp_path / "a")]
