"""Model uploads: where the bytes come from, their digest, and telling how far it is."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from blindai.client.calls import Reply, repository_path
from blindai.errors import ResponseError, UsageError
from blindai.wire.metadata import ModelEntry, model_entry

CHUNK_BYTES = 256 * 1024
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Upload:
    """A model on its way: `source` is a path or the bytes themselves."""

    name: str
    source: Path | bytes = field(repr=False)
    size_bytes: int
    sha256: bytes

    @property
    def path(self) -> str:
        return repository_path(self.name)

    @property
    def headers(self) -> dict[str, str]:
        return {
            "Content-Type": "application/octet-stream",
            "Content-Length": str(self.size_bytes),
            "Content-Digest": f"sha-256=:{base64.b64encode(self.sha256).decode('ascii')}:",
        }

    def pieces(self, progress: Progress) -> Iterator[bytes]:
        """Yield the bytes and report how many have been taken, without holding the file in memory."""
        sent = 0
        for piece in _pieces(self.source):
            sent += len(piece)
            if sent > self.size_bytes:
                break
            yield piece
            progress(sent, self.size_bytes)
        if sent != self.size_bytes:
            raise UsageError("the model changed while it was sent", hint="upload it again")

    def read(self, reply: Reply) -> ModelEntry:
        """Return the server's record, or raise ResponseError if it is about other bytes."""
        try:
            entry = model_entry(json.loads(reply.body))
        except ValueError as exc:
            raise ResponseError("the server's record of the upload is malformed") from exc
        if entry.sha256 != self.sha256.hex():
            raise ResponseError("the server stored other bytes than were sent")
        return entry


def prepare(source: str | os.PathLike[str] | bytes, name: str | None) -> Upload:
    """Read the digest and size of a model; its name defaults to the file's, in lower case."""
    if isinstance(source, bytes):
        if name is None:
            raise UsageError("a model given as bytes needs a name", hint="name='sentiment'")
        return Upload(name, source, len(source), hashlib.sha256(source).digest())
    path = Path(source)
    digest, size_bytes = hashlib.sha256(), 0
    try:
        for piece in _pieces(path):
            digest.update(piece)
            size_bytes += len(piece)
    except OSError as exc:
        raise UsageError(f"cannot read the model: {path}: {exc.strerror}") from exc
    return Upload(name or path.stem.lower(), path, size_bytes, digest.digest())


@contextmanager
def reporting(progress: bool | Progress, name: str) -> Iterator[Progress]:
    """Return where to report: the caller's function, a bar on a terminal's stderr, or nowhere."""
    if callable(progress):
        yield progress
    elif progress and sys.stderr.isatty():
        yield from _bar(name)
    else:
        yield lambda _sent, _total: None


def _bar(name: str) -> Iterator[Progress]:
    # Imported here: a piped or programmatic upload needs no terminal library.
    from tqdm import tqdm  # noqa: PLC0415

    with tqdm(desc=f"uploading {name}", unit="B", unit_scale=True, leave=False, file=sys.stderr) as bar:

        def report(sent: int, total: int) -> None:
            bar.total = total
            bar.update(sent - bar.n)

        yield report


def _pieces(source: Path | bytes) -> Iterator[bytes]:
    if isinstance(source, bytes):
        view = memoryview(source)
        for start in range(0, len(source), CHUNK_BYTES):
            yield bytes(view[start : start + CHUNK_BYTES])
        return
    try:
        file = source.open("rb")
    except OSError as exc:
        raise UsageError(f"cannot read the model: {source}: {exc.strerror}") from exc
    with file:
        while piece := file.read(CHUNK_BYTES):
            yield piece
