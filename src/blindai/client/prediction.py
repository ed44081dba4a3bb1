"""What `predict` and `upload_model` return, each with the receipt if one was asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from blindai.wire.metadata import ModelEntry

if TYPE_CHECKING:
    from blindai.client.answer_receipt import AnswerReceipt


class Prediction(Mapping[str, NDArray[Any]]):
    """The model's outputs by name, as numpy arrays: `prediction["label"]`.

    Strings are object arrays of str; BF16 outputs are widened exactly to float32. Arrays may be read-only
    views of the reply: copy one to change it. `receipt` is None unless `predict(..., receipt=True)`.
    """

    def __init__(
        self,
        outputs: dict[str, NDArray[Any]],
        *,
        model_name: str,
        model_version: str,
        receipt: AnswerReceipt | None = None,
    ) -> None:
        self._outputs = outputs
        self.model_name = model_name
        self.model_version = model_version
        self.receipt = receipt

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self._outputs[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._outputs)

    def __len__(self) -> int:
        return len(self._outputs)

    def __repr__(self) -> str:
        shapes = ", ".join(f"{name}: {a.dtype}{list(a.shape)}" for name, a in self._outputs.items())
        return f"<Prediction of {self.model_name}: {shapes}>"


@dataclass(frozen=True, eq=False)
class UploadedModel(ModelEntry):
    """The server's record of an upload, equal to the one that `models()` lists."""

    receipt: AnswerReceipt | None = field(default=None, repr=False)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ModelEntry) and self.to_json() == other.to_json()

    __hash__ = ModelEntry.__hash__
