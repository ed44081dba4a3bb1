"""The raw form of tensors."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from blindai.errors import RequestCode, RequestError
from blindai.wire import dtypes
from blindai.wire.dtypes import BY_NAME, DType
from blindai.wire.tensors import MAX_ELEMENTS, MAX_RANK, Tensor, from_bytes, to_bytes

FIXED = [dtype for dtype in BY_NAME.values() if dtype.item_bytes]


def refused(code: RequestCode, dtype: DType, shape: list[object], data: bytes) -> str:
    with pytest.raises(RequestError) as caught:
        from_bytes("x", dtype, shape, memoryview(data))  # type: ignore[arg-type]
    assert caught.value.code == code
    return str(caught.value)


@pytest.mark.parametrize("dtype", FIXED, ids=lambda d: d.name)
def test_fixed_sizes_are_views_both_ways(dtype: DType) -> None:
    """Neither direction copies, and what was read cannot be written to, whatever the buffer."""
    body = bytearray(b"\x00\x01" * 3 * dtype.item_bytes)
    tensor = from_bytes("x", dtype, [2, 3], memoryview(body)[: 6 * dtype.item_bytes])
    assert tensor.shape == (2, 3)
    assert np.shares_memory(tensor.array, np.frombuffer(body, dtype=np.uint8))
    assert np.shares_memory(np.frombuffer(to_bytes(tensor), dtype=np.uint8), tensor.array)
    assert bytes(to_bytes(tensor)) == bytes(body[: 6 * dtype.item_bytes])
    with pytest.raises(ValueError, match="read-only"):
        tensor.array[0, 0] = 0


def test_values_are_little_endian() -> None:
    """The first byte is the least significant, and rows come one after the other."""
    tensor = from_bytes("x", dtypes.UINT16, [2, 2], memoryview(b"\x01\x00\x02\x00\x00\x03\xff\xff"))
    assert tensor.array.tolist() == [[1, 2], [768, 65535]]


def test_bytes_elements_have_their_length_before_them() -> None:
    """A BYTES element is four bytes of little-endian length, then itself; any bytes may be in it."""
    elements = [b"", b"\x00\xff", "é".encode()]
    tensor = Tensor("x", dtypes.BYTES, np.array(elements, dtype=object).reshape(3, 1))
    raw = to_bytes(tensor)
    assert raw == b"\0\0\0\0\2\0\0\0\x00\xff\2\0\0\0\xc3\xa9"
    assert from_bytes("x", dtypes.BYTES, [3, 1], memoryview(raw)).array.tolist() == [[e] for e in elements]


@pytest.mark.parametrize("dtype", BY_NAME.values(), ids=BY_NAME)
@pytest.mark.parametrize("shape", [[0], [3, 0], [0, MAX_ELEMENTS]])
def test_empty_tensors_have_no_bytes(dtype: DType, shape: list[int]) -> None:
    """A shape with a zero in it is written as nothing and read from nothing."""
    tensor = from_bytes("x", dtype, shape, memoryview(b""))
    assert tensor.shape == tuple(shape)
    assert bytes(to_bytes(tensor)) == b""
    refused(RequestCode.INPUT_DATA, dtype, list(shape), b"\0")


@pytest.mark.parametrize("dtype", FIXED, ids=lambda d: d.name)
@pytest.mark.parametrize("change", [-1, 1])
def test_a_byte_too_few_or_too_many_is_refused(dtype: DType, change: int) -> None:
    """The data must fill the shape exactly; the message says how many bytes that takes."""
    message = refused(RequestCode.INPUT_DATA, dtype, [5], b"\0" * (5 * dtype.item_bytes + change))
    assert f"needs {5 * dtype.item_bytes} bytes" in message


@pytest.mark.parametrize(
    ("count", "raw", "message"),
    [
        # Refused before an array of eight gigabytes is made for it.
        pytest.param(2**30, b"\0\0\0\0", "at least 4 bytes each", id="enormous count"),
        pytest.param(1, struct.pack("<I", 5) + b"four", "ends within", id="element ends early"),
        pytest.param(1, struct.pack("<I", 2**32 - 1) + b"x", "ends within", id="element of 4 GiB"),
        pytest.param(2, struct.pack("<I", 4) + b"four", "ends before", id="an element too few"),
        pytest.param(2, struct.pack("<I", 2) + b"ab" + b"\0\0", "ends before", id="half a length"),
        pytest.param(1, struct.pack("<I", 1) + b"a" + b"b", "1 bytes after", id="a byte too many"),
    ],
)
def test_bytes_elements_that_lie_are_refused(count: int, raw: bytes, message: str) -> None:
    """Lengths of elements are checked against what is there before anything is taken."""
    assert message in refused(RequestCode.INPUT_DATA, dtypes.BYTES, [count], raw)


@pytest.mark.parametrize(
    "shape",
    [
        [-1],
        [True],
        [1.0],
        ["1"],
        [None],
        [[1]],
        [2**31 + 1],
        [2**32, 2**32],
        [2**64],
        [0, 2**31 + 1],
        [2**16, 2**16, 0],
        [1] * (MAX_RANK + 1),
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", [dtypes.INT8, dtypes.BYTES], ids=lambda d: d.name)
def test_shapes_out_of_bounds_are_refused(shape: list[object], dtype: DType) -> None:
    """Dimensions are integers, zero or more; their product and number are bounded, without overflow."""
    refused(RequestCode.INPUT_SHAPE, dtype, shape, b"\0")


def test_a_bool_is_zero_or_one() -> None:
    """A byte of another value is no BOOL: computing with it is undefined in C++."""
    refused(RequestCode.INPUT_DATA, dtypes.BOOL, [2], b"\x01\x02")


@pytest.mark.parametrize(
    "array",
    [
        pytest.param(np.zeros(2, dtype=np.float64), id="other type"),
        pytest.param(np.zeros(2, dtype=">f4"), id="other byte order"),
        pytest.param(np.zeros((2, 2), dtype=np.float32)[:, :1], id="strided"),
    ],
)
def test_a_tensor_of_another_layout_cannot_be_made(array: np.ndarray) -> None:
    """An array whose memory is not what would be sent is a programming error."""
    with pytest.raises(TypeError, match="C-contiguous"):
        Tensor("x", dtypes.FP32, array)


def test_the_repr_of_a_tensor_shows_no_element() -> None:
    """A tensor in a log line or a traceback does not give its contents away."""
    assert "4242" not in repr(Tensor("x", dtypes.INT64, np.array([4242])))
