"""A disk that is full, read-only or broken, from any operation on: a clear error, and nothing lost."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from blindai.errors import StoreError, StoreFault
from blindai.store import folder as folders
from blindai.store.store import Store
from blindai.wire.access import Visibility
from blindai.wire.model_name import ModelName
from tests.store.shelf import CHUNK, KEY, OTHER_KEY, content, contents, files, get, put

WRITING = frozenset({"pwrite", "fsync", "rename", "unlink", "close", "create"})
READING = frozenset({"preadv", "fstat", "listdir", "open"})


class Disk:
    """Stands for `os` in the store's folder: fails at the n-th operation of a kind, once or from there on."""

    def __init__(self, fails: frozenset[str], at: int, error: int, *, for_good: bool) -> None:
        self._fails, self._at, self._error, self._for_good = fails, at, error, for_good
        self.count = 0

    def __getattr__(self, name: str) -> Any:
        function = getattr(os, name)

        def call(*arguments: Any, **keywords: Any) -> Any:
            created = name == "open" and arguments[1] & os.O_CREAT
            if ("create" if created else name) in self._fails and self._turn():
                if name == "close":
                    function(*arguments)  # Linux closes the descriptor, whatever it says
                if name == "pwrite" and len(arguments[1]) > 1 and self._at % 2:
                    return function(arguments[0], arguments[1][: len(arguments[1]) // 2], arguments[2])
                raise OSError(self._error, os.strerror(self._error))
            return function(*arguments, **keywords)

        return call if callable(function) and name in {*self._fails, "open"} else function

    @property
    def failed(self) -> bool:
        return self.count >= self._at

    def _turn(self) -> bool:
        self.count += 1
        return self.count >= self._at if self._for_good else self.count == self._at


def replaced(store: Store) -> None:
    put(store, "alice/a", content("new", 2 * CHUNK + 3))


def uploaded(store: Store) -> None:
    put(store, "alice/new", content("new"))


def shared(store: Store) -> None:
    store.update(replace(store.models()[0], visibility=Visibility.SHARED, shared_with=("cc" * 32,)))


CHANGES: dict[str, Callable[[Store], None]] = {
    "upload": uploaded,
    "replacement": replaced,
    "sharing": shared,
    "removal": lambda store: store.remove(ModelName("alice", "a")),
    "binding": lambda store: store.bind("bob", ("bb" * 32,)),
    "tick": lambda store: store.tick(1000),
    "rotation": lambda store: store.rotate(),
    "rotation to another key": lambda store: store.rotate(OTHER_KEY),
}


@dataclass(frozen=True)
class Trial:
    """A store that goes through one change, again and again, on one disk after the other."""

    original: Path
    path: Path
    change: Callable[[Store], None]
    before: Any
    after: Any

    def run(self, disk: Disk, patch: pytest.MonkeyPatch) -> StoreError | None:
        """Go through the change on a failing disk; check what the store says, then and after a restart."""
        shutil.rmtree(self.path, ignore_errors=True)
        shutil.copytree(self.original, self.path)
        error = None
        with Store.open(self.path, KEY) as store:
            with patch.context() as failing:
                failing.setattr(folders, "os", disk)
                try:
                    self.change(store)
                except StoreError as caught:
                    error = caught
            assert state(store) == (self.after if error is None else self.before)
            in_doubt = error is not None and error.fault == StoreFault.UNAVAILABLE
            if not in_doubt:
                store.tick(store.served_seconds)  # the disk is well again, and the store goes on
        with reopened(self.path) as store:
            assert state(store) in ((self.before, self.after) if in_doubt else (state(store),))
            assert state(store) == (self.after if error is None else self.before) or in_doubt
            known = {"catalogue", *store._ledger.catalogue.files}
        assert files(self.path).keys() == known
        return error


def state(store: Store) -> Any:
    bound = (store.bound_keys("alice"), store.bound_keys("bob"))
    return store.models(), contents(store), bound, store.served_seconds


def reopened(path: Path) -> Store:
    try:
        return Store.open(path, KEY)
    except StoreError as error:
        if error.fault != StoreFault.WRONG_KEY:
            raise
        return Store.open(path, OTHER_KEY)


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    path = tmp_path_factory.mktemp("disk") / "store"
    with Store.open(path, KEY) as store:
        put(store, "alice/a", content("a"))
        put(store, "alice/b", content("b"))
        store.bind("alice", ("aa" * 32,))
    return path


@pytest.fixture
def trial(original, tmp_path, request):
    change = CHANGES[request.param]
    shutil.copytree(original, tmp_path / "whole")
    with Store.open(tmp_path / "whole", KEY) as store:
        before = state(store)
        change(store)
        after = state(store)
    return Trial(original, tmp_path / "store", change, before, after)


@pytest.mark.parametrize("trial", CHANGES, indirect=True)
@pytest.mark.parametrize("for_good", [True, False], ids=["for good", "once"])
@pytest.mark.parametrize(
    ("number", "fault"),
    [
        (errno.ENOSPC, StoreFault.FULL),
        (errno.EROFS, StoreFault.READ_ONLY),
        (errno.EIO, StoreFault.UNAVAILABLE),
    ],
    ids=["full", "read-only", "broken"],
)
def test_a_disk_that_fails_at_any_operation_loses_nothing(trial, monkeypatch, number, fault, for_good):
    """The change is there whole, or an error is raised and it is not; a failed last sync leaves a doubt."""
    faults = []
    for at in range(1, 200):
        disk = Disk(WRITING, at, number, for_good=for_good)
        error = trial.run(disk, monkeypatch)
        if not disk.failed:
            break
        if error is not None:
            faults.append(error.fault)
    assert not disk.failed
    assert fault in faults
    assert set(faults) <= {fault, StoreFault.UNAVAILABLE}


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES, errno.EMFILE])
def test_a_disk_that_cannot_be_read_is_an_error_of_the_store(original, tmp_path, monkeypatch, number):
    """At any operation of opening and reading: no foreign exception, and nothing is removed or made."""
    path = tmp_path / "store"
    shutil.copytree(original, path)
    before, expected = files(path), {"alice/a": content("a"), "alice/b": content("b")}
    for at in range(1, 200):
        disk = Disk(READING, at, number, for_good=True)
        with monkeypatch.context() as failing:
            failing.setattr(folders, "os", disk)
            try:
                with Store.open(path, KEY) as store:
                    found = contents(store)
            except StoreError:
                found = None
        assert files(path) == before
        if not disk.failed:
            break
    assert found == expected


