"""What `predict` returns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from numpy.typing import NDArray


class Prediction(Mapping[str, NDArray[Any]]):
    """The model's outputs by name, as numpy arrays: `prediction["label"]`.

    Strings are object arrays of str; BF16 outputs are widened exactly to float32. Arrays may be read-only
    views of the reply: copy one to change it.
    """

    def __init__(self, outputs: dict[str, NDArray[Any]], *, model_name: str, model_version: str) -> None:
        self._outputs = outputs
        self.model_name = model_name
        self.model_version = model_version

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self._outputs[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._outputs)

    def __len__(self) -> int:
        return len(self._outputs)

    def __repr__(self) -> str:
        shapes = ", ".join(f"{name}: {a.dtype}{list(a.shape)}" for name, a in self._outputs.items())
        return f"<Prediction of {self.model_name}: {shapes}>"
