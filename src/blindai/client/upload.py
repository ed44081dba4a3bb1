"""Model uploads: where the bytes come from, and their digest.

A model whose weights lie in files beside it goes as one bundle. Of any model, one chunk is in memory.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from blindai.client.exchange import Reply, repository_path
from blindai.client.progress import Progress as Progress
from blindai.client.progress import reporting as reporting
from blindai.errors import ResponseError, UsageError
from blindai.wire import bundle
from blindai.wire.metadata import ModelEntry, model_entry
from blindai.wire.names import shown
from blindai.wire.onnx_locations import external_locations

CHUNK_BYTES = 256 * 1024

_BESIDE = "an ONNX file and the files of its weights lie in one folder"
_ONNX_NAME = "model.onnx"  # in a bundle, whatever the file is called: a name is none of the server's business


@dataclass(frozen=True)
class Bundle:
    """What a bundle is made of, in order: files, and the bytes before each of them."""

    parts: tuple[Path | bytes, ...] = field(repr=False)


Source = Path | bytes | Bundle


@dataclass(frozen=True)
class Upload:
    """A model on its way: `source` is a path, the bytes themselves, or the parts of a bundle."""

    name: str
    source: Source = field(repr=False)
    size_bytes: int
    sha256: bytes

    @property
    def path(self) -> str:
        return repository_path(self.name)

    @property
    def headers(self) -> dict[str, str]:
        return {
            "Content-Type": (
                bundle.CONTENT_TYPE if isinstance(self.source, Bundle) else "application/octet-stream"
            ),
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
    """Read the digest and size of a model; its name defaults to the file's, in lower case.

    A model that names files for its weights becomes a bundle of them all.
    """
    if isinstance(source, bytes):
        if name is None:
            raise UsageError("a model given as bytes needs a name", hint="name='sentiment'")
        return Upload(name, source, len(source), hashlib.sha256(source).digest())
    path = Path(source)
    locations = _locations(path)
    parts: Source = _bundle(path, locations) if locations else path
    digest, size_bytes = hashlib.sha256(), 0
    try:
        for piece in _pieces(parts):
            digest.update(piece)
            size_bytes += len(piece)
    except OSError as exc:
        raise UsageError(f"cannot read the model: {path}: {exc.strerror}") from exc
    return Upload(name or path.stem.lower(), parts, size_bytes, digest.digest())


def _locations(path: Path) -> tuple[str, ...]:
    """Return the files that the model names. What cannot be read as ONNX names none: the server will say."""
    try:
        with path.open("rb") as file:
            return external_locations(file, path.stat().st_size)
    except ValueError:
        return ()
    except OSError as exc:
        raise UsageError(f"cannot read the model: {path}: {exc.strerror}") from exc


def _bundle(path: Path, locations: tuple[str, ...]) -> Bundle:
    files = [path]
    for location in locations:
        try:
            bundle.check_name(location)
        except ValueError as exc:
            raise UsageError(
                f"the model names {shown(location)} for its weights, which is no file beside it",
                hint=f"{_BESIDE}: save it so, with "
                "onnx.save(model, path, save_as_external_data=True, location='weights.bin')",
            ) from exc
        files.append(path.parent / location)
    # A name that the model itself uses, whoever made it, is not the ONNX file's too.
    first = next(name for name in (_ONNX_NAME, f"_{_ONNX_NAME}", path.name) if name not in locations)
    names = [first, *locations]
    try:
        before, _ = bundle.layout([(name, _size(file)) for name, file in zip(names, files, strict=True)])
    except ValueError as exc:
        raise UsageError(f"the model's files do not make a bundle: {exc}", hint=_BESIDE) from exc
    return Bundle(tuple(part for pair in zip(before, files, strict=True) for part in pair))


def _size(file: Path) -> int:
    # Opening a pipe or a device would wait, or never end.
    if not file.is_file():
        raise UsageError(
            f"the model's weights are missing: {file}", hint=f"{_BESIDE}: copy them all, and keep their names"
        )
    return file.stat().st_size


def _pieces(source: Source) -> Iterator[bytes]:
    if isinstance(source, Bundle):
        for part in source.parts:
            yield from _pieces(part)
        return
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
