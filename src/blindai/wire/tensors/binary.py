"""The raw form of a tensor (binary tensor data extension): row-major, little-endian, no padding.

A BYTES element is its length (4 bytes, little-endian) and then its bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blindai.errors import UsageError
from blindai.wire.dtypes import BOOL, BYTES, DType
from blindai.wire.names import shown
from blindai.wire.tensors.tensor import Tensor, bad_data, element_count

_LENGTH = struct.Struct("<I")
_MAX_ELEMENT_BYTES = 2**32 - 1


def to_bytes(tensor: Tensor) -> bytes | memoryview:
    """Return the raw form of `tensor`: a view of its own memory, except for BYTES, which is copied."""
    if tensor.dtype == BYTES:
        return _join_elements(tensor)
    return tensor.array.reshape(-1).view(np.uint8).data


def from_bytes(name: str, dtype: DType, shape: Sequence[int], data: memoryview) -> Tensor:
    """Return the tensor whose raw form is exactly `data`: a read-only view of it, except for BYTES.

    Raises RequestError: input-shape for a shape that is not acceptable, input-data where the bytes do not
    fill it, overflow it, or are not values of the type. Sizes are compared before anything is allocated.
    """
    count = element_count(shape)
    array = _split_elements(count, data) if dtype == BYTES else _view(dtype, count, data)
    array = array.reshape(tuple(shape))
    array.flags.writeable = False
    return Tensor(name, dtype, array)


def _view(dtype: DType, count: int, data: memoryview) -> NDArray[Any]:
    expected = count * dtype.item_bytes
    if data.nbytes != expected:
        raise bad_data(f"needs {expected} bytes for {count} x {dtype.name}, got {data.nbytes}")
    array = np.frombuffer(data, dtype=dtype.numpy, count=count)
    # A C++ bool that is neither 0 nor 1 is undefined behaviour in whatever computes with it.
    if dtype == BOOL and (array.view(np.uint8) > 1).any():
        raise bad_data("has BOOL elements that are neither 0 nor 1")
    return array


def _split_elements(count: int, data: memoryview) -> NDArray[Any]:
    if data.nbytes < count * _LENGTH.size:
        raise bad_data(f"needs {count} BYTES elements of at least 4 bytes each, got {data.nbytes} bytes")
    elements: NDArray[Any] = np.empty(count, dtype=BYTES.numpy)
    offset = 0
    for index in range(count):
        start = offset + _LENGTH.size
        if start > data.nbytes:
            raise bad_data(f"ends before BYTES element {index} of {count}")
        offset = start + _LENGTH.unpack_from(data, offset)[0]
        if offset > data.nbytes:
            raise bad_data(f"ends within BYTES element {index} of {count}")
        elements[index] = bytes(data[start:offset])
    if offset != data.nbytes:
        raise bad_data(f"has {data.nbytes - offset} bytes after its last BYTES element")
    return elements


def _join_elements(tensor: Tensor) -> bytes:
    parts: list[bytes] = []
    for element in tensor.array.flat:
        if len(element) > _MAX_ELEMENT_BYTES:
            raise UsageError(f"tensor {shown(tensor.name)} has an element of more than 4 GiB")
        parts.append(_LENGTH.pack(len(element)))
        parts.append(element)
    return b"".join(parts)
