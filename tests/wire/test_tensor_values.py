"""What callers hold, to and from tensors."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from blindai.errors import ResponseError, UsageError
from blindai.wire import dtypes
from blindai.wire.dtypes import BY_NAME, DType
from blindai.wire.tensors import MAX_RANK, Tensor, from_values, to_values

PLAIN = [dtype for dtype in BY_NAME.values() if dtype not in (dtypes.BF16, dtypes.BYTES)]


@pytest.mark.parametrize("dtype", PLAIN, ids=lambda d: d.name)
def test_an_array_keeps_its_type_and_memory(dtype: DType) -> None:
    """An array in order is taken as it is, without a copy, with or without the type asked for."""
    array = np.ones((2, 3), dtype=dtype.numpy)
    for asked in (None, dtype):
        tensor = from_values("x", array, asked)
        assert tensor.dtype is dtype
        assert np.shares_memory(tensor.array, array)
        assert to_values(tensor) is tensor.array


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=np.float32).reshape(2, 3).T,
        np.arange(12, dtype=np.float32).reshape(3, 4)[:, ::2],
        np.arange(6, dtype=">f4").reshape(3, 2),
        np.asfortranarray(np.arange(6, dtype=np.float32).reshape(3, 2)),
    ],
    ids=["transposed", "strided", "big-endian", "Fortran"],
)
def test_an_array_in_another_order_is_put_in_order(array: np.ndarray) -> None:
    """Values and shape are kept, whatever the layout of the memory was."""
    tensor = from_values("x", array)
    assert tensor.dtype is dtypes.FP32
    np.testing.assert_array_equal(tensor.array, array)


@pytest.mark.parametrize(
    ("array", "dtype"),
    [
        (np.ones(2, dtype=np.float64), dtypes.FP32),
        (np.ones(2, dtype=np.int64), dtypes.INT32),
        (np.ones(2, dtype=np.float32), dtypes.BF16),
        (np.array(["a"]), dtypes.FP32),
        (np.float64(1), dtypes.FP32),
    ],
)
def test_an_array_of_another_type_is_refused_with_a_hint(array: np.ndarray, dtype: DType) -> None:
    """Arrays are never converted; the hint says how to."""
    with pytest.raises(UsageError, match=f"must be {dtype.name}") as caught:
        from_values("x", array, dtype)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        (1.5, dtypes.FP32, dtypes.FP32),
        ([[1, 2], [3, 4]], dtypes.FP16, dtypes.FP16),
        ([1.5, float("inf"), float("nan")], dtypes.BF16, dtypes.BF16),
        ([1, 255], dtypes.UINT8, dtypes.UINT8),
        ([2**64 - 1, 0], dtypes.UINT64, dtypes.UINT64),
        ([True, False], dtypes.BOOL, dtypes.BOOL),
        ([np.float32(1), 2.0], dtypes.FP16, dtypes.FP16),
        ([np.int8(1), 2], dtypes.INT64, dtypes.INT64),
        ([], dtypes.INT8, dtypes.INT8),
        (("a", b"b"), dtypes.BYTES, dtypes.BYTES),
        ([1, 2], None, dtypes.of_array(np.asarray([1, 2]))),
        ([1.0, 2], None, dtypes.FP64),
        ([True], None, dtypes.BOOL),
        ("text", None, dtypes.BYTES),
        (b"raw\0", None, dtypes.BYTES),
        ([["a"], ["b"]], None, dtypes.BYTES),
    ],
    ids=str,
)
def test_python_values_are_cast(values: Any, dtype: DType | None, expected: DType) -> None:
    """Python's values take the type asked for, or numpy's default; values and shape are kept."""
    tensor = from_values("x", values, dtype)
    assert tensor.dtype is expected
    if expected == dtypes.BYTES:
        encoded = [v.encode() if isinstance(v, str) else v for v in np.array(values, dtype=object).flat]
        assert list(tensor.array.flat) == encoded
        assert tensor.shape == np.array(values, dtype=object).shape
    else:
        np.testing.assert_array_equal(to_values(tensor), np.asarray(values))


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        pytest.param([1.5], dtypes.INT64, id="float to integer"),
        pytest.param([1.0], dtypes.INT64, id="whole float to integer"),
        pytest.param([True], dtypes.INT64, id="bool to integer"),
        pytest.param([True], dtypes.FP32, id="bool to float"),
        pytest.param([1], dtypes.BOOL, id="integer to bool"),
        pytest.param(["1"], dtypes.FP32, id="text to float"),
        pytest.param(["1"], dtypes.INT8, id="text to integer"),
        pytest.param([1], dtypes.BYTES, id="integer to text"),
        pytest.param([256], dtypes.UINT8, id="too large"),
        pytest.param([-1], dtypes.UINT64, id="negative"),
        pytest.param([2**63], dtypes.INT64, id="over 63 bits"),
        pytest.param([1e39], dtypes.FP32, id="overflow"),
        pytest.param([3.4e38], dtypes.BF16, id="overflow by rounding"),
        pytest.param([70000], dtypes.FP16, id="overflow of an integer"),
        pytest.param([10**400], dtypes.FP64, id="an enormous integer"),
        pytest.param([None], dtypes.FP32, id="None for a number"),
        pytest.param(None, None, id="None"),
        pytest.param({"a": 1}, None, id="dict"),
        pytest.param([1, "a"], None, id="a mixture"),
        pytest.param([1, b"a"], None, id="a mixture with bytes"),
        pytest.param([[1], [2, 3]], None, id="ragged"),
        pytest.param([[1], [2, 3]], dtypes.INT8, id="ragged integers"),
        pytest.param([["a"], ["b", "c"]], dtypes.BYTES, id="ragged text"),
        pytest.param([bytearray(b"a")], dtypes.BYTES, id="bytearray"),
        pytest.param("\ud800", None, id="a lone surrogate"),
        pytest.param([1j], None, id="complex"),
        pytest.param(np.array([1, None], dtype=object), None, id="array of objects"),
        pytest.param(np.ma.masked_array([1, 2], [False, True]), None, id="masked array"),
        pytest.param(np.zeros((1,) * (MAX_RANK + 1)), None, id="too many dimensions"),
    ],
)
def test_what_numpy_would_convert_silently_is_refused(values: Any, dtype: DType | None) -> None:
    """Casts that lose or invent something are UsageError."""
    with pytest.raises(UsageError):
        from_values("x", values, dtype)


@pytest.mark.parametrize(
    "array",
    [np.array(["a", "é"]), np.array(["a", "é"], dtype=object), np.array(["a", "é"], np.dtypes.StringDType())],
    ids=["str", "object", "StringDType"],
)
def test_text_goes_as_utf8_and_comes_back_as_text(array: np.ndarray) -> None:
    """Text in any of numpy's kinds becomes UTF-8, and a caller gets str objects back."""
    tensor = from_values("x", array)
    assert tensor.array.tolist() == [b"a", "é".encode()]
    assert to_values(tensor).tolist() == ["a", "é"]


