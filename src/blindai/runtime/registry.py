"""The models that the server holds, by name.

Adding a model under a name that exists replaces it: requests that are running finish on the old one.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

from blindai.errors import RequestCode, RequestError
from blindai.runtime.engine import Engine, LoadedModel

VERSION = "1"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,127}")


@dataclass(frozen=True)
class ModelRecord:
    """A model, and what is known of the bytes it was loaded from (`sha256` in hex)."""

    name: str
    version: str
    sha256: str
    size_bytes: int
    model: LoadedModel = field(repr=False)


class Registry:
    """Name -> model. Safe to use from several threads; models are parsed outside its lock."""

    def __init__(self, engine: Engine, *, max_models: int, max_total_bytes: int) -> None:
        self._engine = engine
        self._max_models = max_models
        self._max_total_bytes = max_total_bytes
        self._lock = threading.Lock()
        self._held: dict[str, _Held] = {}

    def add(self, name: str, model: bytes, *, sha256: str | None = None) -> tuple[ModelRecord, bool]:
        """Load `model` and hold it as `name`; say whether it replaced another. Blocks.

        `sha256` saves hashing again what was hashed on the way in. Raises RequestError (name-invalid,
        model-invalid, storage-full); then nothing has changed.
        """
        check_name(name)
        with self._lock:
            self._check_room(name, len(model))
        digest = sha256 if sha256 is not None else hashlib.sha256(model).hexdigest()
        record = ModelRecord(name, VERSION, digest, len(model), self._engine.load(model))
        try:
            with self._lock:
                # Others may have been added while this one was parsed.
                self._check_room(name, len(model))
                replaced = self._held.get(name)
                self._held[name] = _Held(record)
        except RequestError:
            record.model.close()
            raise
        if replaced is not None:
            self._retire(replaced)
        return record, replaced is not None

    def remove(self, name: str) -> ModelRecord:
        """Forget the model. Raises RequestError (model-not-found)."""
        with self._lock:
            held = self._held.pop(name, None)
        if held is None:
            raise _not_found()
        self._retire(held)
        return held.record

    def find(self, name: str, version: str | None = None) -> ModelRecord:
        """Return what is known of a model. Raises RequestError (model-not-found)."""
        with self._lock:
            return self._find(name, version).record

    @contextlib.contextmanager
    def lease(self, name: str, version: str | None = None) -> Iterator[ModelRecord]:
        """Lend a model: it is not closed before the last lease ends, even if it is removed or replaced."""
        with self._lock:
            held = self._find(name, version)
            held.leases += 1
        try:
            yield held.record
        finally:
            with self._lock:
                held.leases -= 1
                close = held.retired and held.leases == 0
            if close:
                held.record.model.close()

    def index(self) -> tuple[ModelRecord, ...]:
        """Return all models, by name."""
        with self._lock:
            return tuple(held.record for _, held in sorted(self._held.items()))

    def check_room(self, name: str, size_bytes: int) -> None:
        """Raise RequestError (storage-full) if a model of this size could not be held under `name`."""
        with self._lock:
            self._check_room(name, size_bytes)

    def _check_room(self, name: str, size_bytes: int) -> None:
        others = [held.record for other, held in self._held.items() if other != name]
        if len(others) + 1 > self._max_models:
            raise RequestError(
                RequestCode.STORAGE_FULL,
                f"the server holds at most {self._max_models} models: delete one first",
            )
        if sum(record.size_bytes for record in others) + size_bytes > self._max_total_bytes:
            raise RequestError(
                RequestCode.STORAGE_FULL,
                f"the server holds at most {self._max_total_bytes} bytes of models: delete one first",
            )

    def _find(self, name: str, version: str | None) -> _Held:
        held = self._held.get(name)
        if held is None or version not in (None, held.record.version):
            raise _not_found()
        return held

    def _retire(self, held: _Held) -> None:
        with self._lock:
            held.retired = True
            close = held.leases == 0
        if close:
            held.record.model.close()


@dataclass
class _Held:
    """A record and who uses it; guarded by the registry's lock."""

    record: ModelRecord
    leases: int = 0
    retired: bool = False


def check_name(name: str) -> None:
    """Raise RequestError (name-invalid) unless `name` may name a model."""
    if _NAME.fullmatch(name) and ".." not in name:
        return
    hint = " (lower case only)" if name != name.lower() else ""
    raise RequestError(
        RequestCode.NAME_INVALID,
        "a model's name has 1 to 128 characters of a-z, 0-9, '.', '_' and '-', starts with a letter or "
        f"digit and has no '..'{hint}",
    )


def _not_found() -> RequestError:
    return RequestError(
        RequestCode.MODEL_NOT_FOUND,
        "there is no such model or version; POST /v2/repository/index lists the models",
    )
