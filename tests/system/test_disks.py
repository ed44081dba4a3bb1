"""A store on a disk that is full, that cannot be written, or that another server uses."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from blindai.errors import RequestCode
from tests.serving import Reply, RunningServer
from tests.system.deployment import Deployment, NotStarted
from tests.system.weights import Weights

DISK_BYTES = 8 * 2**20
FIRST, SECOND = Weights("first", 2**19), Weights("second", 2**19)  # 2 MiB each
LARGE = Weights("large", 3 * 2**19)  # 6 MiB: no room for it beside them
SMALL = Weights("small", 1000)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB, which is in memory and gone afterwards."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only root mounts file systems")
    mounted = _mount("-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder))
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        # Lazily: a test that failed may have left the disk in use, and it has to go all the same.
        subprocess.run(["umount", "--lazy", str(folder)], check=True, timeout=20)


@pytest.fixture
def deployment(tmp_path: Path, disk: Path) -> Deployment:
    deployment = Deployment(tmp_path / "deployment")
    deployment.store = disk / "store"
    return deployment


def test_a_full_disk_refuses_what_does_not_fit_and_keeps_the_rest(deployment: Deployment):
    """What does not fit is refused as storage-full; what is there predicts, and deleting makes room again."""
    with deployment.serving() as server:
        assert upload(server, "first", FIRST).status == 201
        assert upload(server, "second", SECOND).status == 201
        reply = upload(server, "large", LARGE)
        assert (reply.status, reply.code) == (507, RequestCode.STORAGE_FULL)
        # The whole disk, to its last block: not even a record of some bytes can be written.
        with filled(deployment.store.parent):
            reply = upload(server, "small", SMALL)
            assert (reply.status, reply.code) == (507, RequestCode.STORAGE_FULL)
            assert predicts(server, "first", FIRST)
            assert predicts(server, "second", SECOND)
            assert server.request("POST", "/v2/repository/models/first/unload").status == 200
            assert predicts(server, "first", FIRST)
        assert listed(server) == {"first": FIRST.sha256, "second": SECOND.sha256}
    with deployment.serving() as server:
        assert listed(server) == {"first": FIRST.sha256, "second": SECOND.sha256}
        assert server.request("DELETE", "/v2/repository/models/first").status == 200
        assert upload(server, "third", LARGE).status == 507  # 6 MiB beside 2 MiB, and the catalogue
        assert server.request("DELETE", "/v2/repository/models/second").status == 200
        assert upload(server, "third", LARGE).status == 201
        assert predicts(server, "third", LARGE)
    with deployment.serving() as server:
        assert listed(server) == {"third": LARGE.sha256}
        assert predicts(server, "third", LARGE)
    assert sorted(path.suffix for path in deployment.store.iterdir()) == ["", ".model"]


def test_what_uploads_filled_deleting_empties(deployment: Deployment):
    """A disk that uploads filled, down to the smallest that there is, has room to delete one again."""
    kept = 0
    with deployment.serving() as server:
        for count in (2**18, 2**14, 2**10, 1):
            weights = Weights(str(count), count)
            while (reply := upload(server, f"m{kept}", weights)).status == 201:
                kept += 1
            assert (reply.status, reply.code) == (507, RequestCode.STORAGE_FULL)
        for number in range(kept):
            reply = server.request("DELETE", f"/v2/repository/models/m{number}")
            assert reply.status == 200, (number, kept, reply.body)
        assert upload(server, "large", LARGE).status == 201


def test_what_others_filled_is_said_and_nothing_is_lost(deployment: Deployment):
    """With no byte left, not even a deletion can be noted down: it is refused, and what was there stays."""
    with deployment.serving() as server:
        assert upload(server, "first", FIRST).status == 201
        with filled(deployment.store.parent):
            reply = server.request("DELETE", "/v2/repository/models/first")
            assert (reply.status, reply.code) == (507, RequestCode.STORAGE_FULL)
            assert predicts(server, "first", FIRST)
        assert server.request("DELETE", "/v2/repository/models/first").status == 200


def test_a_server_starts_and_ends_on_a_disk_that_is_full(deployment: Deployment):
    """A full disk keeps no server from starting: its models are there, and predict."""
    with deployment.serving() as server:
        assert upload(server, "first", FIRST).status == 201
    with filled(deployment.store.parent), deployment.serving() as server:
        assert listed(server) == {"first": FIRST.sha256}
        assert predicts(server, "first", FIRST)


@pytest.mark.parametrize("when", ["before the start", "while it runs"])
def test_a_disk_that_cannot_be_written_serves_and_changes_nothing(deployment: Deployment, when: str):
    """Models predict; what would change something is refused as storage-unavailable; nothing is lost."""
    disk = deployment.store.parent
    with deployment.serving() as server:
        assert upload(server, "first", FIRST).status == 201
        if when == "while it runs":
            read_only(disk)
            check_read_only(server)
    read_only(disk)
    with deployment.serving() as server:
        check_read_only(server)
        assert _mount("-o", "remount,rw", str(disk)).returncode == 0
        assert upload(server, "second", SECOND).status == 201
    with deployment.serving() as server:
        assert listed(server) == {"first": FIRST.sha256, "second": SECOND.sha256}
        assert predicts(server, "first", FIRST)
        assert predicts(server, "second", SECOND)


def check_read_only(server: RunningServer) -> None:
    sharing = '{"visibility": "public"}'
    for reply in (
        upload(server, "second", SECOND),
        upload(server, "first", SECOND),
        server.request("DELETE", "/v2/repository/models/first"),
        server.request("POST", "/v2/repository/models/first/sharing", sharing),
    ):
        assert (reply.status, reply.code) == (503, RequestCode.STORAGE_UNAVAILABLE)
    assert listed(server) == {"first": FIRST.sha256}
    assert predicts(server, "first", FIRST)


def test_a_second_server_on_a_store_says_so_and_ends(tmp_path: Path):
    """It ends with code 1, the fault and a hint; the first one does not notice."""
    deployment = Deployment(tmp_path / "deployment")
    with deployment.serving() as server:
        assert upload(server, "first", FIRST).status == 201
        for _ in range(2):
            with pytest.raises(NotStarted) as caught, deployment.serving():
                pass
            assert caught.value.code == 1
            assert "error: another process uses the store" in caught.value.said
            assert "[in-use]" in caught.value.said
            assert "hint: " in caught.value.said
            assert "Traceback" not in caught.value.said
        assert upload(server, "second", SECOND).status == 201
        assert predicts(server, "first", FIRST)
    with deployment.serving() as server:
        assert listed(server) == {"first": FIRST.sha256, "second": SECOND.sha256}


def upload(server: RunningServer, name: str, weights: Weights) -> Reply:
    return server.upload(name, weights.content)


def predicts(server: RunningServer, name: str, weights: Weights) -> bool:
    return weights.answered_by(server.infer(name, weights.question()))


def listed(server: RunningServer) -> dict[str, str]:
    entries = server.request("POST", "/v2/repository/index").json()
    return {entry["name"]: entry["sha256"] for entry in entries}


class filled:  # noqa: N801 - reads as a word: with filled(disk)
    """Take what is left of a disk, to the last byte, and give it back."""

    def __init__(self, disk: Path) -> None:
        self._file = disk / "somebody-elses-file"

    def __enter__(self) -> None:
        with self._file.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(b"\xff" * 4096)
            except OSError:
                return

    def __exit__(self, *_: object) -> None:
        self._file.unlink()


def read_only(disk: Path) -> None:
    done = _mount("-o", "remount,ro", str(disk))
    assert done.returncode == 0, done.stderr


def _mount(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["mount", *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=20,
        stdin=subprocess.DEVNULL,
    )
