"""What a host that holds the disk can do to the files, and by which name each attack is refused."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from blindai.errors import StoreError, StoreFault
from blindai.store import seal
from blindai.store.store import Store, examine
from blindai.wire.access import Visibility
from tests.store.shelf import CHUNK, KEY, OTHER_KEY, blob_files, content, contents, files, get, put

HEADER = seal.HEADER_BYTES
SEALED_CHUNK = CHUNK + seal.TAG_BYTES
# Where the fields of a header begin (see seal.py), and what a changed bit in each is called.
FIELDS = {
    "magic": (0, StoreFault.MALFORMED, StoreFault.MALFORMED),
    "kind": (16, StoreFault.DAMAGED, StoreFault.DAMAGED),
    "key id": (17, StoreFault.FOREIGN, StoreFault.WRONG_KEY),
    "salt": (25, StoreFault.DAMAGED, StoreFault.DAMAGED),
    "size": (57, StoreFault.DAMAGED, StoreFault.DAMAGED),
    "context": (65, StoreFault.DAMAGED, StoreFault.DAMAGED),
    "mac": (97, StoreFault.DAMAGED, StoreFault.DAMAGED),
}


@dataclass
class Shelf:
    """A closed store with three models of one owner: two small ones and one of three and a half chunks."""

    path: Path
    small: Path
    other: Path
    large: Path

    @property
    def catalogue(self) -> Path:
        return self.path / "catalogue"

    def copied(self, path: Path) -> Shelf:
        shutil.copytree(self.path, path)
        return Shelf(path, *(path / file.name for file in (self.small, self.other, self.large)))

    def reopened(self) -> StoreFault | None:
        try:
            Store.open(self.path, KEY).close()
        except StoreError as error:
            return error.fault
        return None

    def read(self, name: str) -> StoreFault | None:
        """What reading a model to its end says, with a store that still opens."""
        with Store.open(self.path, KEY) as store:
            model = next(model for model in store.models() if model.name.name == name)
            try:
                get(store, model)
            except StoreError as error:
                return error.fault
        return None


def filled(path: Path, key: bytes = KEY, owner: str = "alice") -> Shelf:
    found = []
    with Store.open(path, key) as store:
        for name, size in (("small", 5000), ("other", 5000), ("large", 3 * CHUNK + CHUNK // 2)):
            put(store, f"{owner}/{name}", content((owner, name), size))
            found.append(next(file for file in blob_files(path) if file not in found))
        store.bind(owner, ("aa" * 32,))
    return Shelf(path, *found)


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    """Two stores with the same sealing key, as of one server; tests get copies."""
    return tuple(filled(tmp_path_factory.mktemp("originals") / name) for name in ("ours", "foreign"))


@pytest.fixture
def shelf(originals, path):
    return originals[0].copied(path)


@pytest.fixture
def foreign(originals, tmp_path):
    return originals[1].copied(tmp_path / "foreign")


def flip(file: Path, offset: int) -> None:
    with file.open("r+b") as opened:
        opened.seek(offset)
        (byte,) = opened.read(1)
        opened.seek(offset)
        opened.write(bytes([byte ^ 1]))


def swap(one: Path, other: Path) -> None:
    aside = one.with_name("aside")
    one.rename(aside)
    other.rename(one)
    aside.rename(other)


def test_another_key_does_not_open_a_store(shelf):
    """The wrong sealing key is called so, and nothing is changed or removed by trying it."""
    before = files(shelf.path)
    with pytest.raises(StoreError) as caught:
        Store.open(shelf.path, OTHER_KEY)
    assert caught.value.fault == StoreFault.WRONG_KEY
    assert files(shelf.path) == before


@pytest.mark.parametrize("field", FIELDS)
def test_a_changed_header_of_a_model_is_refused_when_the_store_is_opened(shelf, field):
    """One bit in any field of the header, named after what it means; a key id names another store's key."""
    offset, fault, _ = FIELDS[field]
    flip(shelf.large, offset)
    assert shelf.reopened() == fault


@pytest.mark.parametrize("field", FIELDS)
def test_a_changed_header_of_the_catalogue_is_refused(shelf, field):
    """The same in the catalogue, whose key is the sealing key."""
    offset, _, fault = FIELDS[field]
    flip(shelf.catalogue, offset)
    assert shelf.reopened() == fault


def test_every_byte_of_a_header_counts(shelf):
    """No byte of a header can be changed."""
    for offset in range(HEADER):
        flip(shelf.small, offset)
        assert shelf.reopened() is not None
        flip(shelf.small, offset)
    assert shelf.reopened() is None


