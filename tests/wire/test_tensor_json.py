"""The JSON form of tensors."""

from __future__ import annotations

import numpy as np
import pytest

from blindai.errors import RequestCode, RequestError, UsageError
from blindai.wire import dtypes
from blindai.wire.dtypes import BY_NAME, DType
from blindai.wire.tensors import MAX_ELEMENTS, Tensor, from_json_data, to_json_data

INTEGERS = [dtype for dtype in BY_NAME.values() if dtype.numpy.kind in "iu" and dtype != dtypes.BF16]
FLOATS = [dtypes.FP16, dtypes.FP32, dtypes.FP64]


def refused(dtype: DType, shape: list[int], data: object) -> str:
    with pytest.raises(RequestError) as caught:
        from_json_data("x", dtype, shape, data)
    assert caught.value.code == RequestCode.INPUT_DATA
    return str(caught.value)


@pytest.mark.parametrize(
    ("shape", "data"),
    [
        ([2, 3], [1, 2, 3, 4, 5, 6]),
        ([2, 3], [[1, 2, 3], [4, 5, 6]]),
        ([1, 2, 3], [[[1, 2, 3], [4, 5, 6]]]),
        ([6], [1, 2, 3, 4, 5, 6]),
    ],
)
def test_data_may_be_flat_or_nested_as_the_shape(shape: list[int], data: list[object]) -> None:
    """Both spellings give the same elements, row by row."""
    tensor = from_json_data("x", dtypes.INT32, shape, data)
    assert tensor.shape == tuple(shape)
    assert tensor.array.reshape(-1).tolist() == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(("shape", "data"), [([0], []), ([2, 0], []), ([2, 0], [[], []]), ([], [7])])
def test_empty_and_scalar_shapes(shape: list[int], data: list[object]) -> None:
    """Shapes with a zero take no elements, the empty shape takes one."""
    assert from_json_data("x", dtypes.INT32, shape, data).shape == tuple(shape)


@pytest.mark.parametrize(
    ("shape", "data"),
    [
        ([2, 3], [1, 2, 3, 4, 5]),
        ([2, 3], [1, 2, 3, 4, 5, 6, 7]),
        ([2, 3], [[1, 2], [3, 4], [5, 6]]),
        ([2, 3], [[1, 2, 3], [4, 5]]),
        ([2, 3], [[1, 2, 3], [4, 5, 6], []]),
        ([2, 3], [[1, 2, 3], 4, 5, 6]),
        ([2, 3], [1, 2, 3, 4, 5, [6]]),
        ([2], [[1], [2]]),
        ([1], [[[1]]]),
        ([], []),
        ([], [[1]]),
        ([], 1),
        ([1], "1"),
        ([1], {"0": 1}),
        ([1], None),
        ([MAX_ELEMENTS], [1]),
        ([0, MAX_ELEMENTS], [1]),
    ],
    ids=str,
)
def test_data_that_do_not_fit_the_shape_are_refused(shape: list[int], data: object) -> None:
    """Elements are counted, and rows must be as long as the shape says, before an array is made."""
    refused(dtypes.INT32, shape, data)


@pytest.mark.parametrize("dtype", INTEGERS, ids=lambda d: d.name)
def test_integers_are_checked_against_their_range(dtype: DType) -> None:
    """Both ends of the range come through exactly; one further is refused, and not echoed."""
    low, high = int(np.iinfo(dtype.numpy).min), int(np.iinfo(dtype.numpy).max)
    tensor = from_json_data("x", dtype, [2], [low, high])
    assert to_json_data(tensor) == [low, high]
    for outside in (low - 1, high + 1):
        message = refused(dtype, [1], [outside])
        assert "range" in message
        assert str(outside) not in message


@pytest.mark.parametrize(
    ("dtype", "element"),
    [
        *((dtype, element) for dtype in INTEGERS for element in (1.0, True, "1", None)),
        *((dtype, element) for dtype in FLOATS for element in (True, "1", [], {})),
        *((dtypes.BOOL, element) for element in (0, 1, "true", None)),
        *((dtypes.BYTES, element) for element in (0, 1.5, True, None)),
    ],
    ids=lambda value: value.name if isinstance(value, DType) else repr(value),
)
def test_elements_of_another_type_are_refused(dtype: DType, element: object) -> None:
    """Nothing is converted: 1.0 is no integer, true no number, 1 no bool, null no string."""
    good: object = {"b": True, "O": "a"}.get(dtype.numpy.kind, 1)
    refused(dtype, [2], [good, element])


@pytest.mark.parametrize("dtype", FLOATS, ids=lambda d: d.name)
def test_nan_is_null_and_infinity_is_refused(dtype: DType) -> None:
    """NaN goes as null and comes back; infinity and numbers too large say to use binary data."""
    tensor = Tensor("x", dtype, np.array([1.5, np.nan, -0.0], dtype=dtype.numpy))
    assert to_json_data(tensor) == [1.5, None, 0.0]
    again = from_json_data("x", dtype, [3], [1.5, None, -0.0]).array
    np.testing.assert_array_equal(again, tensor.array)
    assert np.signbit(again[2])
    with pytest.raises(UsageError, match="binary data"):
        to_json_data(Tensor("x", dtype, np.array([np.nan, np.inf], dtype=dtype.numpy)))


@pytest.mark.parametrize(("dtype", "number"), [(dtypes.FP16, 70000), (dtypes.FP16, 1e9), (dtypes.FP32, 1e39)])
def test_numbers_too_large_are_refused(dtype: DType, number: float) -> None:
    """A number that would become infinity in the type is refused."""
    assert "too large" in refused(dtype, [1], [number])


def test_strings_are_utf8() -> None:
    """BYTES elements are strings in JSON; what is not UTF-8 needs binary data, and is not echoed."""
    tensor = from_json_data("x", dtypes.BYTES, [2], ["é", ""])
    assert tensor.array.tolist() == ["é".encode(), b""]
    assert to_json_data(tensor) == ["é", ""]
    with pytest.raises(UsageError, match="binary data") as caught:
        to_json_data(Tensor("x", dtypes.BYTES, np.array([b"ab\xf5"], dtype=object)))
    assert "f5" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_bf16_needs_binary_data() -> None:
    """BF16 has no JSON form, either way, and the message says what to do."""
    assert "binary data" in refused(dtypes.BF16, [1], [1.0])
    with pytest.raises(UsageError, match="binary data"):
        to_json_data(Tensor("x", dtypes.BF16, np.zeros(1, dtype=np.uint16)))
