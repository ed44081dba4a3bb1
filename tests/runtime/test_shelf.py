"""The models that are loaded."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence

import pytest

from blindai.errors import RequestCode, RequestError
from blindai.runtime.engine import LoadedModel
from blindai.runtime.shelf import Shelf
from blindai.wire.metadata import TensorSpec
from blindai.wire.tensors import Tensor


class Weight:
    """A model that does nothing but know whether it was closed; the outside of an engine."""

    platform = "test"
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()

    def __init__(self) -> None:
        self.closed = 0

    def run(self, inputs: Sequence[Tensor], outputs: Sequence[str]) -> tuple[Tensor, ...]:
        raise NotImplementedError

    def close(self) -> None:
        self.closed += 1


def loader(model: LoadedModel, calls: list[str] | None = None) -> Callable[[], LoadedModel]:
    def load() -> LoadedModel:
        if calls is not None:
            calls.append("load")
        return model

    return load


def code_of(call: Callable[[], object]) -> RequestCode:
    with pytest.raises(RequestError) as caught:
        call()
    return caught.value.code


def test_a_model_is_loaded_once_and_lent_often():
    """The first request loads; the others find it."""
    shelf, calls = Shelf(max_bytes=10), []
    model = Weight()
    for _ in range(3):
        with shelf.lend("a", 5, loader(model, calls)) as lent:
            assert lent is model
    assert calls == ["load"]
    assert shelf.holds("a")
    assert shelf.loaded == (1, 5)


def test_many_who_ask_at_once_make_one_load():
    """Requests that come while a model is loading wait for it, and do not load it again."""
    shelf, calls, started, go = Shelf(max_bytes=10), [], threading.Event(), threading.Event()
    model = Weight()

    def slow() -> LoadedModel:
        calls.append("load")
        started.set()
        assert go.wait(20)
        return model

    seen: list[LoadedModel] = []

    def ask() -> None:
        with shelf.lend("a", 5, slow) as lent:
            seen.append(lent)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert started.wait(20)
    go.set()
    for thread in threads:
        thread.join(20)
    assert calls == ["load"]
    assert seen == [model] * 4


def test_the_longest_unused_model_goes_first():
    """When room is needed, an idle model is unloaded: the one that nobody used for longest."""
    shelf = Shelf(max_bytes=10)
    first, second, third = Weight(), Weight(), Weight()
    for key, model in (("a", first), ("b", second), ("a", first)):
        with shelf.lend(key, 5, loader(model)):
            pass
    with shelf.lend("c", 5, loader(third)):
        pass
    assert (first.closed, second.closed) == (0, 1)
    assert not shelf.holds("b")


def test_a_model_that_runs_is_not_unloaded():
    """Room is never made by closing what somebody uses: the newcomer is told to try again."""
    shelf, busy = Shelf(max_bytes=10), Weight()
    with shelf.lend("a", 8, loader(busy)):
        assert code_of(lambda: shelf.lend("b", 8, loader(Weight())).__enter__()) == RequestCode.BUSY
        assert busy.closed == 0
    with shelf.lend("b", 8, loader(Weight())):
        assert busy.closed == 1


def test_a_pinned_model_stays():
    """What cannot be loaded again is never unloaded to make room."""
    shelf, pinned = Shelf(max_bytes=10), Weight()
    shelf.put("a", pinned, 8, pinned=True)
    assert code_of(lambda: shelf.put("b", Weight(), 8, pinned=False)) == RequestCode.STORAGE_FULL
    assert code_of(lambda: shelf.check_room(8)) == RequestCode.STORAGE_FULL
    shelf.check_room(2)
    assert pinned.closed == 0


def test_no_more_is_unloaded_than_is_needed_and_nothing_in_vain():
    """Where there would be no room even so, nobody's model is unloaded."""
    shelf, idle, pinned = Shelf(max_bytes=10), Weight(), Weight()
    shelf.put("pinned", pinned, 5, pinned=True)
    shelf.put("idle", idle, 3, pinned=False)
    assert code_of(lambda: shelf.put("big", Weight(), 6, pinned=False)) == RequestCode.STORAGE_FULL
    assert idle.closed == 0


def test_a_dropped_model_is_closed_after_its_last_user():
    """Requests that run on a deleted or replaced model finish on it."""
    shelf, model = Shelf(max_bytes=10), Weight()
    with shelf.lend("a", 5, loader(model)), shelf.lend("a", 5, loader(model)):
        assert shelf.drop("a")
        assert model.closed == 0
        assert not shelf.holds("a")
    assert model.closed == 1
    assert not shelf.drop("a")


def test_an_idle_model_is_closed_when_it_is_dropped():
    """Nothing keeps what nobody uses."""
    shelf, model = Shelf(max_bytes=10), Weight()
    shelf.put("a", model, 5, pinned=True)
    shelf.drop("a")
    assert model.closed == 1
    assert shelf.loaded == (0, 0)


def test_a_model_that_does_not_load_leaves_nothing_behind():
    """A failed load gives its room back, and the next request tries again."""
    shelf = Shelf(max_bytes=5)

    def broken() -> LoadedModel:
        raise RequestError(RequestCode.MODEL_DAMAGED, "no")

    assert code_of(lambda: shelf.lend("a", 5, broken).__enter__()) == RequestCode.MODEL_DAMAGED
    assert shelf.loaded == (0, 0)
    model = Weight()
    with contextlib.ExitStack() as stack:
        assert stack.enter_context(shelf.lend("a", 5, loader(model))) is model
