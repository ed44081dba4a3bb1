"""What the sealed store keeps, and for how long."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from dataclasses import replace

import pytest

from blindai.errors import StoreError, StoreFault
from blindai.store.store import Store, examine
from blindai.wire.access import Visibility
from blindai.wire.model_name import ModelName
from tests.store.shelf import (
    CHUNK,
    KEY,
    OTHER_KEY,
    blob_files,
    content,
    contents,
    described,
    files,
    get,
    put,
    read,
)

ALICE = "alice/sentiment"


def fault_of(call, *arguments, **keywords) -> StoreFault:
    with pytest.raises(StoreError) as caught:
        call(*arguments, **keywords)
    return caught.value.fault


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 3 * CHUNK + 7])
def test_what_was_stored_is_there_after_a_restart(path, size):
    """A model of any size is read back, and its record too, by the next server."""
    data = content(size, size)
    with Store.open(path, KEY) as store:
        model = put(store, ALICE, data)
        assert get(store, model) == data
    with Store.open(path, KEY) as store:
        assert store.models() == (model,)
        assert get(store, model) == data


@pytest.mark.parametrize("step", [500, 4096, CHUNK - 1, CHUNK + 1, 3 * CHUNK])
def test_a_model_is_read_in_pieces_of_any_size(store, step):
    """Whatever the reader's buffer, the bytes are the same."""
    data = content("pieces", 2 * CHUNK + 99)
    model = put(store, ALICE, data)
    with store.read(model) as blob:
        pieces = []
        buffer = memoryview(bytearray(step))
        while count := blob.readinto(buffer):
            pieces.append(bytes(buffer[:count]))
    assert b"".join(pieces) == data


def test_a_staged_model_can_be_read_before_it_is_committed(store):
    """The server tries a model before anybody can see it."""
    data = content("staged", CHUNK + 3)
    with store.stage("alice") as staging:
        staging.write(memoryview(data))
        staged = staging.finish()
        assert (staged.sha256, staged.size_bytes) == (hashlib.sha256(data).hexdigest(), len(data))
        with store.read_staged(staged) as blob:
            assert read(blob) == data
        assert store.models() == ()
        store.commit(staged, described(ALICE, data))
    assert contents(store) == {ALICE: data}


@pytest.mark.parametrize("when", ["started", "written", "finished"])
def test_an_upload_that_is_given_up_leaves_nothing(store, path, when):
    """Leaving the staging without a commit removes its file."""
    before = files(path)
    with store.stage("alice") as staging:
        if when != "started":
            staging.write(content("given up", 2 * CHUNK))
        if when == "finished":
            staging.finish()
        assert len(files(path)) == 2
    assert files(path) == before


def test_a_model_of_the_same_name_is_replaced(store, path):
    """The new bytes are there and the old ones are gone."""
    put(store, ALICE, content("old"))
    put(store, ALICE, content("new"))
    assert contents(store) == {ALICE: content("new")}
    assert len(blob_files(path)) == 1


def test_the_same_bytes_of_one_owner_are_stored_once(store, path):
    """Two names share a file until both are removed; another owner has a file of their own."""
    data = content("shared")
    for name in ("alice/a", "alice/b", "bob/a"):
        put(store, name, data)
    assert len(blob_files(path)) == 2
    store.remove(ModelName("alice", "a"))
    assert contents(store) == {"alice/b": data, "bob/a": data}
    assert len(blob_files(path)) == 2
    store.remove(ModelName("alice", "b"))
    assert contents(store) == {"bob/a": data}
    assert len(blob_files(path)) == 1


def test_uploading_again_heals_a_damaged_file(store, path):
    """The bytes that came last are those that every name of the owner uses."""
    first = put(store, "alice/a", content("healed"))
    (damaged,) = blob_files(path)
    raw = bytearray(damaged.read_bytes())
    raw[-1] ^= 1
    damaged.write_bytes(raw)
    assert fault_of(get, store, first) == StoreFault.DAMAGED
    put(store, "alice/b", content("healed"))
    assert get(store, first) == content("healed")
    assert not damaged.exists()


def test_a_record_is_updated_without_its_bytes(store, path):
    """Sharing changes the record; the file stays as it is."""
    model = put(store, ALICE, content(1))
    (file,) = blob_files(path)
    raw = file.read_bytes()
    shared = replace(model, visibility=Visibility.SHARED, shared_with=("ab" * 32,))
    store.update(shared)
    assert store.models() == (shared,)
    assert file.read_bytes() == raw


