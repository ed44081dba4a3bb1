"""Roll-back floors in a file: whatever happens to it, nothing is silently forgotten."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import blindai
from blindai.attestation.policy import Policy
from blindai.attestation.types import Floor
from blindai.client import floors
from blindai.client.floors import FileFloors, FloorsWarning
from blindai.errors import UsageError
from tests.serving import server_environment

PLATFORM = f"{'ab' * 32}/00806f050000"
POLICY = Policy.from_toml(
    'version = 1\n[[accept]]\ntee = "tdx"\n'
    + "".join(f'{register} = "{"ab" * 48}"\n' for register in ("mrtd", "rtmr1", "rtmr2"))
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "blindai" / "floors.json"


def test_floors_outlive_their_client(path):
    """What was raised is read by the next client; no number sinks, and platforms are strangers."""
    assert FileFloors(path).load() == {}
    FileFloors(path).raise_to(PLATFORM, Floor(5, 1, 9))
    FileFloors(path).raise_to(PLATFORM, Floor(4, 2, 9))
    FileFloors(path).raise_to("other", Floor(1))
    assert FileFloors(path).load() == {PLATFORM: Floor(5, 2, 9), "other": Floor(1)}


def test_the_file_is_its_owners_and_nothing_is_left_beside_it(path):
    """Nobody else reads which platforms a user talks to."""
    FileFloors(path).raise_to(PLATFORM, Floor(5))
    assert list(path.parent.iterdir()) == [path]
    if os.name == "posix":
        assert path.stat().st_mode & 0o777 == 0o600


def test_what_is_known_already_is_not_written_again(path):
    """A floor that does not rise costs no write."""
    FileFloors(path).raise_to(PLATFORM, Floor(5))
    before = path.stat().st_mtime_ns, path.stat().st_ino
    FileFloors(path).raise_to(PLATFORM, Floor(4))
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == before


def text_of(entries, **members):
    return json.dumps({"version": 1, "floors": entries, **members})


MALFORMED = {
    "empty": "",
    "no JSON": "floors",
    "no object": "[]",
    "cut": text_of({PLATFORM: {"leaf_crl": 1}})[:-1],
    "another version": text_of({}, version=2),
    "a version that is true": text_of({}, version=True),
    "one member more": text_of({}, extra=1),
    "no floors": '{"version": 1}',
    "a list": text_of([]),
    "an unknown number": text_of({PLATFORM: {"leaf_crls": 1}}),
    "a negative number": text_of({PLATFORM: {"leaf_crl": -1}}),
    "a truth": text_of({PLATFORM: {"leaf_crl": True}}),
    "a fraction": text_of({PLATFORM: {"leaf_crl": 1.5}}),
    "a word": text_of({PLATFORM: {"leaf_crl": "1"}}),
    "a number alone": text_of({PLATFORM: 1}),
    "no name": text_of({"": {}}),
    "an escape": text_of({"\x1b[2J": {}}),
    "twice": '{"version": 1, "floors": {"a": {}, "a": {}}}',
    "too many": text_of({str(number): {} for number in range(floors.MAX_PLATFORMS + 1)}),
    "too long": text_of({}) + " " * floors.MAX_FILE_BYTES,
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_file_that_is_not_understood_is_an_error(tmp_path, name):
    """It is named and kept as it is, and nothing is sent: forgetting would be what an attacker wants."""
    path = tmp_path / "floors.json"
    path.write_text(MALFORMED[name])
    for use in (
        lambda: FileFloors(path).load(),
        lambda: FileFloors(path).raise_to(PLATFORM, Floor(5)),
        lambda: blindai.connect("127.0.0.1:1", policy=POLICY, floors=path),
        lambda: blindai.attested_transport("127.0.0.1:1", policy=POLICY, floors=path),
        lambda: blindai.async_attested_transport("127.0.0.1:1", policy=POLICY, floors=path),
    ):
        with pytest.raises(UsageError) as caught:
            use()
        assert str(path) in str(caught.value)
        assert "--no-floors" in caught.value.hint
    assert path.read_text() == MALFORMED[name]


def test_a_number_that_an_older_version_did_not_know(tmp_path):
    """Nothing was seen of it yet."""
    path = tmp_path / "floors.json"
    path.write_text(text_of({PLATFORM: {"leaf_crl": 7}}))
    assert FileFloors(path).load() == {PLATFORM: Floor(leaf_crl=7)}


def test_a_folder_in_the_files_place_is_an_error(tmp_path):
    """Something is there, and it is not ours."""
    with pytest.raises(UsageError):
        FileFloors(tmp_path).load()


def test_an_empty_path_is_an_error():
    """`--floors "$UNSET"` does not mean the default."""
    with pytest.raises(UsageError):
        blindai.connect("127.0.0.1:1", policy=POLICY, floors="")


def test_the_file_is_bounded(path, monkeypatch):
    """The platform that was raised longest ago gives way."""
    monkeypatch.setattr(floors, "MAX_PLATFORMS", 2)
    kept = FileFloors(path)
    for name, number in (("a", 1), ("b", 1), ("a", 2), ("c", 1)):
        kept.raise_to(name, Floor(number))
    assert kept.load() == {"a": Floor(2), "c": Floor(1)}


def test_an_unwritable_place_is_said_once(tmp_path):
    """Verification goes on, and the user knows that the next client will not know."""
    (tmp_path / "file").touch()
    kept = FileFloors(tmp_path / "file" / "blindai" / "floors.json")
    with pytest.warns(FloorsWarning, match=r"floors\.json") as caught:
        kept.raise_to(PLATFORM, Floor(5))
        kept.raise_to(PLATFORM, Floor(6))
    assert len(caught) == 1
    assert kept.load() == {}


def test_a_full_disk_leaves_the_old_file(path, monkeypatch):
    """A write that fails half-way changes nothing and leaves nothing beside it."""
    kept = FileFloors(path)
    kept.raise_to(PLATFORM, Floor(5))

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.warns(FloorsWarning, match="No space"):
        kept.raise_to(PLATFORM, Floor(6))
    assert kept.load() == {PLATFORM: Floor(5)}
    assert list(path.parent.iterdir()) == [path]


def test_threads_lose_nothing(path):
    """Clients of one process write one after the other."""
    clients = [FileFloors(path) for _ in range(8)]
    threads = [
        threading.Thread(target=lambda i=i, kept=kept: kept.raise_to(f"p{i}", Floor(i + 1)))
        for i, kept in enumerate(clients)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert FileFloors(path).load() == {f"p{i}": Floor(i + 1) for i in range(8)}


RAISING = """
import sys
from blindai.attestation.types import Floor
from blindai.client.floors import FileFloors
for number in range(1, 101):
    FileFloors(sys.argv[1]).raise_to(sys.argv[2], Floor(number))
"""


def test_processes_at_once_never_see_half_a_file(path):
    """Each finds a whole file at every moment, and raises its own platform to the end."""
    running = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", RAISING, str(path), name], env=server_environment()
        )
        for name in ("a", "b")
    ]
    assert [process.wait(60) for process in running] == [0, 0]
    kept = FileFloors(path).load()
    assert kept
    assert set(kept) <= {"a", "b"}
    assert all(floor == Floor(100) for name, floor in kept.items() if name == list(kept)[-1])


@pytest.mark.parametrize(
    ("state", "expected"),
    [("/state", "/state"), ("", "/home/alice/.local/state"), ("relative", "/home/alice/.local/state")],
)
@pytest.mark.skipif(os.name != "posix", reason="paths of POSIX")
def test_where_the_file_is(monkeypatch, state, expected):
    """XDG's place, or its default; a relative one does not count, as the specification says."""
    monkeypatch.setenv("HOME", "/home/alice")
    monkeypatch.setenv("XDG_STATE_HOME", state)
    assert floors.default_path() == Path(expected) / "blindai" / "floors.json"
