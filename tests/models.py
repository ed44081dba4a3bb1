"""Tiny ONNX models for tests, each made by one function as the bytes of a file.

All have opset 17 and IR version 8, and the same call gives the same bytes. Names of data types are those of
the Open Inference Protocol.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
IR_VERSION = 8

DTYPES = {
    "BOOL": TensorProto.BOOL,
    "UINT8": TensorProto.UINT8,
    "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64,
    "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "FP16": TensorProto.FLOAT16,
    "BF16": TensorProto.BFLOAT16,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
    "BYTES": TensorProto.STRING,
}

# The fixed weights of `mlp`: hidden = relu(x @ W1 + b1), scores = hidden @ W2 + b2.
MLP_W1 = np.array(
    [
        [0.5, -1.0, 0.25, 0.0, 1.0],
        [-0.5, 0.75, 1.5, -0.25, 0.0],
        [1.0, 0.5, -0.75, 0.5, -1.0],
        [0.25, 0.0, 1.0, -1.5, 0.5],
    ],
    dtype=np.float32,
)
MLP_B1 = np.array([0.0, 0.5, -0.5, 1.0, 0.25], dtype=np.float32)
MLP_W2 = np.array(
    [[1.0, -0.5, 0.25], [0.5, 1.0, -1.0], [-0.25, 0.5, 0.75], [0.0, -1.0, 1.0], [1.5, 0.25, -0.5]],
    dtype=np.float32,
)
MLP_B2 = np.array([0.1, -0.1, 0.2], dtype=np.float32)

SLOW_SIZE = 256
# Only an order of magnitude: measured on one core of a shared machine.
SLOW_ITERATIONS_PER_SECOND = 2500


def identity(dtype: str = "FP32") -> bytes:
    """`x` of any length -> `y`, the same values. `dtype` is a key of `DTYPES`."""
    element = DTYPES[dtype]
    return _model(
        nodes=[helper.make_node("Identity", ["x"], ["y"])],
        inputs=[_value("x", element, ["n"])],
        outputs=[_value("y", element, ["n"])],
    )


def adder() -> bytes:
    """`a`, `b`, FP32 [n] -> `sum`, FP32 [n]."""
    return _model(
        nodes=[helper.make_node("Add", ["a", "b"], ["sum"])],
        inputs=[_value("a", TensorProto.FLOAT, ["n"]), _value("b", TensorProto.FLOAT, ["n"])],
        outputs=[_value("sum", TensorProto.FLOAT, ["n"])],
    )


def mlp() -> bytes:
    """`x`, FP32 [batch, 4] -> `scores`, FP32 [batch, 3]; `mlp_scores` tells what must come out."""
    return _model(
        nodes=[
            helper.make_node("Gemm", ["x", "W1", "b1"], ["hidden"]),
            helper.make_node("Relu", ["hidden"], ["active"]),
            helper.make_node("Gemm", ["active", "W2", "b2"], ["scores"]),
        ],
        inputs=[_value("x", TensorProto.FLOAT, ["batch", 4])],
        outputs=[_value("scores", TensorProto.FLOAT, ["batch", 3])],
        weights={"W1": MLP_W1, "b1": MLP_B1, "W2": MLP_W2, "b2": MLP_B2},
    )


def mlp_scores(x: np.ndarray) -> np.ndarray:
    """Return what `mlp` gives for `x`, reckoned by numpy."""
    scores: np.ndarray = np.maximum(x @ MLP_W1 + MLP_B1, 0) @ MLP_W2 + MLP_B2
    return scores


def two_outputs() -> bytes:
    """`x`, FP32 [n] -> `doubled`, FP32 [n], and `positive`, BOOL [n]: two outputs of two types."""
    return _model(
        nodes=[
            helper.make_node("Add", ["x", "x"], ["doubled"]),
            helper.make_node("Greater", ["x", "zero"], ["positive"]),
        ],
        inputs=[_value("x", TensorProto.FLOAT, ["n"])],
        outputs=[_value("doubled", TensorProto.FLOAT, ["n"]), _value("positive", TensorProto.BOOL, ["n"])],
        weights={"zero": np.array(0, dtype=np.float32)},
    )


def dynamic_shapes() -> bytes:
    """`image`, FP32 [batch, 3, height, width], width without a name -> `mean`, FP32 [batch, 3]."""
    return _model(
        nodes=[helper.make_node("ReduceMean", ["image"], ["mean"], axes=[2, 3], keepdims=0)],
        inputs=[_value("image", TensorProto.FLOAT, ["batch", 3, "height", None])],
        outputs=[_value("mean", TensorProto.FLOAT, ["batch", 3])],
    )


def scalar_input() -> bytes:
    """`x`, FP32 of shape [] -> `y`, FP32 of shape [], twice as much."""
    return _model(
        nodes=[helper.make_node("Add", ["x", "x"], ["y"])],
        inputs=[_value("x", TensorProto.FLOAT, [])],
        outputs=[_value("y", TensorProto.FLOAT, [])],
    )


def slow() -> bytes:
    """`iterations`, INT64 [1] -> `y`, FP32 [256, 256] of ones: a loop of that many matrix products.

    `SLOW_ITERATIONS_PER_SECOND` tells about how many make a second. Each product needs the one before it, so
    the runtime can neither fold the loop away nor share it out. The size of the answer does not grow with it.
    """
    body = helper.make_graph(
        [
            helper.make_node("MatMul", ["before", "average"], ["after"]),
            helper.make_node("Identity", ["go_on"], ["go_on_still"]),
        ],
        "product",
        [
            _value("iteration", TensorProto.INT64, []),
            _value("go_on", TensorProto.BOOL, []),
            _value("before", TensorProto.FLOAT, [SLOW_SIZE, SLOW_SIZE]),
        ],
        [
            _value("go_on_still", TensorProto.BOOL, []),
            _value("after", TensorProto.FLOAT, [SLOW_SIZE, SLOW_SIZE]),
        ],
    )
    return _model(
        nodes=[helper.make_node("Loop", ["iterations", "", "ones"], ["y"], body=body)],
        inputs=[_value("iterations", TensorProto.INT64, [1])],
        outputs=[_value("y", TensorProto.FLOAT, [SLOW_SIZE, SLOW_SIZE])],
        weights={
            "ones": np.ones((SLOW_SIZE, SLOW_SIZE), dtype=np.float32),
            "average": np.full((SLOW_SIZE, SLOW_SIZE), 1 / SLOW_SIZE, dtype=np.float32),
        },
    )


def failing() -> bytes:
    """`index`, INT64 [n] -> `value`, FP32 [n]: 10, 11, 12 or 13.

    The model loads and its inputs are well typed; an index outside -4 to 3 fails while it runs.
    """
    return _model(
        nodes=[helper.make_node("Gather", ["table", "index"], ["value"])],
        inputs=[_value("index", TensorProto.INT64, ["n"])],
        outputs=[_value("value", TensorProto.FLOAT, ["n"])],
        weights={"table": np.array([10, 11, 12, 13], dtype=np.float32)},
    )


def with_external_data(location: str) -> bytes:
    """`x`, FP32 [4] -> `y`, FP32 [4]: x plus 16 bytes of the file `location`, which no server should open."""
    weight = TensorProto(name="weight", data_type=TensorProto.FLOAT, dims=[4])
    weight.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, "offset": "0", "length": "16"}.items():
        weight.external_data.add(key=key, value=value)
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "weight"], ["y"])],
        "external",
        [_value("x", TensorProto.FLOAT, [4])],
        [_value("y", TensorProto.FLOAT, [4])],
        [weight],
    )
    return _bytes_of(graph)


def unknown_operator() -> bytes:
    """`x` -> `y` by an operator that no runtime has: sound protobuf that cannot be loaded."""
    return _model(
        nodes=[helper.make_node("NoSuchOperator", ["x"], ["y"])],
        inputs=[_value("x", TensorProto.FLOAT, ["n"])],
        outputs=[_value("y", TensorProto.FLOAT, ["n"])],
    )


def sequence_output() -> bytes:
    """`x`, FP32 [n] -> `y`, a sequence of tensors, which the protocol has no type for."""
    return _model(
        nodes=[helper.make_node("SequenceConstruct", ["x", "x"], ["y"])],
        inputs=[_value("x", TensorProto.FLOAT, ["n"])],
        outputs=[helper.make_tensor_sequence_value_info("y", TensorProto.FLOAT, ["n"])],
    )


def _value(name: str, element: int, shape: list[int | str | None]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, element, shape)


def _model(
    *,
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    weights: dict[str, np.ndarray] | None = None,
) -> bytes:
    initializers = [numpy_helper.from_array(array, name) for name, array in (weights or {}).items()]
    return _bytes_of(helper.make_graph(nodes, "test", inputs, outputs, initializers))


def _bytes_of(graph: onnx.GraphProto) -> bytes:
    opsets = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
    file: bytes = model.SerializeToString(deterministic=True)
    return file
