"""THE table of element types: the Open Inference Protocol's name, numpy's, ONNX's, and the size.

Every other part of the project looks a type up here; nobody else writes one down. Two types need a word:

- BF16 has no numpy dtype. It is held as its bit patterns in uint16; `bf16_from_float32` and
  `bf16_to_float32` convert. An array of `ml_dtypes.bfloat16` is recognised by the dtype's name, so that
  the package need not be installed.
- BYTES has elements of any length. It is held as an object array of `bytes`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blindai.errors import UsageError


@dataclass(frozen=True)
class DType:
    """One element type. `numpy` is always little-endian; `item_bytes` is 0 where elements vary in length."""

    name: str
    numpy: np.dtype[Any]
    item_bytes: int
    onnx: str


BOOL = DType("BOOL", np.dtype("?"), 1, "tensor(bool)")
UINT8 = DType("UINT8", np.dtype("u1"), 1, "tensor(uint8)")
UINT16 = DType("UINT16", np.dtype("<u2"), 2, "tensor(uint16)")
UINT32 = DType("UINT32", np.dtype("<u4"), 4, "tensor(uint32)")
UINT64 = DType("UINT64", np.dtype("<u8"), 8, "tensor(uint64)")
INT8 = DType("INT8", np.dtype("i1"), 1, "tensor(int8)")
INT16 = DType("INT16", np.dtype("<i2"), 2, "tensor(int16)")
INT32 = DType("INT32", np.dtype("<i4"), 4, "tensor(int32)")
INT64 = DType("INT64", np.dtype("<i8"), 8, "tensor(int64)")
FP16 = DType("FP16", np.dtype("<f2"), 2, "tensor(float16)")
BF16 = DType("BF16", np.dtype("<u2"), 2, "tensor(bfloat16)")
FP32 = DType("FP32", np.dtype("<f4"), 4, "tensor(float)")
FP64 = DType("FP64", np.dtype("<f8"), 8, "tensor(double)")
BYTES = DType("BYTES", np.dtype("O"), 0, "tensor(string)")

_ALL = (BOOL, UINT8, UINT16, UINT32, UINT64, INT8, INT16, INT32, INT64, FP16, BF16, FP32, FP64, BYTES)

BY_NAME: Mapping[str, DType] = MappingProxyType({dtype.name: dtype for dtype in _ALL})
BY_ONNX: Mapping[str, DType] = MappingProxyType({dtype.onnx: dtype for dtype in _ALL})

# By kind and size, because numpy has several names for one integer. uint16 means UINT16: that an array
# holds BF16 bit patterns is something only its owner can know.
_BY_KIND = MappingProxyType({(d.numpy.kind, d.item_bytes): d for d in _ALL if d not in (BF16, BYTES)})
_TEXT_KINDS = "OSUT"  # object, bytes, str and numpy 2's variable-width string

_HINTS = MappingProxyType(
    {
        "c": "send the real and the imaginary part as two inputs",
        "M": "convert it first, for example with .astype(np.int64)",
        "m": "convert it first, for example with .astype(np.int64)",
        "f": "convert it first with .astype(np.float64)",
    }
)


def of_array(array: NDArray[Any]) -> DType:
    """Return the type of `array`, in any byte order, or raise UsageError if the protocol has none for it.

    Object arrays are taken to be BYTES; their elements are not looked at.
    """
    if array.dtype.name == "bfloat16":
        return BF16
    if array.dtype.kind in _TEXT_KINDS:
        return BYTES
    dtype = _BY_KIND.get((array.dtype.kind, array.dtype.itemsize))
    if dtype is None:
        raise UsageError(
            f"arrays of {array.dtype.name} cannot be sent",
            hint=_HINTS.get(array.dtype.kind, f"convert it to one of {', '.join(BY_NAME)}"),
        )
    return dtype


def bf16_from_float32(array: NDArray[Any]) -> NDArray[np.uint16]:
    """Return the BF16 bit patterns nearest to `array`, ties to even; NaN stays NaN, overflow is infinity.

    Anything but float32 is converted to float32 first, which rounds once more.
    """
    values = np.asarray(array, dtype=np.float32)
    bits = values.reshape(-1).view(np.uint32)
    is_nan = np.isnan(values.reshape(-1))
    # Adding just under half of the last kept place, and one more if that place is odd, rounds to even.
    # A NaN with a full mantissa would carry over into a number, so NaNs are cut off and made quiet.
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> 16) & np.uint32(1))) >> 16
    quiet_nan = (bits >> 16) | np.uint32(0x0040)
    return np.where(is_nan, quiet_nan, rounded).astype(BF16.numpy).reshape(values.shape)


def bf16_to_float32(bits: NDArray[Any]) -> NDArray[np.float32]:
    """Return the float32 values of BF16 bit patterns (uint16). Exact: every BF16 value is a float32 value."""
    flat = np.asarray(bits, dtype=np.uint16).reshape(-1)
    return (flat.astype(np.uint32) << np.uint32(16)).view(np.float32).reshape(np.shape(bits))
