"""Does a request fit a model? Checked before the engine sees a tensor, with sentences that help.

The messages name the model's own inputs and outputs. Names out of the request are not repeated.
"""

from __future__ import annotations

from collections.abc import Sequence

from blindai.errors import RequestCode, RequestError
from blindai.wire.inference import RequestedOutput
from blindai.wire.metadata import DYNAMIC, TensorSpec
from blindai.wire.names import shown
from blindai.wire.tensors import Tensor


def check_inputs(tensors: Sequence[Tensor], specs: Sequence[TensorSpec]) -> None:
    """Raise RequestError (input-*) unless `tensors` are exactly the inputs that `specs` describe."""
    by_name = {spec.name: spec for spec in specs}
    seen: set[str] = set()
    for tensor in tensors:
        if tensor.name not in by_name:
            raise RequestError(
                RequestCode.INPUT_UNKNOWN,
                f"the request has an input that the model does not have; {_names('inputs', specs)}",
            )
        if tensor.name in seen:
            raise RequestError(RequestCode.INPUT_DUPLICATE, f"input {shown(tensor.name)} is there twice")
        seen.add(tensor.name)
    missing = [spec for spec in specs if spec.name not in seen]
    if missing:
        raise RequestError(
            RequestCode.INPUT_MISSING,
            f"the request lacks {', '.join(_described(spec) for spec in missing)}; {_names('inputs', specs)}",
        )
    for tensor in tensors:
        _check(tensor, by_name[tensor.name])


def select_outputs(requested: Sequence[RequestedOutput], specs: Sequence[TensorSpec]) -> tuple[str, ...]:
    """Return the names of the outputs to compute: those requested, or all. Raises RequestError."""
    if not requested:
        return tuple(spec.name for spec in specs)
    known = {spec.name for spec in specs}
    names = tuple(output.name for output in requested)
    if not known.issuperset(names):
        raise RequestError(
            RequestCode.OUTPUT_UNKNOWN,
            f"the request asks for an output that the model does not have; {_names('outputs', specs)}",
        )
    if len(set(names)) != len(names):
        raise RequestError(RequestCode.MALFORMED, "the request asks for one output twice")
    return names


def _check(tensor: Tensor, spec: TensorSpec) -> None:
    what = f"input {shown(spec.name)}: expected {_form(spec.dtype.name, spec.shape)}, "
    if tensor.dtype != spec.dtype:
        raise RequestError(RequestCode.INPUT_DTYPE, what + f"got {_form(tensor.dtype.name, tensor.shape)}")
    if not _fits(tensor.shape, spec.shape):
        raise RequestError(RequestCode.INPUT_SHAPE, what + f"got {_form(tensor.dtype.name, tensor.shape)}")


def _fits(shape: Sequence[int], expected: Sequence[int]) -> bool:
    # ONNX Runtime shows a model without a declared shape and a scalar alike, as (): the engine decides.
    if not expected:
        return True
    return len(shape) == len(expected) and all(
        size in (DYNAMIC, got) for size, got in zip(expected, shape, strict=True)
    )


def _names(what: str, specs: Sequence[TensorSpec]) -> str:
    if not specs:
        return f"the model has no {what}"
    return f"the model's {what} are {', '.join(shown(spec.name) for spec in specs)}"


def _described(spec: TensorSpec) -> str:
    return f"{shown(spec.name)} ({_form(spec.dtype.name, spec.shape)})"


def _form(dtype: str, shape: Sequence[int]) -> str:
    return f"{dtype} {list(shape)}"
