"""Models whose weights are random bytes: nothing compresses them, and any piece of them is recognised."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from tests import models
from tests.serving import Reply, tensor


@dataclass(frozen=True)
class Weights:
    """`index`, INT64 [n] -> `value`, INT32 [n]: a table of `count` numbers that follow from the seed."""

    seed: str
    count: int

    @cached_property
    def content(self) -> bytes:
        """The ONNX file."""
        index = helper.make_tensor_value_info("index", TensorProto.INT64, ["n"])
        value = helper.make_tensor_value_info("value", TensorProto.INT32, ["n"])
        graph = helper.make_graph(
            [helper.make_node("Gather", ["table", "index"], ["value"])],
            "weights",
            [index],
            [value],
            [numpy_helper.from_array(self._table, "table")],
        )
        opsets = [helper.make_opsetid("", models.OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=models.IR_VERSION)
        file: bytes = model.SerializeToString(deterministic=True)
        return file

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    def forget(self) -> Weights:
        """Return the same without the bytes, which are made again when they are needed."""
        return Weights(self.seed, self.count)

    def question(self) -> list[dict]:
        """The inputs of an inference that tells these weights from any others."""
        return [tensor("index", "INT64", [3], self._places)]

    def answered_by(self, reply: Reply) -> bool:
        if reply.status != 200:
            return False
        expected = [int(self._table[place]) for place in self._places]
        return bool(reply.json()["outputs"][0]["data"] == expected)

    @property
    def _places(self) -> list[int]:
        return [0, self.count // 2, self.count - 1]

    @property
    def _table(self) -> np.ndarray:
        chance = random.Random(self.seed)  # noqa: S311 - the same again for the same seed
        return np.frombuffer(chance.randbytes(4 * self.count), dtype="<i4")
