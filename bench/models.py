"""ONNX models of a realistic size for benchmarks, with random weights: only their cost means something."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
IR_VERSION = 8

STAGES = ((64, 3), (128, 4), (256, 6), (512, 3))  # channels inside a block, blocks
EXPANSION = 4  # a block gives four times the channels that it works on
CLASSES = 1000


def resnet50(seed: int = 0) -> bytes:
    """Return ResNet-50 (v1.5, batch norm folded into the convolutions) as a file of about 102 MB.

    In: `image`, FP32 [1, 3, 224, 224], 602 112 bytes. Out: `scores`, FP32 [1, 1000]. One `seed` gives the
    same bytes each time. About 4.1 billion multiplications a picture, as the real network has.

    Architecture: K. He et al., "Deep Residual Learning for Image Recognition", table 1; v1.5 strides in the
    3 x 3 convolution of a block in place of the first 1 x 1.
    """
    network = _Network(np.random.default_rng(seed))
    x = network.convolution("image", 3, 64, kernel=7, stride=2)
    x = network.node("Relu", x)
    x = network.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    channels = 64
    for stage, (width, blocks) in enumerate(STAGES):
        for block in range(blocks):
            x = network.bottleneck(x, channels, width, stride=2 if stage > 0 and block == 0 else 1)
            channels = width * EXPANSION
    x = network.node("Flatten", network.node("GlobalAveragePool", x))
    network.classifier(x, channels)
    return network.model()


class _Network:
    """Nodes and weights in the order in which they were asked for; each method returns its output's name."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []

    def bottleneck(self, x: str, channels: int, width: int, *, stride: int) -> str:
        """Add 1 x 1, 3 x 3 and 1 x 1 convolutions beside a shortcut, a 1 x 1 one where the shape changes."""
        y = self.node("Relu", self.convolution(x, channels, width, kernel=1))
        y = self.node("Relu", self.convolution(y, width, width, kernel=3, stride=stride))
        # A small last convolution keeps sixteen sums of random numbers within the range of FP32.
        y = self.convolution(y, width, width * EXPANSION, kernel=1, gain=0.2)
        if stride != 1 or channels != width * EXPANSION:
            x = self.convolution(x, channels, width * EXPANSION, kernel=1, stride=stride)
        return self.node("Relu", self.node("Add", y, x))

    def convolution(
        self, x: str, channels: int, filters: int, *, kernel: int, stride: int = 1, gain: float = 1.0
    ) -> str:
        spread = gain * np.sqrt(2 / (channels * kernel * kernel))
        return self.node(
            "Conv",
            x,
            self._weight((filters, channels, kernel, kernel), spread),
            self._weight((filters,), 0.01),
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            pads=[kernel // 2] * 4,
        )

    def classifier(self, x: str, channels: int) -> None:
        weight = self._weight((CLASSES, channels), np.sqrt(1 / channels))
        self._nodes.append(
            helper.make_node("Gemm", [x, weight, self._weight((CLASSES,), 0.01)], ["scores"], transB=1)
        )

    def node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        output = f"t{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def _weight(self, shape: tuple[int, ...], spread: float) -> str:
        name = f"w{len(self._weights)}"
        values = self._rng.standard_normal(shape, dtype=np.float32) * np.float32(spread)
        self._weights.append(numpy_helper.from_array(values, name))
        return name

    def model(self) -> bytes:
        graph = helper.make_graph(
            self._nodes,
            "resnet50",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 224, 224])],
            [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, CLASSES])],
            self._weights,
        )
        opsets = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
        file: bytes = model.SerializeToString(deterministic=True)
        return file
