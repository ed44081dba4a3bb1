from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from blindai.errors import StoreError, StoreFault, UsageError
from blindai.store.keys import kept, open_source
from blindai.store.keys.file import FileKey


def test_it_is_made_once_for_this_user_alone(tmp_path: Path):
    """First use makes the file and its folder, closed to others; later uses read the same key."""
    path = tmp_path / "key"
    key = open_source(f"file:{path}", simulation=True).sealing_key()
    assert path.read_bytes() == key
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert FileKey(path).sealing_key() == key
    assert list(path.parent.iterdir()) == [path]  # no draft is left


def test_servers_that_start_together_get_one_key(tmp_path: Path):
    """Were each to keep the key it made, all but one would seal under a key that is nowhere."""
    path, keys = tmp_path / "key", []
    barrier = threading.Barrier(8)

    def start():
        barrier.wait()
        keys.append(FileKey(path).sealing_key())

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(keys) == {path.read_bytes()}
    assert len(keys) == 8


def test_what_is_made_is_never_replaced(tmp_path: Path):
    """The second of two servers is told that it was not first; the first one's file stays."""
    path = tmp_path / "key"
    assert kept.make(path, b"first")
    assert not kept.make(path, b"second")
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o620, 0o604, 0o601])
def test_open_to_others_is_refused(tmp_path: Path, mode):
    """A key that another user may read, or replace, is no key."""
    path = tmp_path / "key"
    path.write_bytes(os.urandom(32))
    path.chmod(mode)
    with pytest.raises(UsageError, match="open to other users") as caught:
        FileKey(path).sealing_key()
    assert "chmod 600" in caught.value.hint


@pytest.mark.parametrize("data", [b"", b"k" * 31, b"k" * 33, bytes(32)])
def test_what_is_no_key_is_refused(tmp_path: Path, data):
    """An empty, short or long file, or the zeros that a power cut leaves, is never replaced by a new key."""
    path = tmp_path / "key"
    path.write_bytes(data)
    path.chmod(0o600)
    with pytest.raises(UsageError):
        FileKey(path).sealing_key()
    assert path.read_bytes() == data


def test_a_link_is_refused(tmp_path: Path):
    """Whoever places a link would choose which file is the key; a dangling one is not followed either."""
    (tmp_path / "real").write_bytes(os.urandom(32))
    (tmp_path / "real").chmod(0o600)
    for name in ("real", "nowhere"):
        link = tmp_path / f"link to {name}"
        link.symlink_to(tmp_path / name)
        with pytest.raises(UsageError, match="is a link"):
            FileKey(link).sealing_key()
    assert not (tmp_path / "nowhere").exists()


def test_a_folder_and_a_pipe_are_refused(tmp_path: Path):
    """A pipe in the file's place does not keep the server waiting for a writer."""
    folder, pipe = tmp_path / "folder", tmp_path / "pipe"
    folder.mkdir(mode=0o700)
    os.mkfifo(pipe, 0o600)
    for path in (folder, pipe):
        with pytest.raises(UsageError, match="not a plain file"):
            FileKey(path).sealing_key()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_another_users_file_is_refused(tmp_path: Path):
    """Its owner can read it, whatever its mode says."""
    path = tmp_path / "key"
    path.write_bytes(os.urandom(32))
    path.chmod(0o600)
    os.chown(path, 65534, 65534)
    with pytest.raises(UsageError, match="another user"):
        FileKey(path).sealing_key()


def test_a_folder_that_cannot_be_made(tmp_path: Path):
    """What the disk refuses is an error of ours."""
    (tmp_path / "plain").write_bytes(b"")
    with pytest.raises(StoreError) as caught:
        FileKey(tmp_path / "plain" / "below" / "key").sealing_key()
    assert caught.value.fault is StoreFault.UNAVAILABLE
