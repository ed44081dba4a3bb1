"""The shelf while models are replaced, dropped and loaded at one moment: no byte too many, none unclosed."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from blindai.errors import RequestCode, RequestError
from blindai.runtime.engine import LoadedModel
from blindai.runtime.shelf import Shelf
from tests.runtime.test_shelf import Weight, code_of, loader


def test_the_room_of_a_replaced_model_counts_as_free():
    """A pinned model is replaced by one that would not fit beside it, and by none that is too large."""
    shelf, old = Shelf(max_bytes=10), Weight()
    shelf.put("old", old, 6, pinned=True)
    assert code_of(lambda: shelf.put("new", Weight(), 5, pinned=True)) == RequestCode.STORAGE_FULL
    assert (
        code_of(lambda: shelf.put("new", Weight(), 11, pinned=True, replacing="old"))
        == RequestCode.STORAGE_FULL
    )
    shelf.put("new", Weight(), 10, pinned=True, replacing="old")
    assert old.closed == 0
    shelf.drop("old")
    assert (old.closed, shelf.loaded) == (1, (1, 10))


def test_the_room_of_a_replaced_model_counts_once():
    """One that is idle is not unloaded to make room for what its own room was counted for already."""
    shelf, old = Shelf(max_bytes=10), Weight()
    shelf.put("old", old, 6, pinned=False)
    with shelf.lend("busy", 4, loader(Weight())):
        new = Weight()
        assert (
            code_of(lambda: shelf.put("new", new, 9, pinned=False, replacing="old"))
            == RequestCode.STORAGE_FULL
        )
        shelf.put("new", new, 6, pinned=False, replacing="old")
        assert shelf.drop("old")
        assert shelf.loaded == (2, 10)


@pytest.mark.parametrize("replacing", [None, "gone"])
def test_what_is_not_there_gives_no_room(replacing: str | None):
    """A replaced model that was unloaded before has no room to give; a new one needs exactly its own."""
    shelf = Shelf(max_bytes=10)
    shelf.put("a", Weight(), 4, pinned=True)
    shelf.put("b", Weight(), 6, pinned=True, replacing=replacing)
    assert (
        code_of(lambda: shelf.put("c", Weight(), 1, pinned=True, replacing=replacing))
        == RequestCode.STORAGE_FULL
    )


def test_what_is_unloaded_for_a_newcomer_is_closed():
    """Whoever puts a model there frees the memory of those that make room."""
    shelf, idle = Shelf(max_bytes=10), Weight()
    shelf.put("idle", idle, 6, pinned=False)
    shelf.put("new", Weight(), 5, pinned=False)
    assert (idle.closed, shelf.loaded) == (1, (1, 5))


def test_what_could_be_unloaded_is_no_hindrance():
    """Only what is pinned counts where a model is asked for whose turn may come later."""
    shelf = Shelf(max_bytes=10)
    shelf.put("idle", Weight(), 9, pinned=False)
    shelf.check_room(10)
    shelf.put("pinned", Weight(), 1, pinned=True)
    shelf.check_room(9)
    assert code_of(lambda: shelf.check_room(10)) == RequestCode.STORAGE_FULL


class Loading:
    """A load that has begun on another thread, and ends when it is told to."""

    def __init__(self, shelf: Shelf, key: str, size_bytes: int, result: LoadedModel | RequestError) -> None:
        self._started, self._go = threading.Event(), threading.Event()
        self._result = result
        self.lent: list[LoadedModel] = []
        self._thread = threading.Thread(target=self._ask, args=(shelf, key, size_bytes))
        self._thread.start()
        assert self._started.wait(20)

    def _load(self) -> LoadedModel:
        self._started.set()
        assert self._go.wait(20)
        if isinstance(self._result, RequestError):
            raise self._result
        return self._result

    def _ask(self, shelf: Shelf, key: str, size_bytes: int) -> None:
        try:
            with shelf.lend(key, size_bytes, self._load) as model:
                self.lent.append(model)
        except RequestError:
            pass

    def end(self) -> None:
        self._go.set()
        self._thread.join(20)


def test_a_model_that_is_loading_is_not_loaded_yet():
    """But it has its room: another that would not fit beside it waits."""
    shelf, model = Shelf(max_bytes=10), Weight()
    loading = Loading(shelf, "a", 6, model)
    assert not shelf.holds("a")
    assert shelf.loaded == (1, 6)
    assert code_of(lambda: shelf.lend("b", 6, loader(Weight())).__enter__()) == RequestCode.BUSY
    loading.end()
    assert shelf.holds("a")
    assert loading.lent == [model]


def test_a_model_that_is_dropped_while_it_loads():
    """Its request still gets it; then it is closed, and its room is free."""
    shelf, model = Shelf(max_bytes=10), Weight()
    loading = Loading(shelf, "a", 6, model)
    assert shelf.drop("a")
    loading.end()
    assert loading.lent == [model]
    assert (model.closed, shelf.loaded) == (1, (0, 0))


def test_a_load_that_fails_after_its_model_was_dropped():
    """What has the key by then is another's, and stays."""
    shelf, other = Shelf(max_bytes=20), Weight()
    loading = Loading(shelf, "a", 6, RequestError(RequestCode.MODEL_DAMAGED, "no"))
    shelf.drop("a")
    shelf.put("a", other, 6, pinned=False)
    loading.end()
    assert shelf.holds("a")
    assert other.closed == 0


def test_a_load_that_fails_leaves_room_for_those_who_wait():
    """Whoever waited for it tries again, on the same place."""
    shelf, model = Shelf(max_bytes=10), Weight()
    loading = Loading(shelf, "a", 6, RequestError(RequestCode.MODEL_DAMAGED, "no"))
    lent: list[LoadedModel] = []

    def wait() -> None:
        with shelf.lend("a", 6, loader(model)) as got:
            lent.append(got)

    waiting = threading.Thread(target=wait)
    waiting.start()
    while shelf._places["a"].leases < 2:  # noqa: SLF001 - that it waits is seen nowhere else
        threading.Event().wait(0.001)
    loading.end()
    waiting.join(20)
    assert lent == [model]
    assert shelf.loaded == (1, 6)
    assert shelf.drop("a")
    assert model.closed == 1


def test_leases_end_however_they_end():
    """An error of whoever runs a model gives it back, too."""
    shelf, model = Shelf(max_bytes=10), Weight()

    def failing() -> None:
        with shelf.lend("a", 6, loader(model)):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        failing()
    with shelf.lend("b", 6, loader(Weight())):
        assert model.closed == 1


def test_a_lent_model_is_the_most_recently_used():
    """Also one that was put there long ago."""
    shelf = Shelf(max_bytes=10)
    first, second = Weight(), Weight()
    shelf.put("first", first, 5, pinned=False)
    shelf.put("second", second, 5, pinned=False)
    never: Callable[[], LoadedModel] = loader(Weight())
    with shelf.lend("first", 5, never) as lent:
        assert lent is first
    shelf.put("third", Weight(), 5, pinned=False)
    assert (first.closed, second.closed) == (0, 1)