def test_a_first_opening_that_fails_is_tried_again(tmp_path, monkeypatch):
    """Whatever a first opening left, the next one makes a store."""
    faults = set()
    for at in range(1, 50):
        path = tmp_path / str(at)
        disk = Disk(WRITING, at, errno.ENOSPC, for_good=True)
        with monkeypatch.context() as failing:
            failing.setattr(folders, "os", disk)
            try:
                Store.open(path, KEY).close()
            except StoreError as error:
                faults.add(error.fault)
        with Store.open(path, KEY) as store:
            put(store, "alice/a", content(at))
        assert len(files(path)) == 2
        if not disk.failed:
            break
    assert not disk.failed
    assert faults == {StoreFault.FULL, StoreFault.UNAVAILABLE}


def test_after_a_doubtful_change_the_store_only_reads(original, tmp_path, monkeypatch):
    """When the last sync failed nobody knows what is on the disk, so nothing is built on it."""
    path = tmp_path / "store"
    shutil.copytree(original, path)
    with Store.open(path, KEY) as store:
        disk = Disk(frozenset({"fsync"}), 2, errno.EIO, for_good=False)
        with monkeypatch.context() as failing:
            failing.setattr(folders, "os", disk)
            with pytest.raises(StoreError, match="shows after a restart"):
                store.remove(ModelName("alice", "a"))
        for change in CHANGES.values():
            with pytest.raises(StoreError, match="takes no changes"):
                change(store)
        assert contents(store) == {"alice/a": content("a"), "alice/b": content("b")}
    with Store.open(path, KEY) as store:
        assert contents(store) == {"alice/b": content("b")}


