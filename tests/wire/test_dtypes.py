"""The table of element types, and BF16, which numpy does not have."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tritonclient.utils import np_to_triton_dtype, triton_to_np_dtype

from blindai.errors import UsageError
from blindai.wire import dtypes
from blindai.wire.dtypes import BY_NAME, BY_ONNX, DType, bf16_from_float32, bf16_to_float32, of_array

ALL = pytest.mark.parametrize("dtype", BY_NAME.values(), ids=BY_NAME)


@ALL
def test_the_table_agrees_with_tritonclient(dtype: DType) -> None:
    """Names and sizes are the ones that an independent client of the protocol uses."""
    theirs = np.dtype(triton_to_np_dtype(dtype.name))
    assert np_to_triton_dtype(theirs) == dtype.name
    assert dtype == dtypes.BYTES or theirs.itemsize == dtype.item_bytes
    if dtype != dtypes.BF16:
        assert theirs == dtype.numpy


@ALL
def test_the_table_agrees_with_onnx(dtype: DType) -> None:
    """Each ONNX name means the same numpy type in the onnx package."""
    words = {"tensor(float)": "FLOAT", "tensor(double)": "DOUBLE"}
    word = words.get(dtype.onnx, dtype.onnx.removeprefix("tensor(").removesuffix(")").upper())
    theirs = onnx.helper.tensor_dtype_to_np_dtype(onnx.TensorProto.DataType.Value(word))
    assert theirs.name == "bfloat16" if dtype == dtypes.BF16 else theirs == dtype.numpy
    assert BY_ONNX[dtype.onnx] is dtype


def test_the_table_is_complete() -> None:
    """The protocol's fourteen types are there, none is there twice."""
    assert len(BY_NAME) == len(BY_ONNX) == 14


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", [d for d in BY_NAME.values() if d not in (dtypes.BF16, dtypes.BYTES)])
def test_arrays_are_recognised_in_any_byte_order(dtype: DType, order: str) -> None:
    """The type of an array does not depend on how its bytes lie in memory."""
    assert of_array(np.zeros(2, dtype=dtype.numpy.newbyteorder(order))) is dtype


@pytest.mark.parametrize(
    "array",
    [
        np.array(["a"]),
        np.array([b"a"]),
        np.array(["a"], dtype=object),
        np.array(["a"], np.dtypes.StringDType()),
    ],
    ids=["str", "bytes", "object", "StringDType"],
)
def test_every_kind_of_text_is_bytes(array: np.ndarray) -> None:
    """Arrays of text are BYTES, whichever of numpy's kinds of text they are."""
    assert of_array(array) is dtypes.BYTES


def test_ml_dtypes_bfloat16_is_bf16() -> None:
    """An array of ml_dtypes.bfloat16 is recognised by the name of its dtype."""
    assert of_array(np.zeros(2, dtype=ml_dtypes.bfloat16)) is dtypes.BF16


@pytest.mark.parametrize(
    "dtype", [np.complex64, "datetime64[s]", "timedelta64[s]", ml_dtypes.float8_e4m3fn, np.longdouble, "V3"]
)
def test_unsupported_arrays_are_refused_with_a_hint(dtype: object) -> None:
    """Types that the protocol lacks are UsageError, and the hint says what to do."""
    with pytest.raises(UsageError, match="cannot be sent") as caught:
        of_array(np.zeros(1, dtype=dtype))  # type: ignore[call-overload]
    assert caught.value.hint


@settings(deadline=None, max_examples=300)
@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=50))
def test_rounding_to_bf16_is_that_of_ml_dtypes(patterns: list[int]) -> None:
    """Every float32 bit pattern rounds as ml_dtypes rounds it; NaN stays NaN."""
    values = np.array(patterns, dtype=np.uint32).view(np.float32)
    ours = bf16_to_float32(bf16_from_float32(values))
    with np.errstate(invalid="ignore", over="ignore"):
        theirs = values.astype(ml_dtypes.bfloat16).astype(np.float32)
    np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(np.isnan(ours), np.isnan(values))


@pytest.mark.parametrize(
    ("pattern", "bf16"),
    [
        pytest.param(0x3F808000, 0x3F80, id="tie to even, down"),
        pytest.param(0x3F818000, 0x3F82, id="tie to even, up"),
        pytest.param(0x3F808001, 0x3F81, id="just over the tie"),
        pytest.param(0x7F7FFFFF, 0x7F80, id="overflow is infinity"),
        pytest.param(0x80000000, 0x8000, id="minus zero"),
        pytest.param(0x00000001, 0x0000, id="smallest subnormal"),
        pytest.param(0x7FFFFFFF, 0x7FFF, id="NaN with a full mantissa"),
        pytest.param(0xFFFFFFFF, 0xFFFF, id="negative NaN with a full mantissa"),
        pytest.param(0x7F800001, 0x7FC0, id="NaN whose kept bits are zero"),
    ],
)
def test_the_hard_cases_of_rounding(pattern: int, bf16: int) -> None:
    """Ties go to even, the largest numbers to infinity, NaNs to a quiet NaN."""
    value = np.array(pattern, dtype=np.uint32).view(np.float32)
    assert bf16_from_float32(value) == bf16


def test_every_bf16_value_survives_float32() -> None:
    """Widening is exact: all 65536 bit patterns come back, NaNs as quiet NaNs; shapes are kept."""
    bits = np.arange(2**16, dtype=np.uint16).reshape(16, -1)
    widened = bf16_to_float32(bits)
    again = bf16_from_float32(widened)
    assert widened.shape == again.shape == bits.shape
    np.testing.assert_array_equal(again, np.where(np.isnan(widened), bits | 0x0040, bits))
