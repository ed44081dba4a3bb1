from __future__ import annotations

import hashlib

import pytest

from blindai.errors import RequestCode, RequestError
from blindai.runtime.registry import Registry, check_name


class StubModel:
    """A model that only knows whether it was closed."""

    platform = "stub"
    inputs = ()
    outputs = ()

    def __init__(self) -> None:
        self.closed = 0

    def run(self, inputs, outputs):
        return ()

    def close(self) -> None:
        self.closed += 1


class StubEngine:
    """Loads anything but b"bad"; runs `while_loading` in the middle of it."""

    def __init__(self) -> None:
        self.loaded: list[StubModel] = []
        self.while_loading = lambda: None

    def load(self, model: bytes) -> StubModel:
        if model == b"bad":
            raise RequestError(RequestCode.MODEL_INVALID, "bad")
        self.while_loading()
        self.loaded.append(StubModel())
        return self.loaded[-1]


@pytest.fixture
def engine():
    return StubEngine()


@pytest.fixture
def registry(engine):
    return Registry(engine, max_models=2, max_total_bytes=10)


def code_of(call, *arguments) -> RequestCode:
    with pytest.raises(RequestError) as caught:
        call(*arguments)
    return caught.value.code


def test_a_record_says_what_was_loaded(registry):
    """A model is found with the digest and size of its bytes, and listed."""
    record, replaced = registry.add("a", b"1234")
    assert not replaced
    assert (record.version, record.size_bytes) == ("1", 4)
    assert record.sha256 == hashlib.sha256(b"1234").hexdigest()
    assert registry.find("a") is registry.find("a", "1") is record
    assert registry.index() == (record,)


def test_models_are_listed_by_name(registry):
    """The index is in alphabetical order."""
    registry.add("b", b"1")
    registry.add("a", b"1")
    assert [record.name for record in registry.index()] == ["a", "b"]


@pytest.mark.parametrize("version", ["2", "", "01"])
def test_other_versions_are_not_there(registry, version):
    """There is one version, "1"."""
    registry.add("a", b"1")
    assert code_of(registry.find, "a", version) == RequestCode.MODEL_NOT_FOUND


def test_what_is_removed_is_gone(registry, engine):
    """A removed model is closed, and unknown from then on."""
    registry.add("a", b"1")
    registry.remove("a")
    assert engine.loaded[0].closed == 1
    assert code_of(registry.find, "a") == RequestCode.MODEL_NOT_FOUND
    assert code_of(registry.remove, "a") == RequestCode.MODEL_NOT_FOUND


def test_adding_replaces(registry, engine):
    """The same name again replaces the model, and closes the old one."""
    registry.add("a", b"1")
    record, replaced = registry.add("a", b"2")
    assert replaced
    assert registry.find("a") is record
    assert [model.closed for model in engine.loaded] == [1, 0]


@pytest.mark.parametrize("end", ["remove", "replace"])
def test_a_model_in_use_is_closed_after_its_last_use(registry, engine, end):
    """Leases keep a removed or replaced model alive; the last one closes it, once."""
    registry.add("a", b"1")
    model = engine.loaded[0]
    with registry.lease("a"):
        with registry.lease("a"):
            registry.remove("a") if end == "remove" else registry.add("a", b"2")
        assert model.closed == 0
    assert model.closed == 1


def test_a_lease_leaves_the_model_open(registry, engine):
    """Using a model does not close it."""
    registry.add("a", b"1")
    with registry.lease("a"):
        pass
    assert engine.loaded[0].closed == 0


def test_too_many_models(registry):
    """One model more than allowed is refused; replacing one of them is not."""
    registry.add("a", b"1")
    registry.add("b", b"1")
    assert code_of(registry.add, "c", b"1") == RequestCode.STORAGE_FULL
    registry.add("b", b"2")


def test_too_many_bytes(registry):
    """Bytes are counted over all models, those about to be replaced excepted."""
    registry.add("a", b"123456")
    assert code_of(registry.add, "b", b"12345") == RequestCode.STORAGE_FULL
    assert code_of(registry.check_room, "b", 5) == RequestCode.STORAGE_FULL
    registry.check_room("b", 4)
    registry.add("a", b"1234567890")


def test_room_is_checked_again_after_loading(registry, engine):
    """Of two models loaded at the same time, with room for one, the second is refused and closed."""

    def overtake() -> None:
        engine.while_loading = lambda: None
        registry.add("first", b"123456")

    engine.while_loading = overtake
    assert code_of(registry.add, "second", b"123456") == RequestCode.STORAGE_FULL
    assert [record.name for record in registry.index()] == ["first"]
    assert [model.closed for model in engine.loaded] == [0, 1]


def test_a_model_that_does_not_load_replaces_nothing(registry):
    """After a failed upload the old model is still there."""
    old, _ = registry.add("a", b"1")
    assert code_of(registry.add, "a", b"bad") == RequestCode.MODEL_INVALID
    assert registry.find("a") is old


@pytest.mark.parametrize("name", ["a", "0", "resnet-50_v1.5", "a" * 128])
def test_names_that_are_allowed(name):
    """Lower-case letters, digits, dot, underscore and hyphen."""
    check_name(name)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a..b", "../x", "a/b", "-a", "_a", "a b", "a\n", "é", "a\0", "a" * 129, "a%2f"]
)
def test_names_that_are_not_allowed(name):
    """Anything that could mean something to a file system, a shell or a terminal."""
    assert code_of(check_name, name) == RequestCode.NAME_INVALID


def test_upper_case_gets_a_hint():
    """Capitals are refused, and the message says why."""
    with pytest.raises(RequestError, match="lower case only"):
        check_name("ResNet")


def test_a_bad_name_is_not_loaded(registry, engine):
    """The name is checked before the model is parsed."""
    assert code_of(registry.add, "A", b"1") == RequestCode.NAME_INVALID
    assert engine.loaded == []
