"""The files that a model is: bundles, and the names of files inside ONNX."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from typing import Any

import onnx
from google.protobuf.message import DecodeError, Message  # type: ignore[import-untyped]
from onnx import TensorProto, helper

from blindai.runtime import model_stream
from blindai.wire import bundle
from blindai.wire.onnx_locations import external_locations
from fuzz.signing import members_of, text_in

_SEARCH_BYTES = 256 * 1024  # the model is searched by parts


def model_bundle(data: bytes) -> None:
    """The files of a bundle, and nothing else, make up its bytes: written again they are the same bundle."""
    recipe = members_of(data)
    body = _bundle(recipe) if recipe else data
    files = bundle.read(memoryview(body))
    before, size = bundle.layout([(file.name, len(file.content)) for file in files])
    whole = b"".join(gap + bytes(file.content) for gap, file in zip(before, files, strict=True))
    if whole != body or size != len(body):
        raise AssertionError("two bundles of the same files")
    if any("/" in file.name or file.name in (".", "..") for file in files):
        raise AssertionError("a name that leads elsewhere")


def _bundle(recipe: dict[str, Any]) -> bytes:
    """Lay the contents out as they must lie, under whatever the directory says."""
    directory = text_in(recipe, "directory").encode("utf-8", "replace")
    length = recipe.get("length")
    size = length % 2**64 if type(length) is int else len(directory)
    body = text_in(recipe, "magic").encode("utf-8", "replace") + size.to_bytes(8, "big") + directory
    contents = recipe.get("contents")
    for content in contents[:50] if isinstance(contents, list) else ():
        gap = bytes.fromhex(text_in(recipe, "gap")) if _is_hexadecimal(recipe.get("gap")) else b""
        body += gap.ljust(-len(body) % bundle.ALIGNMENT, b"\0") + str(content).encode("utf-8", "replace")
    return body


def _is_hexadecimal(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch("(?:[0-9a-f]{2})*", value) is not None


def model_bundles() -> list[bytes]:
    contents = (["onnx"], ["an onnx file", "w" * 200, ""])
    found = []
    for texts in contents:
        listed = [(f"model-{number}.onnx", len(text)) for number, text in enumerate(texts)]
        before, _ = bundle.layout(listed)
        directory = {"files": [{"name": name, "size": size} for name, size in listed]}
        recipe = {
            "magic": bundle.MAGIC.decode(),
            "length": None,
            "directory": json.dumps(directory, separators=(",", ":")),
            "gap": "",
            "contents": texts,
        }
        found += [
            json.dumps(recipe).encode(),
            json.dumps({**recipe, "directory": json.dumps(directory)}).encode(),
            b"".join(gap + text.encode() for gap, text in zip(before, texts, strict=True)),
        ]
    return found


def onnx_locations(data: bytes) -> None:
    """Where the protobuf library reads the same bytes, it finds the same files; and no file is overlooked."""
    streams = model_stream.names_no_file(memoryview(data))
    straddling = bytes(_SEARCH_BYTES - len(data) // 2) + data
    if model_stream.names_no_file(memoryview(straddling)) and not streams:
        raise AssertionError("what lies on the border of two parts is not seen")
    model = _parsed(data)
    if streams and model is not None and any("location" in keys for keys in _keys(model)):
        raise AssertionError("a model that names a file would be streamed")
    found = external_locations(io.BytesIO(data), len(data))
    if found and streams:
        raise AssertionError("a model that names a file would be streamed")
    if model is not None and found != _locations(model):
        raise AssertionError("other files than the protobuf library finds")


def _parsed(data: bytes) -> onnx.ModelProto | None:
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError:
        return None
    return model


def _locations(model: onnx.ModelProto) -> tuple[str, ...]:
    entries = [entry for tensor in model.graph.initializer for entry in tensor.external_data]
    return tuple(dict.fromkeys(entry.value for entry in entries if entry.key == "location" and entry.value))


def _keys(message: Message) -> Iterator[list[str]]:
    """Yield the keys of external data of every tensor, wherever in a model it is."""
    if isinstance(message, TensorProto):
        yield [entry.key for entry in message.external_data]
    for field, value in message.ListFields():
        if field.message_type is not None:
            for inner in value if field.is_repeated else [value]:
                yield from _keys(inner)


def onnx_models() -> list[bytes]:
    graph = onnx.GraphProto(name="g")
    graph.initializer.append(helper.make_tensor("in", TensorProto.FLOAT, [2], [1.0, 2.0]))
    for name, file in (("w", "w.bin"), ("v", "v.bin"), ("u", "w.bin")):
        tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[4])
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", file), ("offset", "0")):
            tensor.external_data.add(key=key, value=value)
        graph.initializer.append(tensor)
    inside = onnx.GraphProto(name="branch")
    inside.initializer.append(graph.initializer[1])
    node = helper.make_node("If", ["in"], ["y"], then_branch=inside, else_branch=inside)
    branched = onnx.GraphProto(name="g", node=[node])
    plain = onnx.GraphProto(name="g", node=[helper.make_node("Identity", ["x"], ["allocation"])])
    return [helper.make_model(each).SerializeToString() for each in (graph, branched, plain)]