def test_a_limit_on_the_size_of_files_is_a_full_disk(tmp_path):
    """The same error where the system's limit is met and not the disk's."""
    program = f"""
import resource, sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from pathlib import Path
from blindai.errors import StoreError
from blindai.store.store import Store
from tests.store.shelf import *
path = Path({str(tmp_path / "store")!r})
with Store.open(path, KEY) as store:
    model = put(store, "alice/a", content("a"))
    before = files(path)
    resource.setrlimit(resource.RLIMIT_FSIZE, (CHUNK, CHUNK))
    try:
        put(store, "alice/large", content("large", 3 * CHUNK))
    except StoreError as error:
        print(error.fault)
    assert files(path) == before
    put(store, "alice/small", content("small"))
    assert get(store, model) == content("a")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("full\n", "")


@pytest.fixture
def mounted(tmp_path):
    """A real disk of two megabytes, where this user may mount one."""
    point = tmp_path / "mounted"
    point.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(point)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount a disk")
    yield point
    subprocess.run(["umount", str(point)], check=True)


def test_a_real_disk_that_is_full(mounted):
    """Uploads fail until something is removed, and removing works on a full disk."""
    path = mounted / "store"
    with Store.open(path, KEY) as store:
        model = put(store, "alice/a", content("a", CHUNK))
        before = files(path)
        for _ in range(3):
            with pytest.raises(StoreError) as caught:
                put(store, "alice/b", content("b", CHUNK + 9))
            assert caught.value.fault == StoreFault.FULL
            assert files(path) == before
        assert get(store, model) == content("a", CHUNK)
        store.remove(model.name)
        put(store, "alice/b", content("b", CHUNK + 9))
    with Store.open(path, KEY) as store:
        assert contents(store) == {"alice/b": content("b", CHUNK + 9)}


def test_a_real_disk_that_is_read_only(mounted):
    """What is there is read, leftovers are left, and every change is refused by name."""
    path = mounted / "store"
    with Store.open(path, KEY) as store:
        put(store, "alice/a", content("a"))
    (path / "left.new").write_bytes(b"")
    subprocess.run(["mount", "-o", "remount,ro", str(mounted)], check=True)
    with Store.open(path, KEY) as store:
        assert contents(store) == {"alice/a": content("a")}
        for change in CHANGES.values():
            with pytest.raises(StoreError) as caught:
                change(store)
            assert caught.value.fault == StoreFault.READ_ONLY
        assert contents(store) == {"alice/a": content("a")}
    with pytest.raises(StoreError) as caught:
        Store.open(mounted / "another", KEY)
    assert caught.value.fault == StoreFault.READ_ONLY


def test_two_processes_on_one_store(path):
    """The second is refused while the first lives, however it ends, and may open the store afterwards."""
    hold = "import sys, time; from pathlib import Path; from blindai.store.store import Store; "
    hold += "store = Store.open(Path(sys.argv[1]), b'k' * 32); print('open', flush=True); time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", hold, str(path)], stdout=subprocess.PIPE) as first:
        assert first.stdout.readline() == b"open\n"
        with pytest.raises(StoreError) as caught:
            Store.open(path, KEY)
        assert caught.value.fault == StoreFault.IN_USE
        first.kill()
    Store.open(path, KEY).close()


def test_a_path_that_is_no_folder_is_refused(tmp_path):
    """A file in the place of the folder, or of one of its parents."""
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path / "file", tmp_path / "file" / "store"):
        with pytest.raises(StoreError):
            Store.open(path, KEY)