def test_a_record_of_a_model_that_was_replaced_is_not_updated(store):
    """Whoever read a record before it was replaced does not bring it back."""
    old = put(store, ALICE, content("old"))
    new = put(store, ALICE, content("new"))
    assert fault_of(store.update, old) == StoreFault.MISSING
    assert fault_of(store.update, replace(new, id="other")) == StoreFault.MISSING
    assert store.models() == (new,)


def test_a_model_that_is_gone_is_missing(store):
    """Reading, updating and removing a model that is not there fail by name."""
    model = put(store, ALICE, content(1))
    store.remove(model.name)
    for call, argument in ((store.read, model), (store.update, model), (store.remove, model.name)):
        assert fault_of(call, argument) == StoreFault.MISSING


def test_a_model_that_is_removed_while_it_is_read_is_read_to_its_end(store):
    """The reader holds the file."""
    data = content("long", 2 * CHUNK)
    model = put(store, ALICE, data)
    with store.read(model) as blob:
        store.remove(model.name)
        assert read(blob) == data


def test_a_namespace_stays_bound(path):
    """What a namespace was bound to is there after a restart, and can be changed and ended."""
    keys = ("aa" * 32, "bb" * 32)
    with Store.open(path, KEY) as store:
        assert store.bound_keys("alice") == ()
        store.bind("alice", keys)
    with Store.open(path, KEY) as store:
        assert store.bound_keys("alice") == keys
        store.bind("alice", keys[:1])
        assert store.bound_keys("alice") == keys[:1]
        store.bind("alice", ())
        assert store.bound_keys("alice") == ()


def test_days_are_counted_while_the_server_runs(path):
    """The store's clock goes on over restarts, never back, and says when models were used."""
    with Store.open(path, KEY) as store:
        old, new = put(store, "alice/old", content(1)), put(store, "alice/new", content(2))
        store.tick(100, {new.id: 5000, "gone": 5000})
        store.tick(40)
        assert store.served_seconds == 100
    with Store.open(path, KEY) as store:
        assert store.served_seconds == 100
        store.tick(200)
        used = replace(new, last_used=5000, last_used_served=100)
        assert store.models() == (used, old)
        assert store.served_seconds == 200


def test_a_counter_could_tell_a_roll_back(store):
    """Each change has a higher revision."""
    revisions = [store.revision]
    put(store, ALICE, content(1))
    revisions.append(store.revision)
    store.bind("alice", ("aa" * 32,))
    revisions.append(store.revision)
    assert revisions == [1, 2, 3]


def test_two_stores_on_one_folder_are_refused(store, path):
    """The second one is told so, and the first goes on."""
    assert fault_of(Store.open, path, KEY) == StoreFault.IN_USE
    put(store, ALICE, content(1))


def test_a_closed_store_is_left_alone(path):
    """After closing, the folder can be opened again and the old store changes nothing in it."""
    store = Store.open(path, KEY)
    staging = store.stage("alice")
    store.close()
    with Store.open(path, KEY):
        before = files(path)
        assert fault_of(store.stage, "alice") == StoreFault.UNAVAILABLE
        assert fault_of(staging.write, content(1, 2 * CHUNK)) == StoreFault.UNAVAILABLE
        assert files(path) == before


def test_other_bytes_than_were_staged_are_not_described(store):
    """A record that does not fit the staged bytes is a programming error, and commits nothing."""
    with store.stage("alice") as staging:
        staging.write(content(1))
        staged = staging.finish()
        for wrong in (described(ALICE, content(2)), described("bob/x", content(1))):
            with pytest.raises(ValueError, match="other bytes"):
                store.commit(staged, wrong)
    assert store.models() == ()


@pytest.mark.parametrize(
    "change", [{"platform": "x" * 2**20}, {"created": -1}, {"id": 1}, {"sha256": "A" * 64}]
)
def test_a_record_that_could_not_be_read_back_is_not_kept(store, path, change):
    """It would lock the store up at its next opening."""
    model = put(store, ALICE, content(1))
    assert fault_of(store.update, replace(model, **change)) == StoreFault.MALFORMED
    assert store.models() == (model,)


def test_a_model_that_could_not_be_read_back_is_not_committed(store, path):
    """Nor is anything left of it."""
    before = files(path)
    with store.stage("alice") as staging:
        staging.write(content(1))
        assert (
            fault_of(store.commit, staging.finish(), described(ALICE, content(1), created=-1)) == "malformed"
        )
    assert files(path) == before


