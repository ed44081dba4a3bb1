"""Inference requests and responses of the Open Inference Protocol v2, with its binary tensor extension.

A body is JSON, and behind it the raw bytes of the tensors that say `binary_data_size`, in their order.
The HTTP header `Inference-Header-Content-Length` holds the length of the JSON; without it, all is JSON.
Member names that we do not know are ignored, as the protocol wants, except for the parameters that would
make the answer another one (shared memory, classification, sequences): those are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import orjson

from blindai.errors import RequestCode, RequestError, ResponseError, UsageError
from blindai.wire import members
from blindai.wire.dtypes import BY_NAME
from blindai.wire.tensors import Tensor, from_bytes, from_json_data, to_bytes, to_json_data

ACCEPTED_MODELS_HEADER = "BlindAI-Accept-Model-SHA256"
HEADER_LENGTH_HEADER = "Inference-Header-Content-Length"

# Decoding holds up every other request, and Python's objects take up to sixty times the room of their JSON.
MAX_JSON_BYTES = 8 * 2**20
MAX_JSON_BRACKETS = 2**18  # the garbage collector's time grows faster than their number

Parts = list[bytes | memoryview]


@dataclass(frozen=True)
class RequestedOutput:
    """An output that is asked for by name; `binary` says in which form."""

    name: str
    binary: bool


@dataclass(frozen=True)
class InferenceRequest:
    """What is asked of a model. No `outputs` asks for all of them, in the form of `binary_outputs`."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[RequestedOutput, ...] = ()
    id: str = ""
    binary_outputs: bool = False

    def wants_binary(self, output_name: str) -> bool:
        """Say in which form the output goes back: the `binary` argument of `encode_response`."""
        for output in self.outputs:
            if output.name == output_name:
                return output.binary
        return self.binary_outputs


@dataclass(frozen=True)
class InferenceResponse:
    """What the model answered."""

    model_name: str
    model_version: str
    outputs: tuple[Tensor, ...]
    id: str = ""


def encode_request(request: InferenceRequest, *, binary: bool = True) -> tuple[Parts, int | None]:
    """Return the body in parts, to be sent one after the other, and its JSON length (None: all is JSON).

    The parts are views of the tensors' own memory. Raises UsageError for what JSON cannot hold.
    """
    header: dict[str, Any] = {"id": request.id} if request.id else {}
    inputs, raw = _encode_tensors(request.inputs, lambda _: binary)
    header["inputs"] = inputs
    if request.outputs:
        header["outputs"] = [
            {"name": output.name, "parameters": {"binary_data": output.binary}} for output in request.outputs
        ]
    if request.binary_outputs:
        header["parameters"] = {"binary_data_output": True}
    return _body(header, raw)


def encode_response(
    response: InferenceResponse, *, binary: Callable[[str], bool]
) -> tuple[Parts, int | None]:
    """Return the body in parts and its JSON length, as `encode_request` does; `binary` decides per output.

    Raises RequestError (output-not-json) for an output that JSON cannot hold.
    """
    header: dict[str, Any] = {"model_name": response.model_name, "model_version": response.model_version}
    if response.id:
        header["id"] = response.id
    try:
        header["outputs"], raw = _encode_tensors(response.outputs, binary)
    except UsageError as exc:
        raise RequestError(RequestCode.OUTPUT_NOT_JSON, str(exc)) from exc
    return _body(header, raw)


def decode_request(body: bytes | bytearray | memoryview, header_length: int | None) -> InferenceRequest:
    """Return the request in `body`; its tensors are read-only views of it. Raises RequestError, only."""
    header, raw = _split(body, header_length)
    if "inputs" not in header:
        raise RequestError(RequestCode.INPUT_MISSING, 'the request has no "inputs"')
    parameters = members.parameters(header)
    members.refuse(parameters, ("sequence_id",))
    return InferenceRequest(
        inputs=_decode_tensors(header["inputs"], "inputs", raw),
        outputs=_requested_outputs(
            header.get("outputs", []), members.flag(parameters, "binary_data_output", False)
        ),
        id=members.string(header, "id", default=""),
        binary_outputs=members.flag(parameters, "binary_data_output", False),
    )


def decode_response(body: bytes | bytearray | memoryview, header_length: int | None) -> InferenceResponse:
    """Return the response in `body`; its tensors are read-only views of it. Raises ResponseError, only."""
    try:
        header, raw = _split(body, header_length)
        if "outputs" not in header:
            raise members.malformed('the message has no "outputs"')
        return InferenceResponse(
            model_name=members.string(header, "model_name"),
            model_version=members.string(header, "model_version", default=""),
            outputs=_decode_tensors(header["outputs"], "outputs", raw),
            id=members.string(header, "id", default=""),
        )
    except RequestError as exc:
        raise ResponseError(f"the server's answer breaks the inference protocol: {exc}") from exc


def _encode_tensors(tensors: Sequence[Tensor], binary: Callable[[str], bool]) -> tuple[list[Any], Parts]:
    members: list[Any] = []
    raw: Parts = []
    for tensor in tensors:
        member: dict[str, Any] = {
            "name": tensor.name,
            "shape": list(tensor.shape),
            "datatype": tensor.dtype.name,
        }
        if binary(tensor.name):
            data = to_bytes(tensor)
            member["parameters"] = {"binary_data_size": len(data)}
            raw.append(data)
        else:
            member["data"] = to_json_data(tensor)
        members.append(member)
    return members, raw


