"""Between finding a model and using it: it goes, is replaced, or is no longer the caller's."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from blindai.errors import RequestCode, RequestError, StoreError, StoreFault
from blindai.runtime.engine import LoadedModel
from blindai.runtime.model_bytes import ModelBytes
from blindai.runtime.onnx import OnnxEngine
from blindai.runtime.shelf import Shelf
from blindai.server.callers.access import Action
from blindai.server.callers.caller import Caller, Quota, Role
from blindai.server.catalogue.admission import Admission
from blindai.server.catalogue.catalogue import Catalogue
from blindai.server.catalogue.entries import Entries
from blindai.server.catalogue.entry import Entry
from blindai.server.catalogue.keeping import SealedKeeping
from blindai.server.catalogue.room import CatalogueLimits
from blindai.server.catalogue.stock import Stock
from blindai.store.catalogue import Binding
from blindai.store.store import Store
from blindai.wire.access import Sharing, Visibility
from tests import models

ALICE = Caller("alice", Role.OWNER, "alice", "a1" * 32, Quota(max_models=2))
LAPTOP = Caller("laptop", Role.OWNER, "alice", "a2" * 32, Quota())
MODEL, OTHER = models.identity(), models.adder()
PUBLIC = Sharing(Visibility.PUBLIC)


class Interrupted(OnnxEngine):
    """The engine; something may happen while it has just loaded a model. It knows which are closed."""

    def __init__(self) -> None:
        super().__init__(threads=1)
        self.meanwhile: Callable[[], object] = lambda: None
        self.closed: list[LoadedModel] = []
        self.loaded: list[LoadedModel] = []

    def load(self, model: bytes | ModelBytes) -> LoadedModel:
        loaded = super().load(model)
        self.loaded.append(loaded)
        closing = loaded.close

        def close() -> None:
            self.closed.append(loaded)
            closing()

        loaded.close = close  # type: ignore[method-assign] # counted, and then done
        meanwhile, self.meanwhile = self.meanwhile, lambda: None
        meanwhile()
        return loaded


@dataclass
class Parts:
    """A catalogue over a store, with the parts that a test turns."""

    store: Store
    engine: Interrupted = field(default_factory=Interrupted)
    served: int = 0

    def __post_init__(self) -> None:
        self.keeping = SealedKeeping(self.store)
        self.shelf = Shelf(max_bytes=10**6)
        self.entries = Entries(())
        stock = Stock(
            self.entries, self.keeping, self.shelf, self.engine, now=lambda: 1000, served=lambda: self.served
        )
        self.catalogue = Catalogue(stock)
        self.admission = Admission(stock, CatalogueLimits(max_models=10, max_stored_bytes=10**6))

    def upload(self, text: str = "m", model: bytes = MODEL, caller: Caller = ALICE) -> Entry:
        name = self.admission.check(caller, text, len(model))
        intake = self.admission.intake(name)
        try:
            intake.write(model)
            intake.finish()
            return self.admission.commit(caller, name, intake, None)[0]
        finally:
            intake.discard()

    def kept_uses(self) -> dict[str, int]:
        """What was told of uses to whoever writes them down."""
        kept: dict[str, int] = {}
        self.catalogue.keep_uses(kept.update)
        return kept

    def found(self, action: Action = Action.SEE, caller: Caller = ALICE) -> Entry:
        return self.catalogue.find(caller, "m", None, action)


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Parts]:
    with Store.open(tmp_path / "store", b"k" * 32) as store:
        yield Parts(store)


def code_of(call: Callable[[], object]) -> RequestCode:
    with pytest.raises(RequestError) as caught:
        call()
    return caught.value.code


def run(parts: Parts, entry: Entry) -> str:
    """Run a model; return the name of its input."""
    with parts.catalogue.lend(entry) as model:
        return model.inputs[0].name


def test_a_key_that_was_removed_changes_nothing_more(parts: Parts):
    """What it asked for waited for the disk meanwhile; the owner who stayed still can."""
    parts.upload()
    parts.keeping.bind("alice", Binding((ALICE.key_id, LAPTOP.key_id)))
    entry = parts.found(Action.SHARE, LAPTOP)
    parts.keeping.bind("alice", Binding((ALICE.key_id,)))
    not_found = RequestCode.MODEL_NOT_FOUND
    assert code_of(lambda: parts.catalogue.share(entry, PUBLIC, LAPTOP)) is not_found
    assert code_of(lambda: parts.catalogue.remove(entry, LAPTOP)) is not_found
    assert parts.found().record.visibility is Visibility.PRIVATE
    assert parts.catalogue.share(entry, PUBLIC, ALICE).record.visibility is Visibility.PUBLIC
    parts.catalogue.remove(entry, ALICE)
    assert parts.store.models() == ()


def test_a_model_that_was_replaced_is_neither_shared_nor_deleted(parts: Parts):
    """Whoever wanted the old one gone or public said nothing of the new one."""
    old = parts.upload()
    new = parts.upload(model=OTHER)
    assert code_of(lambda: parts.catalogue.share(old, PUBLIC, ALICE)) is RequestCode.MODEL_NOT_FOUND
    assert code_of(lambda: parts.catalogue.remove(old, ALICE)) is RequestCode.MODEL_NOT_FOUND
    assert parts.found() == new
    assert parts.store.models() == (new.record,)


@pytest.mark.parametrize("end", ["replaced", "deleted"])
def test_a_model_that_went_before_it_was_loaded(parts: Parts, end: str):
    """There is none any more; that its file is gone is nobody's damage, and nothing stays loaded."""
    entry = parts.upload()
    parts.catalogue.unload(entry)
    if end == "deleted":
        parts.catalogue.remove(entry, ALICE)
    else:
        new = parts.upload(model=OTHER)
    assert code_of(lambda: run(parts, entry)) is RequestCode.MODEL_NOT_FOUND
    if end == "deleted":
        assert parts.shelf.loaded == (0, 0)
    else:
        assert parts.shelf.loaded == (1, len(OTHER))
        assert run(parts, new) == "a"


