"""Where models and namespaces are kept: sealed in a store, or for the life of this process only."""

from __future__ import annotations

from typing import Protocol

from blindai.errors import RequestCode, RequestError
from blindai.runtime.engine import Engine, LoadedModel
from blindai.server.catalogue.faults import translated
from blindai.server.catalogue.intake import Intake, MemoryIntake, SealedIntake, filled
from blindai.store.catalogue import UNBOUND, Binding
from blindai.store.record import StoredModel
from blindai.store.store import Store
from blindai.wire.model_name import ModelName


class Keeping(Protocol):
    """What the catalogue needs of a place. All of it blocks, and raises RequestError."""

    @property
    def loads_again(self) -> bool:
        """Whether a model can be unloaded, because it can be loaded again."""

    def models(self) -> tuple[StoredModel, ...]: ...
    def intake(self, namespace: str) -> Intake: ...
    def commit(self, intake: Intake, model: StoredModel) -> None: ...
    def load(self, model: StoredModel, engine: Engine) -> LoadedModel: ...
    def update(self, model: StoredModel) -> None: ...
    def remove(self, name: ModelName) -> None: ...
    def binding(self, namespace: str) -> Binding: ...
    def bind(self, namespace: str, binding: Binding) -> None: ...


class MemoryKeeping:
    """Nothing persists: a model lives as long as it is loaded."""

    loads_again = False

    def __init__(self) -> None:
        self._bound: dict[str, Binding] = {}

    def models(self) -> tuple[StoredModel, ...]:
        return ()

    def intake(self, namespace: str) -> Intake:  # noqa: ARG002 - whose it is matters to a store only
        return MemoryIntake()

    def commit(self, intake: Intake, model: StoredModel) -> None:
        pass

    def load(self, model: StoredModel, engine: Engine) -> LoadedModel:  # noqa: ARG002
        raise RequestError(RequestCode.MODEL_NOT_FOUND, "the model was unloaded")  # it never is: it is pinned

    def update(self, model: StoredModel) -> None:
        pass

    def remove(self, name: ModelName) -> None:
        pass

    def binding(self, namespace: str) -> Binding:
        return self._bound.get(namespace, UNBOUND)

    def bind(self, namespace: str, binding: Binding) -> None:
        self._bound[namespace] = binding


class SealedKeeping:
    """In a sealed store."""

    loads_again = True

    def __init__(self, store: Store) -> None:
        self._store = store

    def models(self) -> tuple[StoredModel, ...]:
        return self._store.models()

    def intake(self, namespace: str) -> Intake:
        with translated():
            return SealedIntake(self._store, self._store.stage(namespace))

    def commit(self, intake: Intake, model: StoredModel) -> None:
        assert isinstance(intake, SealedIntake)  # noqa: S101 - what `intake` of this class returned
        with translated():
            self._store.commit(intake.staged, model)

    def load(self, model: StoredModel, engine: Engine) -> LoadedModel:
        with translated(), self._store.read(model) as blob:
            content = filled(blob)
        return engine.load(content)

    def update(self, model: StoredModel) -> None:
        with translated():
            self._store.update(model)

    def remove(self, name: ModelName) -> None:
        with translated():
            self._store.remove(name)

    def binding(self, namespace: str) -> Binding:
        return self._store.binding(namespace)

    def bind(self, namespace: str, binding: Binding) -> None:
        with translated():
            self._store.bind(namespace, binding.keys, binding.invited)
