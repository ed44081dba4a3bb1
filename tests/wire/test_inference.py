"""Requests and responses: what is refused, with which code, and what the message says."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from blindai.errors import RequestCode, RequestError, ResponseError, UsageError
from blindai.wire import dtypes, inference
from blindai.wire.inference import (
    InferenceRequest,
    InferenceResponse,
    RequestedOutput,
    decode_request,
    decode_response,
    encode_request,
    encode_response,
)
from blindai.wire.members import MAX_TENSORS
from blindai.wire.tensors import Tensor, from_values

SECRET = "424242"


def fp32(name: str = "x", **members: Any) -> dict[str, Any]:
    """An input of two FP32 elements."""
    return {"name": name, "shape": [2], "datatype": "FP32", "data": [1, 2], **members}


def binary(name: str = "x", size: Any = 8, **members: Any) -> dict[str, Any]:
    """An input of two FP32 elements that stand behind the JSON."""
    return {
        "name": name,
        "shape": [2],
        "datatype": "FP32",
        "parameters": {"binary_data_size": size},
        **members,
    }


def without(member: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in member.items() if name != key}


def refusal(header: Any, raw: bytes | None = None, *, length: int | None = None) -> RequestError:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    header_length = length if length is not None else None if raw is None else len(text)
    with pytest.raises(RequestError) as caught:
        decode_request(text + (raw or b""), header_length)
    return caught.value


@pytest.mark.parametrize(
    ("header", "code"),
    [
        pytest.param(b"", RequestCode.MALFORMED, id="nothing"),
        pytest.param(b"{", RequestCode.MALFORMED, id="not JSON"),
        pytest.param(b'{"inputs":[]}{', RequestCode.MALFORMED, id="trailing text"),
        pytest.param(b'{"inputs":' + b"[" * 100_000, RequestCode.MALFORMED, id="deep nesting"),
        pytest.param(b'{"id":"\xff","inputs":[]}', RequestCode.MALFORMED, id="not UTF-8"),
        pytest.param([], RequestCode.MALFORMED, id="a list"),
        pytest.param({}, RequestCode.INPUT_MISSING, id="no inputs"),
        pytest.param({"inputs": {}}, RequestCode.MALFORMED, id="inputs of another type"),
        pytest.param({"inputs": [1]}, RequestCode.MALFORMED, id="an input that is no object"),
        pytest.param({"inputs": [fp32()] * 2}, RequestCode.INPUT_DUPLICATE, id="an input twice"),
        pytest.param({"inputs": [fp32(name=1)]}, RequestCode.MALFORMED, id="name of another type"),
        pytest.param({"inputs": [fp32(name="")]}, RequestCode.MALFORMED, id="empty name"),
        pytest.param({"inputs": [without(fp32(), "name")]}, RequestCode.MALFORMED, id="no name"),
        pytest.param({"inputs": [fp32(datatype="float32")]}, RequestCode.INPUT_DTYPE, id="unknown datatype"),
        pytest.param({"inputs": [fp32(datatype=1)]}, RequestCode.MALFORMED, id="datatype of another type"),
        pytest.param({"inputs": [without(fp32(), "datatype")]}, RequestCode.MALFORMED, id="no datatype"),
        pytest.param({"inputs": [fp32(shape=[-1])]}, RequestCode.INPUT_SHAPE, id="dynamic shape"),
        pytest.param({"inputs": [fp32(shape=2)]}, RequestCode.INPUT_SHAPE, id="shape of another type"),
        pytest.param({"inputs": [without(fp32(), "shape")]}, RequestCode.INPUT_SHAPE, id="no shape"),
        pytest.param({"inputs": [without(fp32(), "data")]}, RequestCode.INPUT_DATA, id="no data"),
        pytest.param({"inputs": [fp32(shape=[3])]}, RequestCode.INPUT_DATA, id="too few data"),
        pytest.param({"inputs": [fp32(parameters=[])]}, RequestCode.MALFORMED, id="parameters"),
        pytest.param(
            {"inputs": [fp32(parameters={"shared_memory_region": "a"})]},
            RequestCode.MALFORMED,
            id="shared memory",
        ),
        pytest.param({"inputs": [], "id": 1}, RequestCode.MALFORMED, id="id of another type"),
        pytest.param({"inputs": [], "parameters": None}, RequestCode.MALFORMED, id="null parameters"),
        pytest.param(
            {"inputs": [], "parameters": {"sequence_id": 1}}, RequestCode.MALFORMED, id="a sequence"
        ),
        pytest.param(
            {"inputs": [], "parameters": {"binary_data_output": 1}}, RequestCode.MALFORMED, id="a flag of 1"
        ),
        pytest.param({"inputs": [], "outputs": {}}, RequestCode.MALFORMED, id="outputs of another type"),
        pytest.param({"inputs": [], "outputs": [{}]}, RequestCode.MALFORMED, id="an output without a name"),
        pytest.param(
            {"inputs": [], "outputs": [{"name": "a"}] * 2}, RequestCode.MALFORMED, id="an output twice"
        ),
        pytest.param(
            {"inputs": [], "outputs": [{"name": "a", "parameters": {"classification": 3}}]},
            RequestCode.MALFORMED,
            id="classification",
        ),
        pytest.param(
            {"inputs": [fp32(name=str(i)) for i in range(MAX_TENSORS + 1)]},
            RequestCode.MALFORMED,
            id="too many inputs",
        ),
    ],
)
def test_bad_json_requests_are_refused(header: Any, code: RequestCode) -> None:
    """Each fault has its code, and none of them is another exception."""
    assert refusal(header).code == code


@pytest.mark.parametrize(
    ("inputs", "raw", "code"),
    [
        pytest.param([binary()], bytes(7), RequestCode.INPUT_DATA, id="truncated"),
        pytest.param([binary()], bytes(9), RequestCode.INPUT_DATA, id="surplus"),
        pytest.param([binary(), binary("y")], bytes(12), RequestCode.INPUT_DATA, id="second truncated"),
        pytest.param([binary(size=7)], bytes(7), RequestCode.INPUT_DATA, id="size too small for the shape"),
        pytest.param([binary(size=12)], bytes(12), RequestCode.INPUT_DATA, id="size too large for the shape"),
        pytest.param([binary(size=2**70)], bytes(8), RequestCode.MALFORMED, id="size of 71 bits"),
        pytest.param([binary(size=2**62)], bytes(8), RequestCode.INPUT_DATA, id="enormous size"),
        pytest.param([binary(size=-8)], bytes(8), RequestCode.MALFORMED, id="negative size"),
        pytest.param([binary(size=True)], bytes(8), RequestCode.MALFORMED, id="size true"),
        pytest.param([binary(size="8")], bytes(8), RequestCode.MALFORMED, id="size as text"),
        pytest.param([binary(data=[1, 2])], bytes(8), RequestCode.INPUT_DATA, id="both data and binary"),
        pytest.param([fp32()], bytes(8), RequestCode.INPUT_DATA, id="binary nobody asked for"),
        pytest.param([binary()], None, RequestCode.MALFORMED, id="no header length"),
    ],
)
def test_bad_binary_requests_are_refused(inputs: list[Any], raw: bytes | None, code: RequestCode) -> None:
    """Every byte behind the JSON belongs to exactly one tensor, and fills it."""
    assert refusal({"inputs": inputs}, raw).code == code


@pytest.mark.parametrize("length", [-1, 0, 5, 10_000])
def test_a_header_length_that_lies_is_refused(length: int) -> None:
    """A length that is not that of the JSON is malformed, also where it points out of the body."""
    assert refusal({"inputs": [binary()]}, bytes(8), length=length).code == RequestCode.MALFORMED


@pytest.mark.parametrize("length", [-1, 15])
def test_a_header_length_out_of_the_body_is_never_cut_to_fit(length: int) -> None:
    """Python's slices would forgive a length below zero or beyond the end; here both are refused."""
    error = refusal(b'{"inputs":[]} ', length=length)
    assert error.code == RequestCode.MALFORMED
    assert inference.HEADER_LENGTH_HEADER in str(error)