def _body(header: dict[str, Any], raw: Parts) -> tuple[Parts, int | None]:
    text = orjson.dumps(header)
    if not raw:
        return [text], None
    # JSON may end in spaces: with them the first tensor starts where the reader's numpy wants it, aligned.
    text += b" " * (-len(text) % 8)
    return [text, *raw], len(text)


def _split(body: bytes | bytearray | memoryview, header_length: int | None) -> tuple[dict[str, Any], _Raw]:
    """Return the JSON object, and what is behind it."""
    view = memoryview(body).cast("B")
    length = view.nbytes if header_length is None else header_length
    if not 0 <= length <= view.nbytes:
        raise members.malformed(f"{HEADER_LENGTH_HEADER} says {length}, the body has {view.nbytes} bytes")
    if length > MAX_JSON_BYTES:
        raise RequestError(
            RequestCode.TOO_LARGE,
            f"more than {MAX_JSON_BYTES} bytes of JSON: send the tensors as binary data",
        )
    text = bytes(view[:length])
    if text.count(b"[") + text.count(b"{") > MAX_JSON_BRACKETS:
        raise RequestError(
            RequestCode.TOO_LARGE,
            f"more than {MAX_JSON_BRACKETS} lists and objects: send the tensors as binary data",
        )
    try:
        header = orjson.loads(text)
    except orjson.JSONDecodeError as exc:
        # Not chained: that exception carries the whole document, which is somebody's private data.
        raise members.malformed(f"not JSON, at character {exc.pos} of {length} bytes") from None
    if not isinstance(header, dict):
        raise members.malformed("the JSON is not an object")
    return header, _Raw(view[length:], announced=header_length is not None)


class _Raw:
    """The bytes behind the JSON, taken from the front, tensor by tensor."""

    def __init__(self, data: memoryview, *, announced: bool) -> None:
        self._data = data
        self._announced = announced

    def take(self, size: Any) -> memoryview:
        if not self._announced:
            raise members.malformed(f"there is a binary_data_size, but {HEADER_LENGTH_HEADER} is missing")
        if type(size) is not int or size < 0:
            raise members.malformed("binary_data_size must be an integer, zero or more")
        if size > self._data.nbytes:
            raise RequestError(
                RequestCode.INPUT_DATA,
                f"truncated: binary_data_size is {size}, {self._data.nbytes} bytes are left in the body",
            )
        taken, self._data = self._data[:size], self._data[size:]
        return taken

    def end(self) -> None:
        if self._data.nbytes:
            raise RequestError(
                RequestCode.INPUT_DATA, f"the body has {self._data.nbytes} bytes after the last binary tensor"
            )


def _decode_tensors(listed: Any, what: str, raw: _Raw) -> tuple[Tensor, ...]:
    tensors: dict[str, Tensor] = {}
    for index, member in enumerate(members.objects(listed, what)):
        with _located(what, index):
            tensor = _decode_tensor(member, raw)
            if tensor.name in tensors:
                raise RequestError(RequestCode.INPUT_DUPLICATE, "an earlier tensor has the same name")
            tensors[tensor.name] = tensor
    raw.end()
    return tuple(tensors.values())


def _decode_tensor(member: dict[str, Any], raw: _Raw) -> Tensor:
    name = members.string(member, "name")
    parameters = members.parameters(member)
    members.refuse(parameters, ("shared_memory_region",))
    dtype = BY_NAME.get(members.string(member, "datatype"))
    if dtype is None:
        raise RequestError(RequestCode.INPUT_DTYPE, f"unknown datatype; known are {', '.join(BY_NAME)}")
    shape = member.get("shape")
    if not isinstance(shape, list):
        raise RequestError(RequestCode.INPUT_SHAPE, 'needs a "shape", a list of integers')
    if "binary_data_size" not in parameters:
        if "data" not in member:
            raise RequestError(RequestCode.INPUT_DATA, 'has neither "data" nor a binary_data_size')
        return from_json_data(name, dtype, shape, member["data"])
    if "data" in member:
        raise RequestError(RequestCode.INPUT_DATA, 'has both "data" and a binary_data_size')
    return from_bytes(name, dtype, shape, raw.take(parameters["binary_data_size"]))


@contextmanager
def _located(what: str, index: int) -> Iterator[None]:
    """Say where in the message an error is by its position: a name would echo the request."""
    try:
        yield
    except RequestError as exc:
        raise RequestError(exc.code, f"{what}[{index}]: {exc}") from None


def _requested_outputs(listed: Any, binary_by_default: bool) -> tuple[RequestedOutput, ...]:
    outputs: dict[str, RequestedOutput] = {}
    for index, member in enumerate(members.objects(listed, "outputs")):
        with _located("outputs", index):
            name = members.string(member, "name")
            if name in outputs:
                raise members.malformed("an earlier output has the same name")
            parameters = members.parameters(member)
            members.refuse(parameters, ("shared_memory_region", "classification"))
            outputs[name] = RequestedOutput(name, members.flag(parameters, "binary_data", binary_by_default))
    return tuple(outputs.values())
