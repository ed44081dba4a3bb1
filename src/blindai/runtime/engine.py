"""What an engine is, in terms that can live in another process: bytes in, tensors in, tensors out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from blindai.runtime.model_bytes import ModelBytes
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
        """May be called twice. Free what the model holds."""


class Engine(Protocol):
    """Parses and prepares models."""

    def load(self, model: bytes | ModelBytes) -> LoadedModel:
        """Return the model in `model`, a file of its format or a bundle. Blocks.

        A `ModelBytes` is taken over: it is emptied while it is read, and closed, whatever comes of it. The
        model that is returned borrows nothing. Raises RequestError (model-invalid).
        """
