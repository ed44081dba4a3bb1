"""What a Python caller holds, to and from tensors.

An array says what it is, so its type is kept or refused, never converted. Python's own numbers have no
width, so they are cast to the type that is asked for, as long as that loses nothing but float precision.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from blindai.errors import ResponseError, UsageError
from blindai.wire.dtypes import (
    BF16,
    BOOL,
    BYTES,
    FP32,
    UINT16,
    DType,
    bf16_from_float32,
    bf16_to_float32,
    of_array,
)
from blindai.wire.names import shown
from blindai.wire.tensors.tensor import MAX_ELEMENTS, MAX_RANK, Tensor


def from_values(name: str, values: Any, dtype: DType | None = None) -> Tensor:
    """Return `values` as a tensor, sharing memory with an array that is already in order.

    Takes numpy arrays and scalars, anything with `__array__` (pandas, jax, ...), torch tensors, and Python
    scalars, strings, bytes and (nested) lists of them. With `dtype` given, an array of another type is
    refused and Python values are cast; without it, they get numpy's default type. An array of uint16 is
    taken as bit patterns when `dtype` is BF16. Raises UsageError.
    """
    if isinstance(values, np.ma.MaskedArray):
        # Converting would quietly send what the caller masked out.
        raise UsageError(f"input {shown(name)} is a masked array", hint="choose its values with .filled()")
    if _is_torch(values):
        tensor = _from_torch(name, values, dtype)
    elif hasattr(values, "__array__"):
        tensor = _from_array(name, np.asarray(values), dtype)
    elif dtype is None:
        tensor = _from_python_default(name, values)
    else:
        tensor = _from_python(name, values, dtype)
    if tensor.array.size > MAX_ELEMENTS or tensor.array.ndim > MAX_RANK:
        raise UsageError(f"input {shown(name)} has over {MAX_ELEMENTS} elements or {MAX_RANK} dimensions")
    return tensor


def to_values(tensor: Tensor) -> NDArray[Any]:
    """Return what a caller gets: BF16 as float32 (exact), BYTES as an object array of str, others as is.

    Raises ResponseError if a BYTES element is not UTF-8.
    """
    if tensor.dtype == BF16:
        return bf16_to_float32(tensor.array)
    if tensor.dtype != BYTES:
        return tensor.array
    try:
        return _objects([element.decode("utf-8") for element in tensor.array.flat], tensor.shape)
    except UnicodeDecodeError:  # its text holds a byte of the data
        raise ResponseError(
            f"output {shown(tensor.name)} is not UTF-8", hint="read the tensor's own bytes instead"
        ) from None


def _from_array(name: str, array: NDArray[Any], dtype: DType | None) -> Tensor:
    found = of_array(array)
    if dtype == BF16 and found == UINT16:
        found = BF16
    _demand_dtype(name, found, dtype)
    if found == BYTES:
        return _from_strings(name, array.astype(object))
    if array.dtype.name == "bfloat16":
        array = array.view(np.uint16)
    return Tensor(name, found, np.asarray(array, dtype=found.numpy, order="C"))


def _demand_dtype(name: str, found: DType, dtype: DType | None) -> None:
    if dtype is not None and found != dtype:
        raise UsageError(
            f"input {shown(name)} must be {dtype.name}, the array is {found.name}", hint=_conversion(dtype)
        )


def _conversion(dtype: DType) -> str:
    if dtype == BF16:
        return "pass Python numbers, an ml_dtypes.bfloat16 array, a torch.bfloat16 tensor or uint16 bits"
    if dtype == BYTES:
        return "pass strings or bytes"
    return f"convert the array with .astype(np.{dtype.numpy.name})"


def _from_python_default(name: str, values: Any) -> Tensor:
    array = _numpy_default(name, values)
    # numpy makes strings of numbers that stand beside strings; `_from_python` looks at what was there.
    return _from_python(name, values, BYTES if array.dtype.kind in "SUO" else of_array(array))


def _from_python(name: str, values: Any, dtype: DType) -> Tensor:
    if dtype == BYTES:
        return _from_strings(name, _object_array(name, values))
    kind = dtype.numpy.kind
    if dtype == BF16 or kind == "f":
        return _from_floats(name, values, dtype)
    if dtype == BOOL:
        _demand(name, values, dtype, (bool, np.bool_), ())
    else:
        _demand(name, values, dtype, (int, np.integer), (bool,))
    try:
        return Tensor(name, dtype, np.array(values, dtype=dtype.numpy, order="C"))
    except OverflowError:  # its text holds the number
        raise UsageError(f"input {shown(name)} has integers out of the range of {dtype.name}") from None


def _from_floats(name: str, values: Any, dtype: DType) -> Tensor:
    source = _numpy_default(name, values)
    if source.dtype.kind not in "iuf" and source.dtype.name != "bfloat16":
        raise UsageError(f"input {shown(name)} is {dtype.name}: it takes numbers")
    with np.errstate(over="ignore"):
        array: NDArray[Any] = source.astype(FP32.numpy if dtype == BF16 else dtype.numpy, order="C")
        cast = array
        if dtype == BF16:
            array = bf16_from_float32(array)
            cast = bf16_to_float32(array)
    if (np.isinf(cast) & ~np.isinf(source)).any():
        raise UsageError(f"input {shown(name)} has numbers too large for {dtype.name}")
    return Tensor(name, dtype, array)


def _from_strings(name: str, array: NDArray[Any]) -> Tensor:
    elements: list[bytes] = []
    for element in array.flat:
        if isinstance(element, str):
            elements.append(_utf8(name, element))
        elif isinstance(element, bytes):
            elements.append(bytes(element))
        else:
            raise UsageError(
                f"input {shown(name)} is not an array of one type",
                hint="pass strings, bytes or numbers, not a mixture, in rows of one length",
            )
    return Tensor(name, BYTES, _objects(elements, array.shape))


def _utf8(name: str, text: str) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as exc:
        raise UsageError(f"input {shown(name)} has text that UTF-8 cannot hold", hint="pass bytes") from exc


def _demand(
    name: str, values: Any, dtype: DType, wanted: tuple[type, ...], unwanted: tuple[type, ...]
) -> None:
    """Refuse what numpy would cast silently: 1.5 to 1, "1" to 1, True to 1."""
    for leaf in set(map(type, _object_array(name, values).flat)):
        if not issubclass(leaf, wanted) or issubclass(leaf, unwanted):
            what = "True or False" if dtype == BOOL else "integers"
            raise UsageError(f"input {shown(name)} is {dtype.name}: it takes {what}, all rows of one length")


def _numpy_default(name: str, values: Any) -> NDArray[Any]:
    try:
        return np.asarray(values)
    except (ValueError, TypeError, OverflowError) as exc:
        raise UsageError(
            f"input {shown(name)} cannot be made an array", hint="rows must have one length"
        ) from exc


def _object_array(name: str, values: Any) -> NDArray[Any]:
    try:
        return np.array(values, dtype=object)
    except (ValueError, TypeError) as exc:
        raise UsageError(
            f"input {shown(name)} cannot be made an array", hint="rows must have one length"
        ) from exc


def _objects(elements: list[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    array: NDArray[Any] = np.empty(len(elements), dtype=object)
    array[:] = elements
    return array.reshape(shape)


def _is_torch(values: Any) -> bool:
    return all(callable(getattr(values, method, None)) for method in ("detach", "cpu", "numpy"))


def _from_torch(name: str, values: Any, dtype: DType | None) -> Tensor:
    """Convert a torch tensor without importing torch; numpy has no bfloat16, so that goes by its bits."""
    try:
        tensor = values.detach().cpu()
        if str(tensor.dtype) != "torch.bfloat16":
            return _from_array(name, tensor.numpy(), dtype)
        int16 = tensor.new_empty((0,)).short().dtype
        bits = tensor.view(int16).numpy().view(np.uint16)
    except (TypeError, RuntimeError) as exc:
        raise UsageError(
            f"input {shown(name)} is a tensor that numpy cannot hold", hint="pass a dense tensor"
        ) from exc
    _demand_dtype(name, BF16, dtype)
    return _from_array(name, bits, BF16)
