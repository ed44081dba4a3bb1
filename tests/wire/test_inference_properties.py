"""Round trips of every type in both forms, and mutated bodies that must raise nothing but our error."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blindai.errors import RequestError, ResponseError
from blindai.wire import dtypes
from blindai.wire.dtypes import BY_NAME, DType
from blindai.wire.inference import (
    InferenceRequest,
    InferenceResponse,
    RequestedOutput,
    decode_request,
    decode_response,
    encode_request,
    encode_response,
)
from blindai.wire.tensors import Tensor

SHAPES = st.lists(st.integers(0, 3), max_size=4).map(tuple)
NAMES = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=12)


@st.composite
def tensors(draw: st.DrawFn, dtype: DType, *, json: bool = False) -> Tensor:
    """Tensors of any bit patterns; with `json`, those that JSON holds."""
    shape = draw(SHAPES)
    count = math.prod(shape)
    if dtype == dtypes.BYTES:
        element = st.text(max_size=5).map(str.encode) if json else st.binary(max_size=5)
        array: np.ndarray = np.empty(count, dtype=object)
        array[:] = draw(st.lists(element, min_size=count, max_size=count))
        return Tensor(draw(NAMES), dtype, array.reshape(shape))
    size = count * dtype.item_bytes
    raw = np.frombuffer(draw(st.binary(min_size=size, max_size=size)), dtype=np.uint8)
    array = (raw & 1 if dtype == dtypes.BOOL else raw).view(dtype.numpy).reshape(shape)
    if json and dtype.numpy.kind == "f":
        array = np.where(np.isinf(array), dtype.numpy.type(1), array)
    return Tensor(draw(NAMES), dtype, array)


def same(one: Tensor, other: Tensor, *, bitwise: bool) -> None:
    assert (one.name, one.dtype, one.shape) == (other.name, other.dtype, other.shape)
    if bitwise and one.dtype != dtypes.BYTES:
        assert one.array.tobytes() == other.array.tobytes()
    else:
        np.testing.assert_array_equal(one.array, other.array)


@pytest.mark.parametrize("dtype", BY_NAME.values(), ids=BY_NAME)
@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_binary_round_trip(dtype: DType, data: st.DataObject) -> None:
    """Every tensor comes back bit for bit, in a request and in a response."""
    tensor = data.draw(tensors(dtype))
    wanted = (RequestedOutput("a", True), RequestedOutput("b", False))
    request = InferenceRequest((tensor,), wanted, id="7", binary_outputs=True)
    parts, length = encode_request(request)
    again = decode_request(bytearray(b"".join(parts)), length)
    same(tensor, again.inputs[0], bitwise=True)
    assert (again.outputs, again.id, again.binary_outputs) == (wanted, "7", True)

    parts, length = encode_response(InferenceResponse("m", "1", (tensor,), "7"), binary=lambda _: True)
    answer = decode_response(memoryview(b"".join(parts)), length)
    same(tensor, answer.outputs[0], bitwise=True)
    assert (answer.model_name, answer.model_version, answer.id) == ("m", "1", "7")


@pytest.mark.parametrize("dtype", [d for d in BY_NAME.values() if d != dtypes.BF16], ids=lambda d: d.name)
@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_json_round_trip(dtype: DType, data: st.DataObject) -> None:
    """Every finite value and NaN comes back exactly, in a request and in a response."""
    tensor = data.draw(tensors(dtype, json=True))
    parts, length = encode_request(InferenceRequest((tensor,)), binary=False)
    assert length is None
    same(tensor, decode_request(b"".join(parts), None).inputs[0], bitwise=False)

    parts, length = encode_response(InferenceResponse("m", "1", (tensor,)), binary=lambda _: False)
    assert length is None
    same(tensor, decode_response(b"".join(parts), None).outputs[0], bitwise=False)


@settings(deadline=None, max_examples=50)
@given(data=st.data(), count=st.integers(0, 4))
def test_messages_of_several_tensors_in_both_forms(data: st.DataObject, count: int) -> None:
    """Binary and JSON tensors stand side by side in one answer, each in its place."""
    kinds = [
        data.draw(st.sampled_from([d for d in BY_NAME.values() if d != dtypes.BF16])) for _ in range(count)
    ]
    outputs = tuple(
        Tensor(f"y{i}", t.dtype, t.array)
        for i, t in enumerate(data.draw(tensors(k, json=True)) for k in kinds)
    )
    binary = data.draw(st.sets(st.sampled_from([f"y{i}" for i in range(4)])))
    parts, length = encode_response(InferenceResponse("m", "", outputs), binary=lambda name: name in binary)
    assert (length is None) == (not any(output.name in binary for output in outputs))
    again = decode_response(b"".join(parts), length)
    assert len(again.outputs) == len(outputs)
    for one, other in zip(outputs, again.outputs, strict=True):
        same(one, other, bitwise=False)


HOSTILE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["", "x", "FP32", "BYTES", "BOOL", "INT8", "\x00"]),
    lambda value: (
        st.lists(value, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "shape", "datatype", "data", "parameters", "binary_data_size"]), value
        )
    ),
    max_leaves=5,
)


def _paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, inner in items for found in _paths(inner, (*path, key)))]


def _replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = _replaced(value[path[0]], path[1:], new)
    return copy


HEADER = {
    "id": "1",
    "inputs": [
        {"name": "a", "shape": [1, 2], "datatype": "FP32", "parameters": {"binary_data_size": 8}},
        {"name": "b", "shape": [2], "datatype": "BYTES", "parameters": {"binary_data_size": 11}},
        {"name": "c", "shape": [2, 1], "datatype": "INT8", "data": [[1], [2]]},
        {"name": "d", "shape": [1], "datatype": "BYTES", "data": ["x"]},
        {"name": "e", "shape": [2], "datatype": "BOOL", "parameters": {"binary_data_size": 2}},
    ],
    "outputs": [{"name": "y", "parameters": {"binary_data": True}}],
    "parameters": {"binary_data_output": False},
}
RAW = b"\0\0\x80\x3f\0\0\0\x40\2\0\0\0ab\1\0\0\0c\0\1"
BODY = orjson.dumps(HEADER)
ANSWER = {"model_name": "m", "model_version": "1", "id": "1", "outputs": HEADER["inputs"]}


def _decodes_or_refuses(body: bytes, header_length: int | None) -> None:
    message = ""
    try:
        decode_request(body, header_length)
    except RequestError as exc:
        message = str(exc)
    assert message.isprintable()


def test_the_body_that_is_mutated_is_good() -> None:
    """Without mutation it decodes; else the tests below would test one refusal only."""
    assert len(decode_request(BODY + RAW, len(BODY)).inputs) == 5
    answer = orjson.dumps(ANSWER)
    assert len(decode_response(answer + RAW, len(answer)).outputs) == 5


@settings(deadline=None, max_examples=400)
@given(path=st.sampled_from(_paths(HEADER)), new=HOSTILE, raw=st.just(RAW) | st.binary(max_size=24))
def test_any_member_replaced_by_anything(path: tuple[Any, ...], new: Any, raw: bytes) -> None:
    """A request with one member replaced by another value decodes, or is RequestError."""
    text = orjson.dumps(_replaced(HEADER, path, new))
    _decodes_or_refuses(text + raw, len(text))


@settings(deadline=None, max_examples=400)
@given(
    edits=st.lists(
        st.tuples(st.integers(0, len(BODY + RAW) - 1), st.integers(0, 3), st.binary(max_size=3)), max_size=4
    ),
    shift=st.integers(-3, 3) | st.integers(-(2**40), 2**40),
)
def test_any_bytes_changed(edits: list[tuple[int, int, bytes]], shift: int) -> None:
    """A body with bytes cut, inserted and changed, and a wrong length, decodes or is RequestError."""
    body = BODY + RAW
    for start, cut, inserted in edits:
        body = body[:start] + inserted + body[start + cut :]
    _decodes_or_refuses(body, len(BODY) + shift)
    _decodes_or_refuses(body, None)


@settings(deadline=None, max_examples=100)
@given(path=st.sampled_from(_paths(ANSWER)), new=HOSTILE)
def test_hostile_answers_raise_nothing_but_response_error(path: tuple[Any, ...], new: Any) -> None:
    """The client's decoder is as closed as the server's."""
    text = orjson.dumps(_replaced(ANSWER, path, new))
    message = ""
    try:
        decode_response(text + RAW, len(text))
    except ResponseError as exc:
        message = str(exc)
    assert message.isprintable()
