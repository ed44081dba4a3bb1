"""Models that are mostly weights, in one file or several, for tests of how they are loaded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from blindai.wire import bundle
from tests.models import IR_VERSION, OPSET


def of_megabytes(megabytes: int, *, dimension: int = 1024) -> bytes:
    """`x`, FP32 [n, dimension] -> `y`, the same shape: matrix products with weights of that size together."""
    matrices = max(1, megabytes * 1_000_000 // (4 * dimension * dimension))
    random = np.random.default_rng(4)
    graph = _products(matrices, dimension)
    for tensor in graph.initializer:
        tensor.raw_data = _matrix(random, dimension)
    return serialized(graph)


def write_large_bundle(path: Path, *, matrices: int, dimension: int) -> Path:
    """Write a bundle of such a model, of any size, matrix by matrix."""
    random = np.random.default_rng(4)
    graph, matrix_bytes = _products(matrices, dimension), 4 * dimension * dimension
    for index, tensor in enumerate(graph.initializer):
        point_to(tensor, "weights.bin", index * matrix_bytes, matrix_bytes)
    model = serialized(graph)
    before, _ = bundle.layout([("model.onnx", len(model)), ("weights.bin", matrices * matrix_bytes)])
    with path.open("wb") as file:
        file.write(before[0] + model + before[1])
        for _ in range(matrices):
            file.write(_matrix(random, dimension))
    return path


def _products(matrices: int, dimension: int) -> onnx.GraphProto:
    """Return a graph whose weights have no values yet."""
    graph = onnx.GraphProto(name="weights")
    graph.node.append(helper.make_node("Identity", ["x"], ["h0"]))
    for index in range(matrices):
        graph.initializer.append(
            TensorProto(name=f"w{index}", data_type=TensorProto.FLOAT, dims=[dimension, dimension])
        )
        graph.node.append(helper.make_node("MatMul", [f"h{index}", f"w{index}"], [f"h{index + 1}"]))
    graph.node.append(helper.make_node("Identity", [f"h{matrices}"], ["y"]))
    graph.input.append(helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", dimension]))
    graph.output.append(helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", dimension]))
    return graph


def _matrix(random: np.random.Generator, dimension: int) -> bytes:
    # Different each time: the engine would keep equal ones once.
    matrix = random.standard_normal((dimension, dimension), dtype=np.float32)
    return (matrix / np.float32(dimension**0.5)).tobytes()


def serialized(graph: onnx.GraphProto) -> bytes:
    opsets = [helper.make_opsetid("", OPSET)]
    file: bytes = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION).SerializeToString()
    return file


def apart(model: bytes, folder: Path, *locations: str) -> Path:
    """Write a model with its weights in these files, by turns; return the ONNX file's path."""
    proto = onnx.load_from_string(model)
    files: dict[str, bytearray] = {location: bytearray() for location in locations}
    for index, tensor in enumerate(proto.graph.initializer):
        location = locations[index % len(locations)]
        point_to(tensor, location, len(files[location]))
        files[location] += tensor.raw_data
        tensor.ClearField("raw_data")
    for location, content in files.items():
        (folder / location).write_bytes(content)
    path = folder / "apart.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


def point_to(tensor: onnx.TensorProto, location: str, offset: int, length: int | None = None) -> None:
    tensor.data_location = TensorProto.EXTERNAL
    place = {
        "location": location,
        "offset": offset,
        "length": len(tensor.raw_data) if length is None else length,
    }
    for key, value in place.items():
        tensor.external_data.add(key=key, value=str(value))


def bundled(files: Sequence[tuple[str, bytes]]) -> bytes:
    """Return a bundle of these files."""
    before, _ = bundle.layout([(name, len(content)) for name, content in files])
    return b"".join(gap + content for gap, (_, content) in zip(before, files, strict=True))
