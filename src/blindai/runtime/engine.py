"""What an engine is, in terms that can live in another process: bytes in, tensors in, tensors out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from blindai.wire.metadata import TensorSpec
from blindai.wire.tensors import Tensor


class LoadedModel(Protocol):
    """A model ready to run. `run` may be called from several threads at once; `close` is called last."""

    @property
    def platform(self) -> str:
        """The Open Inference Protocol's word for the format and engine, such as "onnx_onnxruntime"."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]: ...

    @property
    def outputs(self) -> tuple[TensorSpec, ...]: ...

    def run(self, inputs: Sequence[Tensor], outputs: Sequence[str]) -> tuple[Tensor, ...]:
        """Return the outputs named, in that order. Blocks.

        `inputs` have been checked against `self.inputs`. Raises RequestError (input-data, model-failed).
        """

    def close(self) -> None:
        """Free what the model holds."""


class Engine(Protocol):
    """Parses and prepares models."""

    def load(self, model: bytes) -> LoadedModel:
        """Return the model in `model`. Blocks. Raises RequestError (model-invalid)."""
