"""A model on its way into the store: sealed as it comes, hashed, and nobody's until it is committed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from blindai.store.seal import Buffer
from blindai.store.sealed_file import NewFile


@dataclass(frozen=True, eq=False)
class Staged:
    """A whole model on the disk that no name refers to yet."""

    sha256: str
    size_bytes: int
    namespace: str
    file: NewFile = field(repr=False)


class Staging:
    """Takes a model's bytes. Leaving the context removes them, unless they were committed."""

    def __init__(self, file: NewFile, namespace: str) -> None:
        self._file, self._namespace = file, namespace
        self._digest = hashlib.sha256()
        self._size_bytes = 0

    def write(self, data: Buffer) -> None:
        self._file.write(data)
        self._digest.update(data)
        self._size_bytes += memoryview(data).nbytes

    def finish(self) -> Staged:
        self._file.finish()
        return Staged(self._digest.hexdigest(), self._size_bytes, self._namespace, self._file)

    def discard(self) -> None:
        self._file.discard()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.discard()