def test_text_that_is_not_utf8_is_a_response_error() -> None:
    """An output that cannot be text is ResponseError, without the bytes in the message."""
    with pytest.raises(ResponseError, match='"x" is not UTF-8') as caught:
        to_values(Tensor("x", dtypes.BYTES, np.array([b"\xf5"], dtype=object)))
    assert "f5" not in str(caught.value)


def test_ml_dtypes_bfloat16_goes_and_comes_back_as_float32() -> None:
    """Bit patterns are kept, and a caller gets the exact float32 values."""
    array = np.array([[1.5, -2.0, np.inf]], dtype=ml_dtypes.bfloat16)
    tensor = from_values("x", array.T, dtypes.BF16)
    assert tensor.array.dtype == np.uint16
    assert to_values(tensor).dtype == np.float32
    np.testing.assert_array_equal(to_values(tensor), array.T.astype(np.float32))


def test_uint16_is_bit_patterns_only_where_bf16_is_asked_for() -> None:
    """An array of uint16 is UINT16, unless the model's input is BF16."""
    bits = np.array([0x3FC0], dtype=np.uint16)
    assert from_values("x", bits).dtype is dtypes.UINT16
    assert to_values(from_values("x", bits, dtypes.BF16)).tolist() == [1.5]


class TorchLike:
    """The part of torch.Tensor that is used, with torch's own refusal to give bfloat16 to numpy."""

    def __init__(self, array: np.ndarray, dtype: str) -> None:
        self._array = array
        self.dtype = dtype

    def detach(self) -> TorchLike:
        return self

    cpu = detach

    def numpy(self) -> np.ndarray:
        if self.dtype == "torch.bfloat16":
            raise TypeError("Got unsupported ScalarType BFloat16")
        return self._array

    def new_empty(self, shape: tuple[int, ...]) -> TorchLike:
        return TorchLike(np.empty(shape, self._array.dtype), self.dtype)

    def short(self) -> TorchLike:
        return TorchLike(self._array.astype(np.int16), "torch.int16")

    def view(self, dtype: str) -> TorchLike:
        assert dtype == "torch.int16"
        return TorchLike(self._array.view(np.int16), dtype)


def test_torch_tensors_are_taken_without_importing_torch() -> None:
    """A tensor gives its array; a bfloat16 one gives its bits, and is never taken for UINT16."""
    array = np.ones((2, 2), dtype=np.float32)
    assert np.shares_memory(from_values("x", TorchLike(array, "torch.float32")).array, array)
    bf16 = TorchLike(np.array([1.5], dtype=ml_dtypes.bfloat16), "torch.bfloat16")
    tensor = from_values("x", bf16)
    assert tensor.dtype is dtypes.BF16
    assert to_values(tensor).tolist() == [1.5]
    for dtype in (dtypes.UINT16, dtypes.FP32):
        with pytest.raises(UsageError, match="is BF16"):
            from_values("x", bf16, dtype)


def test_what_is_made_of_arrays_is_an_array() -> None:
    """Anything with `__array__` is as strict as an array."""

    class Series:
        def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
            return np.array([1.5])

    assert from_values("x", Series()).dtype is dtypes.FP64
    with pytest.raises(UsageError, match="must be FP32"):
        from_values("x", Series(), dtypes.FP32)