@pytest.mark.parametrize("end", ["replaced", "deleted"])
def test_a_model_that_goes_while_it_is_loaded(parts: Parts, end: str):
    """It is closed at once: nobody could ever ask for it again."""
    entry = parts.upload()
    parts.catalogue.unload(entry)
    before = len(parts.engine.loaded)
    change = {
        "replaced": lambda: parts.upload(model=OTHER),
        "deleted": lambda: parts.catalogue.remove(entry, ALICE),
    }[end]
    parts.engine.meanwhile = change
    assert code_of(lambda: run(parts, entry)) is RequestCode.MODEL_NOT_FOUND
    assert parts.engine.loaded[before] in parts.engine.closed
    assert parts.shelf.loaded == ((0, 0) if end == "deleted" else (1, len(OTHER)))


def test_a_model_that_went_while_it_was_damaged(parts: Parts, tmp_path: Path):
    """Damage is told to those who ask for a model that is there."""
    entry = parts.upload()
    parts.catalogue.unload(entry)
    (file,) = (file for file in (tmp_path / "store").iterdir() if file.name.endswith(".model"))
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    assert code_of(lambda: run(parts, entry)) is RequestCode.MODEL_DAMAGED
    assert parts.shelf.loaded == (0, 0)
    parts.entries.drop(entry)
    assert code_of(lambda: run(parts, entry)) is RequestCode.MODEL_NOT_FOUND


def test_two_uploads_that_each_had_room(parts: Parts):
    """The second one to be ready is refused, and leaves neither a model nor memory nor a file."""
    parts.upload("one")
    parts.engine.meanwhile = lambda: parts.upload("two")
    assert code_of(lambda: parts.upload("three")) is RequestCode.QUOTA_EXCEEDED
    assert [entry.record.name.name for entry in parts.entries.all()] == ["one", "two"]
    assert parts.shelf.loaded == (2, 2 * len(MODEL))
    assert len(parts.engine.closed) == 1


def test_a_store_that_fails_at_the_last_moment(parts: Parts):
    """Nothing has changed: the old model is there and runs, the new one is closed."""
    old = parts.upload()
    parts.engine.meanwhile = parts.store.close
    assert code_of(lambda: parts.upload(model=OTHER)) is RequestCode.STORAGE_UNAVAILABLE
    assert parts.found() == old
    assert run(parts, old) == "x"
    assert parts.shelf.loaded == (1, len(MODEL))
    assert parts.engine.loaded[1] in parts.engine.closed
    assert parts.engine.loaded[0] not in parts.engine.closed


def test_a_change_that_cannot_be_written_changes_nothing(parts: Parts):
    """Neither sharing nor deletion is believed before the disk has it."""
    entry = parts.upload()
    parts.store.close()
    for change in (
        lambda: parts.catalogue.share(entry, PUBLIC, ALICE),
        lambda: parts.catalogue.remove(entry, ALICE),
    ):
        assert code_of(change) is RequestCode.STORAGE_UNAVAILABLE
    assert parts.found() == entry
    assert run(parts, entry) == "x"


def test_how_long_a_model_is_unused(parts: Parts):
    """Served seconds to the second; what is used in this moment stays, and so does what just came."""
    parts.upload("a")
    parts.served = 50
    parts.upload("b")
    parts.served = 100
    assert parts.catalogue.remove_unused(100) == ()
    parts.served = 101
    run(parts, parts.entries.all()[0])
    assert parts.catalogue.remove_unused(100) == ()
    parts.kept_uses()
    parts.served = 151
    (gone,) = parts.catalogue.remove_unused(100)
    assert gone.record.name.name == "b"
    parts.served = 202
    assert [entry.record.name.name for entry in parts.catalogue.remove_unused(100)] == ["a"]
    assert parts.store.models() == ()
    assert parts.shelf.loaded == (0, 0)


def test_when_models_were_used(parts: Parts):
    """Each use is told once, by the model's id; that of a model that is gone is not told."""
    first, second = parts.upload("a"), parts.upload("b")
    parts.served = 7
    for entry in (first, first, second):
        run(parts, entry)
    parts.catalogue.remove(second, ALICE)
    assert parts.kept_uses() == {first.key: 1000}
    assert parts.kept_uses() == {}
    (entry,) = parts.entries.all()
    assert (entry.record.last_used, entry.record.last_used_served) == (1000, 7)
    assert entry.record.sha256 == hashlib.sha256(MODEL).hexdigest()


def test_uses_that_could_not_be_written(parts: Parts):
    """They are told again, with what came in between: a used model must not look unused."""
    first, second = parts.upload("a"), parts.upload("b")
    parts.served = 7
    run(parts, first)

    def full(_: object) -> None:
        run(parts, second)
        raise StoreError(StoreFault.FULL, "full")

    with pytest.raises(StoreError):
        parts.catalogue.keep_uses(full)
    parts.served = 1000
    assert parts.catalogue.remove_unused(500) == ()
    assert parts.kept_uses() == {first.key: 1000, second.key: 1000}
    assert parts.kept_uses() == {}