def test_a_changed_catalogue_is_refused(shelf):
    """One bit of what is sealed in it."""
    flip(shelf.catalogue, HEADER + 10)
    assert shelf.reopened() == StoreFault.DAMAGED


@pytest.mark.parametrize("chunk", range(4))
def test_a_changed_chunk_is_refused_when_it_is_read(shelf, chunk):
    """One bit of any chunk; what comes before it may be read, it and what follows is not."""
    flip(shelf.large, HEADER + chunk * SEALED_CHUNK + 77)
    with Store.open(shelf.path, KEY) as store:
        model = next(model for model in store.models() if model.name.name == "large")
        with store.read(model) as blob:
            buffer = memoryview(bytearray(CHUNK))
            for _ in range(chunk):
                assert blob.readinto(buffer) == CHUNK
            with pytest.raises(StoreError) as caught:
                blob.readinto(buffer)
    assert caught.value.fault == StoreFault.DAMAGED


@pytest.mark.parametrize(
    "length",
    [0, 1, 16, HEADER - 1, HEADER, HEADER + 1]
    + [HEADER + chunk * SEALED_CHUNK + extra for chunk in (1, 3) for extra in (-1, 0, 1, 16)]
    + [-1],
)
def test_a_model_that_was_cut_is_refused_when_the_store_is_opened(shelf, length):
    """Cut in its header, at the end of it, around the ends of chunks, and by one byte."""
    os.truncate(shelf.large, length if length >= 0 else shelf.large.stat().st_size - 1)
    assert shelf.reopened() == StoreFault.TRUNCATED


@pytest.mark.parametrize("length", [0, 16, HEADER - 1, HEADER, HEADER + 16, -1])
def test_a_catalogue_that_was_cut_is_refused(shelf, length):
    """An empty catalogue is a cut one and not a first opening."""
    os.truncate(shelf.catalogue, length if length >= 0 else shelf.catalogue.stat().st_size - 1)
    assert shelf.reopened() == StoreFault.TRUNCATED


def test_a_model_that_is_cut_while_it_is_read_is_refused(shelf):
    """The size was right when the file was opened."""
    with Store.open(shelf.path, KEY) as store:
        model = next(model for model in store.models() if model.name.name == "large")
        with store.read(model) as blob:
            buffer = memoryview(bytearray(CHUNK))
            blob.readinto(buffer)
            os.truncate(shelf.large, HEADER + 2 * SEALED_CHUNK - 5)
            with pytest.raises(StoreError) as caught:
                blob.readinto(buffer)
    assert caught.value.fault == StoreFault.TRUNCATED


@pytest.mark.parametrize("name", ["large", "catalogue"])
def test_bytes_after_the_end_are_refused(shelf, name):
    """A file says how long it is."""
    with getattr(shelf, name).open("ab") as file:
        file.write(b"\0")
    assert shelf.reopened() == StoreFault.DAMAGED


@pytest.mark.parametrize(("one", "other"), [(0, 1), (1, 2), (0, 2)])
def test_chunks_in_another_order_are_refused_when_they_are_read(shelf, one, other):
    """Two chunks of a file changed places."""
    raw = bytearray(shelf.large.read_bytes())
    a, b = (slice(HEADER + i * SEALED_CHUNK, HEADER + (i + 1) * SEALED_CHUNK) for i in (one, other))
    raw[a], raw[b] = raw[b], raw[a]
    shelf.large.write_bytes(raw)
    assert shelf.read("large") == StoreFault.REORDERED
    assert shelf.read("small") is None


def test_a_chunk_that_comes_twice_is_refused_when_it_is_read(shelf):
    """The second chunk is the first one again."""
    raw = bytearray(shelf.large.read_bytes())
    raw[HEADER + SEALED_CHUNK : HEADER + 2 * SEALED_CHUNK] = raw[HEADER : HEADER + SEALED_CHUNK]
    shelf.large.write_bytes(raw)
    assert shelf.read("large") == StoreFault.REORDERED


def test_a_chunk_of_another_file_is_refused_when_it_is_read(shelf):
    """Each file has a key of its own."""
    raw = bytearray(shelf.small.read_bytes())
    raw[HEADER:] = shelf.other.read_bytes()[HEADER:]
    shelf.small.write_bytes(raw)
    assert shelf.read("small") == StoreFault.DAMAGED