def test_json_has_its_own_size_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """JSON over the limit is refused before it is parsed; binary data do not count."""
    monkeypatch.setattr(inference, "MAX_JSON_BYTES", 200)
    assert refusal(b"{" * 201).code == RequestCode.TOO_LARGE
    tensor = from_values("x", np.zeros(1000, dtype=np.float32))
    parts, length = encode_request(InferenceRequest((tensor,)))
    assert decode_request(b"".join(parts), length).inputs[0].shape == (1000,)


def test_json_of_countless_lists_is_refused_before_it_is_parsed():
    """Countless empty lists would hold up every other request while they are made."""
    body = b'{"inputs": [' + b"[]," * (inference.MAX_JSON_BRACKETS + 1) + b"[]]}"
    with pytest.raises(RequestError) as caught:
        decode_request(body, None)
    assert caught.value.code == "too-large"


@pytest.mark.parametrize(
    ("header", "raw"),
    [
        ({"inputs": [fp32(data=[424242, SECRET])]}, None),
        ({"inputs": [fp32(datatype="INT8", data=[1, 424242])]}, None),
        ({"inputs": [fp32(datatype="FP16", data=[1, 424242e9])]}, None),
        ({"inputs": [fp32(datatype="BOOL", data=[True, 424242])]}, None),
        ({"inputs": [fp32(datatype=SECRET)]}, None),
        ({"inputs": [fp32(data=[SECRET])]}, None),
        ({"inputs": [fp32(data={SECRET: SECRET})]}, None),
        ({"inputs": [binary(datatype="BYTES")]}, SECRET.encode() + b"\0\0"),
        (b'{"inputs":["' + SECRET.encode() + b'", }', None),
        ({"inputs": SECRET, "id": SECRET}, None),
    ],
)
def test_messages_never_hold_the_data(header: Any, raw: bytes | None) -> None:
    """Neither the message nor what it is chained to repeats a value of the request."""
    error: BaseException | None = refusal(header, raw)
    while error is not None:
        assert SECRET not in str(error)
        assert SECRET not in repr(vars(error))
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def test_hostile_names_are_cut_and_cleaned() -> None:
    """A name of a megabyte with control characters is shown in 64 printable characters."""
    message = str(refusal({"inputs": [fp32(name="\x1b[2J\n" + "A" * 2**20, shape=[3])]}))
    assert message.isprintable()
    assert len(message) < 200
    assert "needs 3 elements, got 2" in message


