"""An unmodified tritonclient writes requests that we read, and reads answers that we write."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import triton_to_np_dtype

from blindai.errors import RequestCode, RequestError
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
from blindai.wire.tensors import Tensor, from_values

# BF16 has no JSON form, neither with them nor with us.
_CASES = [(d, binary) for d in BY_NAME.values() for binary in (True, False) if binary or d != dtypes.BF16]
ALL_FORMS = pytest.mark.parametrize(
    ("dtype", "binary"), _CASES, ids=[f"{d.name}-{'binary' if binary else 'json'}" for d, binary in _CASES]
)


def sample(dtype: DType) -> np.ndarray:
    """Four values in tritonclient's own numpy type."""
    if dtype == dtypes.BYTES:
        return np.array([[b"", "é".encode()], [b"ab", b"c"]], dtype=object)
    return np.array([[0, 1], [1, 2]]).astype(triton_to_np_dtype(dtype.name))


def as_tensor(name: str, array: np.ndarray) -> Tensor:
    return from_values(name, array)


def infer_input(name: str, array: np.ndarray, dtype: DType, *, binary: bool) -> InferInput:
    return InferInput(name, list(array.shape), dtype.name).set_data_from_numpy(array, binary_data=binary)


@ALL_FORMS
def test_their_requests_are_read(dtype: DType, binary: bool) -> None:
    """Each type, in each form that the client has for it, arrives with its values."""
    array = sample(dtype)
    body, length = InferenceServerClient.generate_request_body(
        [infer_input("x", array, dtype, binary=binary)],
        outputs=[InferRequestedOutput("y", binary_data=False), InferRequestedOutput("z")],
        request_id="42",
    )
    request = decode_request(body, length)
    expected = as_tensor("x", array)
    assert (length is None) == (not binary)
    assert request.inputs[0].dtype is dtype
    np.testing.assert_array_equal(request.inputs[0].array, expected.array)
    assert request.outputs == (RequestedOutput("y", False), RequestedOutput("z", True))
    assert request.id == "42"


def test_their_mixed_request_is_read() -> None:
    """Binary, JSON and empty inputs beside each other; without outputs all are wanted as binary data."""
    inputs = [
        infer_input("a", np.ones((1, 3), dtype=np.float32), dtypes.FP32, binary=True),
        infer_input("b", np.array([1, 2]), dtypes.INT64, binary=False),
        infer_input("c", np.empty((0, 2), dtype=np.int8), dtypes.INT8, binary=True),
        infer_input("d", np.empty(0, dtype=object), dtypes.BYTES, binary=True),
        infer_input("e", np.array(["é"], dtype=object), dtypes.BYTES, binary=True),
    ]
    body, length = InferenceServerClient.generate_request_body(inputs, priority=3, timeout=1000)
    request = decode_request(body, length)
    assert [tensor.name for tensor in request.inputs] == list("abcde")
    assert [tensor.array.tolist() for tensor in request.inputs] == [
        [[1, 1, 1]],
        [1, 2],
        [],
        [],
        ["é".encode()],
    ]
    assert request.outputs == ()
    assert request.wants_binary("anything")


@pytest.mark.parametrize(
    ("outputs", "sequence_id", "word"),
    [
        ([InferRequestedOutput("y", class_count=3)], 0, "classification"),
        (None, 7, "sequence_id"),
    ],
)
def test_what_would_change_the_answer_is_refused(
    outputs: list[InferRequestedOutput] | None, sequence_id: int, word: str
) -> None:
    """Features that we do not have are refused by name rather than ignored."""
    body, length = InferenceServerClient.generate_request_body(
        [infer_input("x", np.ones(1, dtype=np.float32), dtypes.FP32, binary=True)],
        outputs=outputs,
        sequence_id=sequence_id,
    )
    with pytest.raises(RequestError, match=word) as caught:
        decode_request(body, length)
    assert caught.value.code == RequestCode.MALFORMED


@ALL_FORMS
def test_our_answers_are_read_by_them(dtype: DType, binary: bool) -> None:
    """Each type in each form gives their client the same numpy array, beside an output in the other form."""
    array = sample(dtype)
    outputs = (
        as_tensor("before", np.array([1.5])),
        as_tensor("y", array),
        as_tensor("after", np.array([2.5], dtype=np.float32)),
    )
    response = InferenceResponse("model", "1", outputs, id="42")
    parts, length = encode_response(response, binary=lambda name: binary == (name == "y"))
    result = InferenceServerClient.parse_response_body(b"".join(parts), header_length=length)
    received = result.as_numpy("y")
    if dtype == dtypes.BYTES and not binary:
        received = np.array([[text.encode() for text in row] for row in received], dtype=object)
    assert received.dtype == array.dtype
    np.testing.assert_array_equal(received, array)
    assert result.as_numpy("before").tolist() == [1.5]
    assert result.as_numpy("after").tolist() == [2.5]
    assert result.get_response()["model_name"] == "model"
    assert result.get_response()["id"] == "42"


def test_nan_reaches_them_in_json() -> None:
    """Our null is their NaN."""
    response = InferenceResponse("m", "1", (as_tensor("y", np.array([1.0, np.nan], dtype=np.float32)),))
    parts, length = encode_response(response, binary=lambda _: False)
    result = InferenceServerClient.parse_response_body(b"".join(parts), header_length=length)
    np.testing.assert_array_equal(result.as_numpy("y"), np.array([1, np.nan], dtype=np.float32))


def test_our_request_has_the_same_bytes_behind_the_json() -> None:
    """Our encoder lays tensors out as theirs does."""
    arrays = {"a": sample(dtypes.FP32), "b": sample(dtypes.BYTES), "c": sample(dtypes.BF16)}
    kinds = {"a": dtypes.FP32, "b": dtypes.BYTES, "c": dtypes.BF16}
    theirs, their_length = InferenceServerClient.generate_request_body(
        [infer_input(name, array, kinds[name], binary=True) for name, array in arrays.items()]
    )
    tensors = tuple(as_tensor(name, array) for name, array in arrays.items())
    parts, length = encode_request(InferenceRequest(tensors, binary_outputs=True))
    assert b"".join(parts)[length:] == theirs[their_length:]


def test_bf16_of_theirs_comes_back_through_us() -> None:
    """A BF16 array of ml_dtypes goes through their encoder and our decoder without a changed bit."""
    array = np.array([1.5, -0.0, np.inf], dtype=ml_dtypes.bfloat16)
    parts, length = encode_response(
        InferenceResponse("m", "1", (as_tensor("y", array),)), binary=lambda _: True
    )
    again = decode_response(b"".join(parts), length).outputs[0]
    np.testing.assert_array_equal(again.array, array.view(np.uint16))