@pytest.mark.parametrize("other", ["other", "large"])
def test_models_that_changed_places_are_refused(shelf, other):
    """Two files of one store with each other's names, of the same size or not."""
    swap(shelf.small, getattr(shelf, other))
    assert shelf.reopened() == StoreFault.SWAPPED


def test_a_model_in_two_places_is_refused(shelf):
    """A copy of one model in the place of another."""
    shutil.copy(shelf.small, shelf.other)
    assert shelf.reopened() == StoreFault.SWAPPED


def test_a_model_and_the_catalogue_that_changed_places_are_refused(shelf):
    """Neither is taken for the other."""
    shutil.copy(shelf.small, shelf.catalogue)
    assert shelf.reopened() == StoreFault.SWAPPED


def test_the_catalogue_in_the_place_of_a_model_is_refused(shelf):
    """A catalogue is not sealed under a key of models."""
    shutil.copy(shelf.catalogue, shelf.small)
    assert shelf.reopened() == StoreFault.SWAPPED


def test_a_model_of_another_store_is_refused(shelf, foreign):
    """In the place of one of ours, although both stores have one sealing key."""
    shutil.copy(foreign.small, shelf.small)
    assert shelf.reopened() == StoreFault.FOREIGN


def test_a_model_of_another_store_beside_ours_is_refused(shelf, foreign):
    """It is not taken for something left over, and stays where it is."""
    planted = shelf.path / foreign.small.name
    shutil.copy(foreign.small, planted)
    assert shelf.reopened() == StoreFault.FOREIGN
    assert planted.exists()


def test_the_catalogue_of_another_store_is_refused(shelf, foreign):
    """The sealing key opens it, but our models are not what it knows: none of them is removed."""
    shutil.copy(foreign.catalogue, shelf.catalogue)
    before = files(shelf.path)
    assert shelf.reopened() == StoreFault.MISSING
    assert files(shelf.path) == before


def test_the_catalogue_of_an_empty_store_does_not_remove_models(shelf, tmp_path):
    """The same where nothing is missed: every model looks left over, and is another store's."""
    with Store.open(tmp_path / "empty", KEY):
        pass
    shutil.copy(tmp_path / "empty" / "catalogue", shelf.catalogue)
    before = files(shelf.path)
    assert shelf.reopened() == StoreFault.FOREIGN
    assert files(shelf.path) == before


def test_the_catalogue_of_a_store_with_another_key_is_refused(shelf, tmp_path):
    """To its own sealing key, our models are another store's."""
    other = filled(tmp_path / "other", OTHER_KEY)
    shutil.copy(other.catalogue, shelf.catalogue)
    assert shelf.reopened() == StoreFault.WRONG_KEY


def test_models_without_a_catalogue_are_not_a_first_opening(shelf):
    """Else a host could make every namespace free again, and keep the models' files for later."""
    shelf.catalogue.unlink()
    before = files(shelf.path)
    assert shelf.reopened() == StoreFault.MISSING
    assert files(shelf.path) == before


def test_a_model_that_was_taken_away_is_missing(shelf):
    """The catalogue knows of it."""
    shelf.small.unlink()
    assert shelf.reopened() == StoreFault.MISSING


def test_a_model_that_was_put_back_is_not_there(shelf):
    """A removed model whose file the host kept is nobody's, and is removed again."""
    kept = shelf.small.read_bytes()
    with Store.open(shelf.path, KEY) as store:
        store.remove(next(model.name for model in store.models() if model.name.name == "small"))
    shelf.small.write_bytes(kept)
    with Store.open(shelf.path, KEY) as store:
        assert [model.name.name for model in store.models()] == ["large", "other"]
    assert not shelf.small.exists()


def test_an_older_file_of_a_model_is_refused(shelf):
    """The bytes are the same, but the key they are sealed under was given up."""
    kept = shelf.small.read_bytes()
    with Store.open(shelf.path, KEY) as store:
        store.rotate()
    shelf.small.write_bytes(kept)
    assert shelf.reopened() == StoreFault.FOREIGN


def test_who_has_the_old_sealing_key_opens_nothing_that_was_written_since(shelf):
    """Not with a copy of any catalogue that was ever sealed under it, the one of a rotation's middle too."""
    seen = [shelf.catalogue.read_bytes()]

    def snapshot(_done: int, _total: int) -> None:
        seen.append(shelf.catalogue.read_bytes())

    with Store.open(shelf.path, KEY) as store:
        store.rotate(OTHER_KEY, progress=snapshot)
    assert len(seen) > 3
    faults = []
    for catalogue in seen:
        shelf.catalogue.write_bytes(catalogue)
        faults.append(shelf.reopened())
    assert faults == [StoreFault.FOREIGN] + [StoreFault.WRONG_KEY] * (len(seen) - 1)