def test_many_threads_use_one_store(path):
    """Uploads, updates and removals of several threads leave what each of them left."""

    def work(number: int) -> None:
        for turn in range(5):
            put(store, f"alice/m{number}", content((number, turn)))
            put(store, f"alice/gone{number}", content("common"))
            store.remove(ModelName("alice", f"gone{number}"))

    with Store.open(path, KEY) as store:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    with Store.open(path, KEY) as store:
        assert contents(store) == {f"alice/m{number}": content((number, 4)) for number in range(4)}
    assert len(files(path)) == 5


def test_rotation_seals_everything_again(path):
    """Every file is another one afterwards, the old key opens nothing, and the models are the same."""
    with Store.open(path, KEY) as store:
        for name in ("alice/a", "alice/b", "bob/c"):
            put(store, name, content(name, CHUNK + 9))
        store.bind("alice", ("aa" * 32,))
        before, models, said = files(path), store.models(), []
        store.rotate(OTHER_KEY, progress=lambda done, total: said.append((done, total)))
        assert said[-1] == (3 * (CHUNK + 9), 3 * (CHUNK + 9))
        assert contents(store) == {str(m.name): content(m.name, CHUNK + 9) for m in models}
        put(store, "bob/d", content("d"))
    after = files(path)
    assert before.keys() < after.keys()
    assert not any(after[name] == before[name] for name in before)
    assert fault_of(Store.open, path, KEY) == StoreFault.WRONG_KEY
    with Store.open(path, OTHER_KEY) as store:
        assert contents(store) == {str(m.name): content(m.name, CHUNK + 9) for m in models} | {
            "bob/d": content("d")
        }
        assert store.bound_keys("alice") == ("aa" * 32,)


def test_rotation_waits_for_nobody(store):
    """While a model is being uploaded, rotating is refused, and the upload goes on."""
    with store.stage("alice") as staging:
        staging.write(content(1))
        assert fault_of(store.rotate) == StoreFault.IN_USE
        store.commit(staging.finish(), described(ALICE, content(1)))
        store.rotate()
    assert contents(store) == {ALICE: content(1)}


def test_an_interrupted_rotation_does_not_begin_again(path):
    """What was sealed under the new keys stays as it is when the rotation goes on."""

    class Interruption(BaseException):
        pass

    def interrupt(done: int, _total: int) -> None:
        if done > 5000:
            raise Interruption

    with Store.open(path, KEY) as store:
        for name in ("alice/a", "alice/b", "alice/c"):
            put(store, name, content(name))
        before = files(path)
        with pytest.raises(Interruption):
            store.rotate(OTHER_KEY, progress=interrupt)
    assert fault_of(Store.open, path, KEY) == StoreFault.WRONG_KEY
    with Store.open(path, OTHER_KEY) as store:
        middle = files(path)
        done = {name for name in before if name.endswith(".model") and before[name] != middle[name]}
        assert len(done) == 1
        store.rotate()
        assert contents(store) == {name: content(name) for name in ("alice/a", "alice/b", "alice/c")}
    after = files(path)
    assert {name for name in after if after[name] == middle[name]} == done


def test_a_rotation_leaves_no_file_under_the_old_keys(path, monkeypatch):
    """A file that could not be removed before would be taken for another store's afterwards."""

    def unlink(name: str, *, dir_fd: int) -> None:
        raise OSError(errno.EIO, "broken")

    with Store.open(path, KEY) as store:
        put(store, "alice/a", content("a"))
        model = put(store, "alice/b", content("b"))
        with monkeypatch.context() as failing:
            failing.setattr(os, "unlink", unlink)
            store.remove(model.name)
        assert len(blob_files(path)) == 2
        store.rotate()
    with Store.open(path, KEY) as store:
        assert contents(store) == {"alice/a": content("a")}
    assert len(blob_files(path)) == 1


def test_a_catalogue_that_describes_other_bytes_is_found_out(path):
    """A size at each opening; a digest, which takes reading everything, on demand."""
    with Store.open(path, KEY) as store:
        put(store, ALICE, content(1))
        ledger = store._ledger
        ((name, entry),) = ledger.catalogue.entries.items()
        wrong = replace(entry, model=replace(entry.model, sha256="ab" * 32))
        ledger.replace(replace(ledger.catalogue, entries={name: wrong}))
    (found,) = examine(path, KEY)
    assert found.error.fault == StoreFault.DAMAGED
    with Store.open(path, KEY) as store:
        wrong = replace(entry, model=replace(entry.model, size_bytes=4999))
        store._ledger.replace(replace(store._ledger.catalogue, entries={name: wrong}))
    assert fault_of(Store.open, path, KEY) == StoreFault.DAMAGED
