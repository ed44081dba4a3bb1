"""Which store is opened under which key; and the store under a key of this process, which ends with it."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from blindai.errors import StoreError, StoreFault
from blindai.server.settings import Settings
from blindai.server.storing import opened_store
from blindai.store.store import Store
from tests.serving import server_environment


def settings(path: Path, key: str) -> Settings:
    return Settings(simulation=True, store_path=str(path), store_key=key)


def put(store: Store, data: bytes = b"a model") -> None:
    with store.stage("") as staging:
        staging.write(data)
        staging.finish()


def test_without_a_path_there_is_none():
    """Models stay in memory, and the keyset says so."""
    for given in (Settings(), Settings(store_key="memory")):
        with opened_store(given) as opened:
            assert opened == (None, "memory")


def test_a_store_under_a_key_that_lasts(tmp_path: Path):
    """It is the folder itself, and what is written there is found again; it is unlocked at the end."""
    given = settings(tmp_path / "store", f"file:{tmp_path / 'key'}")
    with opened_store(given) as (store, sealing):
        assert store is not None
        assert sealing == "file"
        store.bind("alice", ("a1" * 32,))
        with pytest.raises(StoreError) as caught, opened_store(given):
            pass
        assert caught.value.fault is StoreFault.IN_USE
    with opened_store(given) as (store, _):
        assert store is not None
        assert store.binding("alice").keys == ("a1" * 32,)


def test_a_store_under_a_passing_key_ends_with_the_server(tmp_path: Path):
    """Nothing of it stays, whatever was in it; every start has an empty one."""
    path = tmp_path / "deep" / "store"
    given = settings(path, "memory")
    for _ in range(2):
        with opened_store(given) as (store, sealing):
            assert store is not None
            assert sealing == "memory"
            assert store.binding("alice").keys == ()
            store.bind("alice", ("a1" * 32,))
            put(store)
            assert len(list(path.iterdir())) == 1
            assert path.stat().st_mode & 0o77 == 0
        assert list(path.iterdir()) == []


def test_it_ends_with_an_error_too(tmp_path: Path):
    """A start that fails after the store was opened leaves no folder."""
    with pytest.raises(ZeroDivisionError), opened_store(settings(tmp_path, "memory")):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


_HOLDER = """
import sys, time
from blindai.server.settings import Settings
from blindai.server.storing import opened_store
with opened_store(Settings(simulation=True, store_path=sys.argv[1], store_key="memory")) as (store, _):
    with store.stage("") as staging:
        staging.write(b"x" * 3_000_000)
        print("open", flush=True)
        time.sleep(60)
"""


def started(path: Path) -> subprocess.Popen[str]:
    """Another process that has such a store open, and a model halfway in it."""
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(path)],
        stdout=subprocess.PIPE,
        env=server_environment(),
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    return process


def test_what_a_killed_server_left_goes_and_anothers_stays(tmp_path: Path):
    """Nobody has the key of the one; the other is in use. Files that are no such store are left alone."""
    with started(tmp_path) as running:
        try:
            theirs = set(tmp_path.iterdir())
            with started(tmp_path) as killed:
                killed.send_signal(signal.SIGKILL)
            (dead,) = set(tmp_path.iterdir()) - theirs
            assert list(dead.iterdir()) != []
            others = {tmp_path / name for name in ("passing-file", "store.cat", "kept")}
            for other in others:
                other.mkdir() if other.name == "kept" else other.write_bytes(b"somebody's")
            with opened_store(settings(tmp_path, "memory")) as (store, _):
                assert store is not None
                assert not dead.exists()
                assert theirs < set(tmp_path.iterdir())
                put(store)
            assert set(tmp_path.iterdir()) == theirs | others
            assert list(next(iter(theirs)).iterdir()) != []
        finally:
            running.kill()


LEFTOVER = f"passing-{'0' * 32}"
OURS = ("catalogue", f"{'1' * 32}.model", f"{'2' * 32}.new")


def test_a_link_in_the_place_of_a_leftover(tmp_path: Path):
    """What it leads to is not emptied: whoever can write there must not have the server delete elsewhere."""
    elsewhere, path = tmp_path / "elsewhere", tmp_path / "store"
    for folder in (elsewhere, path):
        folder.mkdir()
    for name in OURS:
        (elsewhere / name).write_bytes(b"1")
    (path / LEFTOVER).symlink_to(elsewhere)
    with opened_store(settings(path, "memory")):
        pass
    assert {file.name for file in elsewhere.iterdir()} == set(OURS)


def test_only_files_of_a_store_are_removed(tmp_path: Path):
    """Something else in a leftover stays, with its folder; what is only named alike is no leftover at all."""
    alike = ("passing-", "passing-a", f"{LEFTOVER}0", LEFTOVER[:-1], f"x{LEFTOVER}")
    for folder in (LEFTOVER, *alike):
        (tmp_path / folder).mkdir()
        for name in (*OURS, "precious", "3.model", f"{'4' * 32}.txt"):
            (tmp_path / folder / name).write_bytes(b"1")
    with opened_store(settings(tmp_path, "memory")):
        pass
    left = {file.name for file in (tmp_path / LEFTOVER).iterdir()}
    assert left == {"precious", "3.model", f"{'4' * 32}.txt"}
    for folder in alike:
        assert set(OURS) < {file.name for file in (tmp_path / folder).iterdir()}


def held(folder: Path) -> list[str]:
    """What this process holds open in a folder."""
    targets = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # that of the listing itself
            targets.append(str(descriptor.readlink()))
    return [target for target in targets if target.startswith(str(folder))]


def test_no_descriptor_stays_open(tmp_path: Path):
    """Neither of a store nor of what was looked through before it."""
    (tmp_path / LEFTOVER).mkdir()
    for key in ("memory", f"file:{tmp_path / 'key'}"):
        with opened_store(settings(tmp_path / key.partition(":")[0], key)):
            assert held(tmp_path) != []
    with opened_store(settings(tmp_path, "memory")):
        assert not (tmp_path / LEFTOVER).exists()
    assert held(tmp_path) == []


@pytest.mark.parametrize("name", ["file", "file/deeper"])
def test_a_folder_that_cannot_be(tmp_path: Path, name: str):
    """Said with what the system says, and without a stack trace."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError) as caught, opened_store(settings(tmp_path / name, "memory")):
        pass
    assert caught.value.fault is StoreFault.UNAVAILABLE