@pytest.mark.parametrize("name", ["small", "catalogue"])
@pytest.mark.parametrize("what", ["link", "folder", "pipe"])
def test_what_is_not_a_plain_file_is_refused(shelf, name, what):
    """A link is not followed, even to the right file, and a pipe does not block."""
    file = getattr(shelf, name)
    aside = file.with_name("aside")
    file.rename(aside)
    if what == "link":
        file.symlink_to(aside)
    elif what == "folder":
        file.mkdir()
    else:
        os.mkfifo(file)
    assert shelf.reopened() == StoreFault.MALFORMED


def test_a_link_where_a_model_is_being_written_does_no_harm(path, tmp_path):
    """New files are made, never opened: what a planted link points to is not written to."""
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    counter = iter(range(10**6))

    def predictable(size: int) -> bytes:
        return next(counter).to_bytes(size, "big")

    with Store.open(path, KEY, random=predictable) as store:
        last = next(counter)
        for number in range(last, last + 20):
            (path / f"{number.to_bytes(16, 'big').hex()}.new").symlink_to(victim)
            (path / f"{number.to_bytes(16, 'big').hex()}.model").symlink_to(victim)
        with pytest.raises(StoreError):
            store.stage("alice")
        for link in path.glob("*.new"):
            link.unlink()
        put(store, "alice/a", content(1))
        assert contents(store) == {"alice/a": content(1)}
    assert victim.read_bytes() == b"mine"


@pytest.mark.parametrize("name", ["small", "catalogue"])
def test_what_is_not_sealed_is_refused(shelf, name):
    """Bytes of another program."""
    getattr(shelf, name).write_bytes(b"\x7fELF" + bytes(500))
    assert shelf.reopened() == StoreFault.MALFORMED


def test_names_of_others_are_left_alone(shelf):
    """`lost+found` and the like lie in the folder of a disk of its own."""
    (shelf.path / "lost+found").mkdir()
    (shelf.path / "notes.txt").write_text("mine")
    assert shelf.reopened() is None
    assert (shelf.path / "notes.txt").read_text() == "mine"


def test_a_refusal_says_which_file_and_what_to_do(shelf):
    """An operator reads the model's id, the file's name and the way out; the model's name is its owner's."""
    flip(shelf.small, 30)
    with pytest.raises(StoreError, match=rf"model \w+: {shelf.small.name} .*changed \[damaged\]") as caught:
        Store.open(shelf.path, KEY)
    assert "alice" not in str(caught.value)
    assert "blindai store repair" in caught.value.hint


def test_a_store_that_was_repaired_opens_without_what_was_lost(shelf, foreign):
    """A missing, a damaged and a foreign file are given up, and kept aside; the rest is there."""
    shelf.small.unlink()
    flip(shelf.large, HEADER + SEALED_CHUNK + 5)
    shutil.copy(foreign.small, shelf.path / foreign.small.name)
    found = {f.what: f.error.fault if f.error else None for f in examine(shelf.path, KEY)}
    assert found == {
        "alice/small": StoreFault.MISSING,
        "alice/other": None,
        "alice/large": StoreFault.DAMAGED,
        foreign.small.name: StoreFault.FOREIGN,
    }
    assert shelf.reopened() == StoreFault.MISSING
    examine(shelf.path, KEY, repair=True)
    with Store.open(shelf.path, KEY) as store:
        assert contents(store) == {"alice/other": content(("alice", "other"))}
        assert store.bound_keys("alice") == ("aa" * 32,)
    kept = {f"{shelf.large.name}.refused", f"{foreign.small.name}.refused"}
    assert files(shelf.path).keys() == {"catalogue", shelf.other.name} | kept


def test_the_host_learns_no_name(path):
    """Neither names, owners nor digests are in a file or in its name, and equal models are not seen to be."""
    data = content("same")
    with Store.open(path, KEY) as store:
        put(store, "alice/sentiment", data, visibility=Visibility.PUBLIC, platform="secretplatform")
        put(store, "robert/sentiment", data)
        store.bind("alice", ("ab" * 32,))
    everything = b"".join(name.encode() + raw for name, raw in files(path).items())
    for secret in (b"alice", b"robert", b"sentiment", b"secretplatform", b"abab", data[:32], data[-32:]):
        assert secret not in everything
    one, other = blob_files(path)
    assert one.read_bytes()[HEADER:] != other.read_bytes()[HEADER:]