def test_outputs_follow_the_request_unless_they_say_otherwise() -> None:
    """`binary_data_output` holds for outputs without a `binary_data` of their own."""
    outputs = [{"name": "a"}, {"name": "b", "parameters": {"binary_data": False}}]
    body = json.dumps({"inputs": [], "outputs": outputs, "parameters": {"binary_data_output": True}})
    request = decode_request(body.encode(), None)
    assert request.outputs == (RequestedOutput("a", True), RequestedOutput("b", False))
    assert request.wants_binary("a")
    assert not request.wants_binary("b")
    assert request.wants_binary("other")
    assert not InferenceRequest(()).wants_binary("any")


def test_members_we_do_not_know_are_ignored() -> None:
    """A request of a richer client is understood for what it has in common with ours."""
    body = {"inputs": [fp32(extra=1)], "parameters": {"priority": 1, "timeout": 5}, "other": {}}
    assert decode_request(json.dumps(body).encode(), None).inputs[0].array.tolist() == [1, 2]


def test_the_first_tensor_is_aligned_in_the_body() -> None:
    """The JSON is padded with spaces, so that numpy and the engine get memory they like."""
    for name_length in range(1, 9):
        tensor = from_values("x" * name_length, np.ones(3))
        parts, length = encode_request(InferenceRequest((tensor,)))
        assert length is not None
        assert length % 8 == 0
        assert decode_request(b"".join(parts), length).inputs[0].array.flags.aligned


def test_what_json_cannot_hold_is_the_fault_of_whoever_asked() -> None:
    """A client's own tensor is UsageError; an output asked for in JSON is RequestError output-not-json."""
    for tensor in (
        Tensor("y", dtypes.FP32, np.array([np.inf], dtype=np.float32)),
        Tensor("y", dtypes.BYTES, np.array([b"\xff"], dtype=object)),
        Tensor("y", dtypes.BF16, np.array([1], dtype=np.uint16)),
    ):
        with pytest.raises(UsageError, match=r'"y".*binary data'):
            encode_request(InferenceRequest((tensor,)), binary=False)
        response = InferenceResponse("m", "1", (tensor,))
        with pytest.raises(RequestError, match=r'"y".*binary data') as caught:
            encode_response(response, binary=lambda _: False)
        assert caught.value.code == RequestCode.OUTPUT_NOT_JSON
        assert encode_response(response, binary=lambda _: True)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"model_name":"m"}',
        b'{"outputs":[]}',
        b'{"model_name":1,"outputs":[]}',
        b'{"model_name":"m","outputs":[{"name":"y","datatype":"FP32","shape":[2],"data":[1]}]}',
        b'{"model_name":"m","outputs":[{"name":"y","datatype":"FP8","shape":[1],"data":[1]}]}',
    ],
)
def test_answers_that_break_the_protocol_are_response_errors(body: bytes) -> None:
    """The client blames the server, never itself."""
    with pytest.raises(ResponseError, match="breaks the inference protocol"):
        decode_response(body, None)


def test_a_truncated_binary_answer_is_a_response_error() -> None:
    """Every cut through a binary answer is noticed."""
    response = InferenceResponse("m", "1", (from_values("y", np.ones(3)), from_values("z", ["a", "b"])))
    parts, length = encode_response(response, binary=lambda _: True)
    body = b"".join(parts)
    for end in range(len(body)):
        with pytest.raises(ResponseError):
            decode_response(body[:end], length)
