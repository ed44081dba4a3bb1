"""The JSON form of a tensor: a list of its elements, row by row.

- Read flat or nested exactly as the shape says; written flat.
- BOOL is true and false; integers are integers, in range; floats are numbers. Nothing is converted.
- NaN is null, both ways (JSON has no other word for it, and numpy reads null as NaN). Infinities, and
  numbers too large for the type, are refused: the binary form carries them.
- BYTES is strings, as UTF-8. Elements that are not UTF-8 need the binary form.
- BF16 has no JSON form in the protocol and always needs the binary one.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from types import NoneType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blindai.errors import UsageError
from blindai.wire.dtypes import BF16, BYTES, DType
from blindai.wire.names import shown
from blindai.wire.tensors.tensor import Tensor, bad_data, element_count

# What JSON may hold, by the kind of numpy's dtype. These are exact types: a bool is not an integer here.
_ALLOWED: dict[str, tuple[set[type], str]] = {
    "b": ({bool}, "true or false"),
    "i": ({int}, "integers"),
    "u": ({int}, "integers"),
    "f": ({int, float, NoneType}, "numbers (null for NaN)"),
    "O": ({str}, "strings"),
}


def from_json_data(name: str, dtype: DType, shape: Sequence[int], data: Any) -> Tensor:
    """Return the tensor whose JSON form is `data`.

    Raises RequestError: input-shape for a shape that is not acceptable, input-data where the elements do
    not fill it, overflow it, or are not values of the type.
    """
    count = element_count(shape)
    if dtype == BF16:
        raise bad_data("is BF16, which JSON cannot hold: send it as binary data")
    elements = _flattened(shape, count, data)
    allowed, expected = _ALLOWED[dtype.numpy.kind]
    if not set(map(type, elements)) <= allowed:
        raise bad_data(f"is {dtype.name}, its data must be {expected}")
    array = _strings(elements) if dtype == BYTES else _numbers(dtype, elements)
    return Tensor(name, dtype, array.reshape(tuple(shape)))


def to_json_data(tensor: Tensor) -> list[Any]:
    """Return the elements as a flat list for JSON, or raise UsageError if JSON cannot hold them."""
    name = shown(tensor.name)
    binary = "use binary data for it"
    if tensor.dtype == BF16:
        raise UsageError(f"tensor {name} is BF16, which JSON cannot hold: {binary}", hint=binary)
    if tensor.dtype == BYTES:
        try:
            return [element.decode("utf-8") for element in tensor.array.flat]
        except UnicodeDecodeError:  # its text holds a byte of the data
            raise UsageError(
                f"tensor {name} is not UTF-8, so JSON cannot hold it: {binary}", hint=binary
            ) from None
    elements: list[Any] = tensor.array.reshape(-1).tolist()
    if tensor.dtype.numpy.kind != "f" or np.isfinite(tensor.array).all():
        return elements
    if np.isinf(tensor.array).any():
        raise UsageError(f"tensor {name} has infinities, which JSON cannot hold: {binary}", hint=binary)
    return [None if element != element else element for element in elements]  # noqa: PLR0124 - NaN


def _flattened(shape: Sequence[int], count: int, data: Any) -> list[Any]:
    """Return the elements of flat or nested `data`, one after the other, if there are `count` of them."""
    if not isinstance(data, list):
        raise bad_data("needs a list as its data")
    if len(data) == count and not (data and isinstance(data[0], list)):
        return data
    if not (data and isinstance(data[0], list)):
        raise bad_data(f"needs {count} elements, got {len(data)}")
    level = [data]
    # The shape bounds the depth, so hostile nesting cannot make this recurse or run long.
    for dimension in shape:
        if any(type(row) is not list or len(row) != dimension for row in level):
            raise bad_data("has data that are nested otherwise than its shape")
        level = list(chain.from_iterable(level))
    return level


def _numbers(dtype: DType, elements: list[Any]) -> NDArray[Any]:
    try:
        with np.errstate(over="ignore"):
            array: NDArray[Any] = np.array(elements, dtype=dtype.numpy)
    except OverflowError:  # its text holds the number
        raise bad_data(f"has integers out of the range of {dtype.name}") from None
    if dtype.numpy.kind == "f" and np.isinf(array).any():
        raise bad_data(f"has numbers too large for {dtype.name}")
    return array


def _strings(elements: list[str]) -> NDArray[Any]:
    array: NDArray[Any] = np.empty(len(elements), dtype=BYTES.numpy)
    array[:] = [element.encode("utf-8") for element in elements]
    return array
