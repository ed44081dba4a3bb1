"""What the client asks of a server, without I/O: the request to send and how to read its reply.

Operations that need more than one request are generators that yield calls; the synchronous and the
asynchronous client run the same ones.
"""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from blindai.attestation.policy import Policy
from blindai.client.prediction import Prediction
from blindai.errors import ResponseError, ServerRefused, UsageError
from blindai.wire import inference, metadata, tensors

T = TypeVar("T")
Flow = Generator["Call[Any]", Any, T]


@dataclass(frozen=True)
class Reply:
    """A complete response. Header names are lower case."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True)
class Call(Generic[T]):
    """One request and the reader of a successful reply."""

    method: str
    path: str
    read: Callable[[Reply], T]
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    content: bytes = field(default=b"", repr=False)


def server() -> Call[metadata.ServerMetadata]:
    return Call("GET", "/v2", lambda reply: metadata.server_metadata(_json(reply)))


def ready() -> Call[None]:
    return Call("GET", "/v2/health/ready", lambda _: None)


def models() -> Call[tuple[metadata.ModelEntry, ...]]:
    return Call(
        "POST", "/v2/repository/index", lambda reply: metadata.repository_index(_json(reply)), content=b"{}"
    )


def model(name: str) -> Call[metadata.ModelMetadata]:
    return Call("GET", _model_path(name), lambda reply: metadata.model_metadata(_json(reply)))


def delete_model(name: str) -> Call[None]:
    return Call("DELETE", repository_path(name), lambda _: None)


def predict(
    name: str,
    inputs: Any,
    *,
    outputs: tuple[str, ...],
    known: dict[str, metadata.ModelMetadata],
    policy: Policy,
) -> Flow[Prediction]:
    """Predict; asks for the model's metadata first where `inputs` alone do not say names and dtypes.

    `known` remembers metadata between calls.
    """
    prepared = _named(inputs) if _self_describing(inputs) else None
    if prepared is None:
        if name not in known:
            known[name] = yield model(name)
        prepared = _described(inputs, known[name])
    prediction: Prediction = yield _infer(name, prepared, outputs, policy)
    return prediction


def _infer(
    name: str, prepared: tuple[tensors.Tensor, ...], outputs: tuple[str, ...], policy: Policy
) -> Call[Prediction]:
    request = inference.InferenceRequest(
        inputs=prepared,
        outputs=tuple(inference.RequestedOutput(output, binary=True) for output in outputs),
        binary_outputs=True,
    )
    parts, header_length = inference.encode_request(request, binary=True)
    headers = {"Content-Type": "application/octet-stream"}
    if header_length is not None:
        headers[inference.HEADER_LENGTH_HEADER] = str(header_length)
    if policy.models_sha256:
        headers[inference.ACCEPTED_MODELS_HEADER] = ",".join(policy.models_sha256)
    return Call("POST", f"{_model_path(name)}/infer", _prediction, headers, b"".join(parts))


def _prediction(reply: Reply) -> Prediction:
    length = reply.headers.get(inference.HEADER_LENGTH_HEADER.lower())
    if length is not None and not length.isdecimal():
        raise ResponseError("the server sent a binary header length that is not a number")
    response = inference.decode_response(reply.body, None if length is None else int(length))
    return Prediction(
        {output.name: tensors.to_values(output) for output in response.outputs},
        model_name=response.model_name,
        model_version=response.model_version,
    )


def _self_describing(inputs: Any) -> bool:
    """Whether names and dtypes are all there: a mapping of arrays or torch tensors."""
    return isinstance(inputs, Mapping) and all(hasattr(values, "dtype") for values in inputs.values())


def _named(inputs: Mapping[str, Any]) -> tuple[tensors.Tensor, ...]:
    return tuple(tensors.from_values(str(name), values, None) for name, values in inputs.items())


def _described(inputs: Any, signature: metadata.ModelMetadata) -> tuple[tensors.Tensor, ...]:
    """Give single and positional inputs their names, and plain Python values the model's dtypes."""
    specs = {spec.name: spec for spec in signature.inputs}
    if isinstance(inputs, Mapping):
        named = dict(inputs)
    elif len(specs) == 1:
        named = {signature.inputs[0].name: inputs}
    elif isinstance(inputs, (list, tuple)) and len(inputs) == len(specs):
        named = dict(zip(specs, inputs, strict=True))
    else:
        raise UsageError(
            f"the model takes {len(specs)} inputs: {', '.join(specs)}",
            hint="give a dict by name, or a list with one value per input in this order",
        )
    return tuple(
        tensors.from_values(
            str(name), values, specs[name].dtype if name in specs and not hasattr(values, "dtype") else None
        )
        for name, values in named.items()
    )


def repository_path(name: str) -> str:
    return f"/v2/repository/models/{urllib.parse.quote(name, safe='')}"


def _model_path(name: str) -> str:
    return f"/v2/models/{urllib.parse.quote(name, safe='')}"


def read(call: Call[T], reply: Reply) -> T:
    """Return what a reply says, or raise ServerRefused for an error status."""
    if 200 <= reply.status < 300:
        return call.read(reply)
    raise _refusal(reply)


# What the server says is for any client of the protocol; this is for users of this one.
_HINTS = {
    "input-dtype": "convert an array, e.g. values.astype(np.float32); Python lists take the model's dtype",
    "input-shape": "-1 stands for any length; client.model(name) shows what the model takes",
    "model-not-found": "client.models() lists them, as does `blindai models list`",
    "model-invalid": "export the model to ONNX first, e.g. with torch.onnx.export",
    "name-invalid": "give another name: name= (Python), --name (command line)",
    "too-large": "limits are the server's: --max-request-mib, --max-model-mib",
}


def _refusal(reply: Reply) -> ServerRefused:
    message, code = "", ""
    try:
        value = json.loads(reply.body)
        message, code = str(value["error"]), str(value["code"])
    except (ValueError, KeyError, TypeError, RecursionError):
        message = f"the server answered with status {reply.status}"
    retry = reply.headers.get("retry-after", "")
    hint = f"try again in {retry} s" if retry.isdecimal() else _HINTS.get(code, "")
    return ServerRefused(reply.status, code, message, hint=hint)


def _json(reply: Reply) -> Any:
    try:
        return json.loads(reply.body)
    except (ValueError, RecursionError) as exc:
        raise ResponseError("the server's answer is not JSON") from exc
