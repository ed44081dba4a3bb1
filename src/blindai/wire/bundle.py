"""The model bundle: an ONNX file and the files that hold its weights, as one body.

A protobuf ends at 2 GiB; larger models keep their weights in files beside the ONNX file and name them in it.
The bundle is the magic, the length of a directory (8 bytes, big-endian), the directory in JSON, and the
files, each at the next multiple of 64 bytes, zeros between:

    {"files": [{"name": "model.onnx", "size": 1234}, {"name": "model.onnx.data", "size": 5000000000}]}

The first file is the ONNX file. Names are those in the model; they are never paths of a disk.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from blindai.wire import strict_json

CONTENT_TYPE: Final = "application/vnd.blindai.model-bundle"
MAGIC: Final = b"BLINDAI-MODEL-BUNDLE-1\n"
ALIGNMENT: Final = 64  # of every file: what vector instructions like best
MAX_FILES: Final = 1024
MAX_NAME_BYTES: Final = 255
MAX_DIRECTORY_BYTES: Final = 1024 * 1024

_LENGTH_BYTES = 8


@dataclass(frozen=True)
class BundledFile:
    """One file of a bundle; `content` borrows the bundle's memory."""

    name: str
    content: memoryview = field(repr=False)


def is_bundle(body: memoryview) -> bool:
    """Whether this is meant as a bundle; `read` says whether it is one."""
    return bytes(body[: len(MAGIC)]) == MAGIC


def read(body: memoryview) -> tuple[BundledFile, ...]:
    """Return the files, the ONNX file first, or raise ValueError. Nothing is copied.

    Every byte is accounted for: two different bundles never hold the same files.
    """
    if not is_bundle(body):
        raise ValueError("not a model bundle")
    start = len(MAGIC) + _LENGTH_BYTES
    length = int.from_bytes(body[len(MAGIC) : start], "big")
    if len(body) < start or length > MAX_DIRECTORY_BYTES or length > len(body) - start:
        raise ValueError("its directory is longer than the bundle, or than a directory may be")
    text = bytes(body[start : start + length])
    entries = _entries(strict_json.decode_object(text, max_bytes=MAX_DIRECTORY_BYTES))
    if _directory(entries) != text:
        raise ValueError("its directory is not written as it must be")
    files, offset = [], start + length
    for name, size in entries:
        begin = _aligned(offset)
        if begin > len(body) or size > len(body) - begin:
            raise ValueError("its files are longer than the bundle")
        if any(body[offset:begin]):
            raise ValueError("there is something between its files")
        files.append(BundledFile(name, body[begin : begin + size]))
        offset = begin + size
    if offset != len(body):
        raise ValueError("there is something after its last file")
    return tuple(files)


def layout(files: Sequence[tuple[str, int]]) -> tuple[tuple[bytes, ...], int]:
    """Return what to write before each of these files (name, size), and the size of the whole bundle.

    Raises ValueError for files that no bundle can have.
    """
    _check(files)
    directory = _directory(files)
    head = MAGIC + len(directory).to_bytes(_LENGTH_BYTES, "big") + directory
    before, offset = [], len(head)
    for _, size in files:
        before.append(bytes(_aligned(offset) - offset))
        offset = _aligned(offset) + size
    before[0] = head + before[0]
    return tuple(before), offset


def check_name(name: str) -> None:
    """Raise ValueError unless a file of a bundle may have this name: the plain name of a file.

    The client opens files of these names beside the model: without this a model from elsewhere could have
    it send `../../.ssh/id_ed25519`.
    """
    if (
        name in ("", ".", "..")
        or any(character in "/\\:" or not character.isprintable() for character in name)
        or len(name.encode("utf-8", "surrogatepass")) > MAX_NAME_BYTES
    ):
        raise ValueError(
            f"a file of a model is named by at most {MAX_NAME_BYTES} printable bytes, without a folder"
        )


def _entries(directory: dict[str, Any]) -> list[tuple[str, int]]:
    members = strict_json.members(directory, "the directory", {"files"})["files"]
    if not isinstance(members, list):
        raise ValueError("its files are not a list")
    entries = []
    for member in members:
        entry = strict_json.members(member, "a file", {"name", "size"})
        name, size = entry["name"], entry["size"]
        if not isinstance(name, str) or type(size) is not int:
            raise ValueError("a file has a name that is not text, or a size that is not an integer")
        entries.append((name, size))
    _check(entries)
    return entries


def _check(entries: Sequence[tuple[str, int]]) -> None:
    if not 0 < len(entries) <= MAX_FILES:
        raise ValueError(f"a bundle has 1 to {MAX_FILES} files")
    for name, size in entries:
        check_name(name)
        if size < 0:
            raise ValueError("a file has a negative size")
    if len({name for name, _ in entries}) != len(entries):
        raise ValueError("two files have the same name")


def _directory(entries: Iterable[tuple[str, int]]) -> bytes:
    value = {"files": [{"name": name, "size": size} for name, size in entries]}
    return json.dumps(value, separators=(",", ":")).encode("ascii")


def _aligned(offset: int) -> int:
    return -(-offset // ALIGNMENT) * ALIGNMENT
