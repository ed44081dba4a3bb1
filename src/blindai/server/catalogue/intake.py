"""What an upload becomes while it arrives: sealed chunks on a disk, or one buffer in memory.

No process holds a model more than once: the sealed kind holds one chunk of it, and what the engine gets is
one buffer, filled from the store.
"""

from __future__ import annotations

import hashlib
import threading
from typing import Protocol

from blindai.errors import RequestCode, RequestError
from blindai.runtime.engine import Engine, LoadedModel
from blindai.runtime.model_bytes import ModelBytes
from blindai.server.catalogue.faults import translated
from blindai.store.sealed_file import Blob
from blindai.store.staging import Staged, Staging
from blindai.store.store import Store


class Intake(Protocol):
    """A model that is arriving. Every method blocks; `discard` may be called at any time, and twice."""

    in_memory: bool

    def write(self, data: bytes | bytearray) -> None: ...

    def finish(self) -> None:
        """All has arrived."""

    @property
    def sha256(self) -> str:
        """Of all that arrived, in hexadecimal; after `finish`."""

    @property
    def size_bytes(self) -> int: ...

    def load(self, engine: Engine) -> LoadedModel:
        """Return the loaded model; after `finish`. Raises RequestError."""

    def discard(self) -> None: ...


class MemoryIntake:
    """Gathers a model in one buffer, which the engine then takes over."""

    in_memory = True

    def __init__(self) -> None:
        self._content: ModelBytes | None = ModelBytes.allocate(0)
        self._hasher = hashlib.sha256()
        self.size_bytes = 0

    def write(self, data: bytes | bytearray) -> None:
        if self._content is None:
            raise RequestError(RequestCode.INTERNAL, "the upload was discarded")
        self._hasher.update(data)
        self._content.append(data)
        self.size_bytes += len(data)

    def finish(self) -> None:
        pass

    @property
    def sha256(self) -> str:
        return self._hasher.hexdigest()

    def load(self, engine: Engine) -> LoadedModel:
        content, self._content = self._content, None
        if content is None:
            raise RequestError(RequestCode.INTERNAL, "the upload was discarded")
        return engine.load(content)

    def discard(self) -> None:
        if self._content is not None:
            self._content.close()
            self._content = None


class SealedIntake:
    """Seals a model into a store while it arrives; it is in no way visible there before it is committed."""

    in_memory = False

    def __init__(self, store: Store, staging: Staging) -> None:
        self._store = store
        self._staging = staging
        self._staged: Staged | None = None
        # An upload that is cut off is discarded while its last piece may still be on its way to the disk: a
        # descriptor that is closed under a write is somebody else's by the time it writes.
        self._writing = threading.Lock()

    @property
    def staged(self) -> Staged:
        if self._staged is None:
            raise RequestError(RequestCode.INTERNAL, "the upload is not complete")
        return self._staged

    @property
    def sha256(self) -> str:
        return self.staged.sha256

    @property
    def size_bytes(self) -> int:
        return self.staged.size_bytes

    def write(self, data: bytes | bytearray) -> None:
        with translated(), self._writing:
            self._staging.write(data)

    def finish(self) -> None:
        with translated(), self._writing:
            self._staged = self._staging.finish()

    def load(self, engine: Engine) -> LoadedModel:
        with translated(), self._store.read_staged(self.staged) as blob:
            content = filled(blob)
        return engine.load(content)

    def discard(self) -> None:
        with self._writing:
            self._staging.discard()


def filled(blob: Blob) -> ModelBytes:
    """Return the whole of a blob in one buffer, or raise StoreError."""
    content = ModelBytes.allocate(blob.size_bytes)
    try:
        offset = 0
        while count := blob.readinto(content.view[offset:]):
            offset += count
    except BaseException:
        content.close()
        raise
    return content
