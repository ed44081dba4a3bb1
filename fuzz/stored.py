"""The sealed store: files cut, mixed and changed by whoever has the disk, and what lies in a catalogue."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from typing import Any

from blindai.errors import StoreFault
from blindai.store import catalogue as catalogues
from blindai.store import record as records
from blindai.store.catalogue import Binding, Catalogue, Entry
from blindai.store.record import StoredModel
from blindai.store.seal import CHUNK_BYTES, HEADER_BYTES, TAG_BYTES, Buffer, Key, Kind, Opener, Place, Sealer
from blindai.wire.access import Visibility
from blindai.wire.dtypes import BY_NAME
from blindai.wire.metadata import TensorSpec
from blindai.wire.model_name import ModelName
from fuzz import samples
from fuzz.signing import bytes_in, members_of, text_in

STORE, FOREIGN = Key(bytes([1]) * 32), Key(bytes([2]) * 32)


@dataclass(frozen=True)
class File:
    """A sealed file as it was written."""

    place: Place
    plain: bytes
    sealed: bytes

    def piece(self, index: int) -> bytes:
        start = HEADER_BYTES + index * (CHUNK_BYTES + TAG_BYTES)
        return self.sealed[start : start + CHUNK_BYTES + TAG_BYTES]


class Source:
    """Sealed bytes in memory, which end early from one read on: a file that is cut while it is read."""

    def __init__(self, data: bytes, reads: int) -> None:
        self._data = data
        self._reads = reads
        self.size = len(data)

    def read_at(self, buffer: memoryview, offset: int) -> int:
        self._reads -= 1
        part = self._data[offset : offset + len(buffer)]
        part = part[: len(part) // 2] if self._reads < 0 else part
        buffer[: len(part)] = part
        return len(part)


def sealed_file(data: bytes) -> None:
    """What opens, even in part, is what was sealed in this place; the whole opens only unchanged."""
    recipe = members_of(data)
    genuine = _files().get(text_in(recipe, "place"), _files()["small"])
    raw = _assembled(recipe)
    keys = [key for key in (FOREIGN, STORE) if key is STORE or recipe.get("two_keys") is True]
    source = Source(raw, _number(recipe, "whole_reads", 1000))
    opener = Opener(source, keys, genuine.place, unknown=StoreFault.WRONG_KEY)
    reads = recipe.get("reads")
    sizes = [size for size in reads if type(size) is int] if isinstance(reads, list) else []
    got = _read(opener, sizes or [CHUNK_BYTES], genuine)
    if got != len(genuine.plain) or raw != genuine.sealed:
        raise AssertionError("a changed file was read to its end")


def _read(opener: Opener, sizes: list[int], genuine: File) -> int:
    """Read to the end by these sizes, over and over; return how much there was."""
    got, turn = 0, 0
    while True:
        buffer = bytearray(min(max(1, abs(sizes[turn % len(sizes)])), 2**22) if turn < 50 else 2**22)
        turn += 1
        count = opener.readinto(memoryview(buffer))
        if buffer[:count] != genuine.plain[got : got + count]:
            raise AssertionError("other bytes than were sealed")
        if not count:
            return got
        got += count


def _assembled(recipe: dict[str, Any]) -> bytes:
    pieces = [bytes_in(recipe, "header")]
    chunks = recipe.get("chunks")
    for chunk in chunks[:6] if isinstance(chunks, list) else ():
        match chunk:
            case [str(name), int(index)] if name in _files():
                pieces.append(_files()[name].piece(abs(index) % 4))
    raw = bytearray(b"".join(pieces))
    edits = recipe.get("edits")
    for edit in edits[:100] if isinstance(edits, list) else ():
        match edit:
            case [int(at), int(flipped)] if raw:
                raw[at % len(raw)] ^= flipped & 0xFF
    del raw[len(raw) - min(len(raw), _number(recipe, "cut", 0)) :]
    return bytes(raw) + bytes_in(recipe, "more")


def _number(recipe: dict[str, Any], name: str, otherwise: int) -> int:
    value = recipe.get(name)
    return value if type(value) is int and value >= 0 else otherwise


def sealed_files() -> list[bytes]:
    found: list[dict[str, Any]] = []
    for name, file in _files().items():
        count = max(1, -(-len(file.plain) // CHUNK_BYTES))
        recipe: dict[str, Any] = {
            "place": name,
            "header": file.sealed[:HEADER_BYTES].hex(),
            "chunks": [[name, index] for index in range(count)],
            "reads": [100, CHUNK_BYTES],
            "edits": [],
            "cut": 0,
            "more": "",
            "whole_reads": 1000,
            "two_keys": False,
            "other": ["other", 0],
        }
        found += [recipe, {**recipe, "edits": [[HEADER_BYTES - 1, 0]], "two_keys": True}]
        # In the place of another, with the chunks of another, and with its own in another order.
        found.append({**recipe, "place": "small" if name != "small" else "empty"})
        found.append({**recipe, "chunks": [["other", index] for index in range(count)]})
        orders = ([1, 0, 2], [0, 2], [0, 0, 2]) if count == 3 else ()
        found += [{**recipe, "chunks": [[name, index] for index in order]} for order in orders]
    return [json.dumps(recipe).encode() for recipe in found]


@cache
def _files() -> dict[str, File]:
    """Return files of one store, and of another under the same name."""
    model, third = Place(Kind.MODEL, "00.model"), Place(Kind.MODEL, "01.model")
    long = bytes(range(256)) * (CHUNK_BYTES // 256)
    return {
        "small": _file(STORE, Place(Kind.MODEL, "02.model"), b"thirty-seven bytes of a sealed file.."),
        "empty": _file(STORE, Place(Kind.MODEL, "03.model"), b""),
        "catalogue": _file(STORE, Place(Kind.CATALOGUE, "catalogue"), b"{}"),
        "long": _file(STORE, model, long + long[::-1] + b"end"),
        "other": _file(STORE, third, long + long + b"end"),
        "foreign": _file(FOREIGN, model, long + long[::-1] + b"end"),
    }


def _file(key: Key, place: Place, plain: bytes) -> File:
    sealed = bytearray()

    def write_at(data: Buffer, offset: int) -> None:
        sealed[len(sealed) :] = bytes(max(0, offset + len(data) - len(sealed)))
        sealed[offset : offset + len(data)] = data

    sealer = Sealer(key, place, place.name.encode().ljust(32, b"."), write_at)
    sealer.write(plain)
    sealer.finish()
    return File(place, plain, bytes(sealed))


def catalogue(data: bytes) -> None:
    """A catalogue that is read can be written, and read again as it was."""
    lines = members_of(data).get("lines")
    text = b"\n".join(
        line.encode("utf-8", "replace") if isinstance(line, str) else json.dumps(line).encode()
        for line in (lines if isinstance(lines, list) else [])
    )
    read = catalogues.decode(text)
    if catalogues.decode(catalogues.encode(read)) != read:
        raise AssertionError("a catalogue does not survive being written")
    for name, entry in read.entries.items():
        if entry.model.name != name or ModelName.parse(str(name)) != name:
            raise AssertionError("a model under another name")
        records.check(entry.model)
    for namespace, binding in read.bindings.items():
        catalogues.check_binding(namespace, binding)


def record(data: bytes) -> None:
    """A record that is read can be written, and read again as it was."""
    value = members_of(data)
    read = records.decode(value)
    records.check(read)
    if not re.fullmatch("[0-9a-f]{64}", read.sha256) or min(read.size_bytes, read.created) < 0:
        raise AssertionError("a record of nothing that can be")
    written = records.encode(read)
    if set(written.pop("shared_with")) != set(value["shared_with"]):
        raise AssertionError("shared with others than was written")
    # A tensor may have more members than this version knows.
    if any(value[name] != member for name, member in written.items() if name not in ("inputs", "outputs")):
        raise AssertionError("other members than were written")


def stored_records() -> list[bytes]:
    return [json.dumps(records.encode(model)).encode() for model in _models()]


def stored_catalogues() -> list[bytes]:
    models = {model.name: Entry(model, f"{number:02}.model") for number, model in enumerate(_models())}
    bindings = {"alice": Binding(("ab" * 32, "cd" * 32), ("01" * 32,)), "bob": Binding(("ef" * 32,))}
    whole = [Catalogue((STORE,)), Catalogue((FOREIGN, STORE), 7, 3600, bindings, models)]
    texts = [[json.loads(line) for line in catalogues.encode(each).split(b"\n")] for each in whole]
    return [json.dumps({"lines": lines}).encode() for lines in texts]


def _models() -> list[StoredModel]:
    spec = TensorSpec("x", BY_NAME["FP32"], (-1, 3))
    usual: dict[str, Any] = {
        "id": "m1",
        "sha256": "00" * 32,
        "size_bytes": 100,
        "platform": "onnxruntime_onnx",
        "inputs": (spec, spec),
        "outputs": (spec,),
        "created": samples.NOW,
        "last_used": samples.NOW,
        "last_used_served": 5,
    }
    return [
        StoredModel(ModelName("alice", "a"), visibility=Visibility.SHARED, shared_with=("ab" * 32,), **usual),
        StoredModel(ModelName("", "b.c"), visibility=Visibility.PRIVATE, shared_with=(), **usual),
    ]
