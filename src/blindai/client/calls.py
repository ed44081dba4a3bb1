"""What the client asks of a server, without I/O: the request to send and how to read its reply.

Operations that need more than one request are generators that yield calls; the synchronous and the
asynchronous client run the same ones.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from blindai.attestation.policy import Policy
from blindai.client.exchange import Reply, model_path, repository_path
from blindai.client.prediction import Prediction, UploadedModel
from blindai.client.refusals import refusal
from blindai.errors import EvidenceRejected, Reason, RequestError, ResponseError, UsageError
from blindai.wire import access, inference, metadata, tensors

if TYPE_CHECKING:
    from blindai.client.upload import Upload
    from blindai.client.witness import Witness

T = TypeVar("T")
Flow = Generator["Call[Any]", Any, T]

_JSON = {"Content-Type": "application/json"}
_SEALING = re.compile(r"[a-z0-9-]{1,64}")


@dataclass(frozen=True)
class Call(Generic[T]):
    """One request and the reader of a successful reply. With a `witness` it asks for a receipt."""

    method: str
    path: str
    read: Callable[[Reply], T]
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    content: bytes | Iterator[bytes] = field(default=b"", repr=False)
    witness: Witness | None = field(default=None, repr=False)


def server() -> Call[metadata.ServerMetadata]:
    return Call("GET", "/v2", lambda reply: metadata.server_metadata(_json(reply)))


def ready() -> Call[None]:
    return Call("GET", "/v2/health/ready", lambda _: None)


def models() -> Call[tuple[metadata.ModelEntry, ...]]:
    return Call(
        "POST", "/v2/repository/index", lambda reply: metadata.repository_index(_json(reply)), content=b"{}"
    )


def model(name: str, witness: Witness | None = None) -> Call[metadata.ModelMetadata]:
    path = model_path(name)
    return Call("GET", path, lambda reply: metadata.model_metadata(_json(reply)), witness=witness)


def delete_model(name: str) -> Call[None]:
    return Call("DELETE", repository_path(name), lambda _: None)


def share_model(name: str, visibility: str, shared_with: Iterable[str]) -> Call[metadata.ModelEntry]:
    chosen = _sharing(visibility, shared_with)
    content = json.dumps({"visibility": chosen.visibility, "shared_with": chosen.shared_with})
    return Call(
        "POST",
        f"{repository_path(name)}/sharing",
        lambda reply: metadata.model_entry(_json(reply)),
        _JSON,
        content.encode("ascii"),
    )


def load_model(name: str) -> Call[None]:
    return Call("POST", f"{repository_path(name)}/load", lambda _: None, _JSON, b"{}")


def unload_model(name: str) -> Call[None]:
    return Call("POST", f"{repository_path(name)}/unload", lambda _: None, _JSON, b"{}")


def caller() -> Call[access.CallerInfo]:
    return Call("GET", "/v2/caller", lambda reply: access.caller_info(_json(reply)))


def join_namespace() -> Flow[None]:
    """Come into the namespace that one's own key was invited to: the server says which key that is."""
    info: access.CallerInfo = yield caller()
    yield add_key(info.key_id)


def add_key(key_id: str) -> Call[None]:
    return Call("PUT", _key_path(key_id), lambda _: None)


def remove_key(key_id: str) -> Call[None]:
    return Call("DELETE", _key_path(key_id), lambda _: None)


def upload_model(
    model: Upload, pieces: Iterator[bytes], access_headers: Mapping[str, str], witness: Witness | None
) -> Call[UploadedModel]:
    headers = {**model.headers, **access_headers}
    if witness is not None:
        pieces = witness.watched(pieces)
    return Call("PUT", model.path, lambda reply: _uploaded(model, reply), headers, pieces, witness)


def _uploaded(model: Upload, reply: Reply) -> UploadedModel:
    entry = model.read(reply)
    if reply.receipt is not None and reply.receipt.claims.model_sha256 != model.sha256.hex():
        raise EvidenceRejected(
            Reason.RECEIPT_MODEL,
            "the receipt is for other bytes than were sent",
            hint="upload the model again",
        )
    return UploadedModel(**vars(entry), receipt=reply.receipt)


def upload_access(
    visibility: str | None, shared_with: Iterable[str], allow_sealing: Iterable[str]
) -> dict[str, str]:
    """Return the headers that say who may use an upload, and how it may be sealed; UsageError for nonsense.

    What the user leaves open is not sent: it is the server that knows whether it has owners.
    """
    keys, sources = tuple(shared_with), tuple(allow_sealing)
    if visibility is None and keys:
        visibility = access.Visibility.SHARED
    headers = {}
    if visibility is not None:
        chosen = _sharing(visibility, keys)
        headers[access.VISIBILITY_HEADER] = str(chosen.visibility)
        if keys:
            headers[access.SHARE_WITH_HEADER] = ",".join(chosen.shared_with)
    if isinstance(allow_sealing, str) or not all(_SEALING.fullmatch(source) for source in sources):
        raise UsageError("allow_sealing= takes the names of key sources", hint="('gramine-mrsigner',)")
    if sources:
        headers[access.ALLOW_SEALING_HEADER] = ",".join(sources)
    return headers


def _sharing(visibility: str, shared_with: Iterable[str]) -> access.Sharing:
    try:
        return access.sharing(visibility, shared_with)
    except RequestError as exc:
        raise UsageError(str(exc), hint="`blindai keys show HOST` prints the id of one's own key") from exc


def _key_path(key_id: str) -> str:
    # Checked here: whoever passes the key itself would send it in a path, which proxies and logs keep.
    if not access.is_key_id(key_id):
        raise UsageError(
            "a key id has 64 lower-case hexadecimal digits",
            hint="`blindai keys new` and `blindai keys show HOST` print it; never give the key itself",
        )
    return f"/v2/caller/keys/{key_id}"


def predict(
    name: str,
    inputs: Any,
    *,
    outputs: tuple[str, ...],
    known: dict[str, metadata.ModelMetadata],
    policy: Policy,
    witness: Witness | None = None,
) -> Flow[Prediction]:
    """Predict; asks for the model's metadata first where `inputs` alone do not say names and dtypes.

    `known` remembers metadata between calls.
    """
    prepared = _named(inputs) if _self_describing(inputs) else None
    if prepared is None:
        if name not in known:
            # A refusal of this question is one of the prediction, and is witnessed like it.
            known[name] = yield model(name, witness and type(witness)())
        prepared = _described(inputs, known[name])
    prediction: Prediction = yield _infer(name, prepared, outputs, policy, witness)
    return prediction


def _infer(
    name: str,
    prepared: tuple[tensors.Tensor, ...],
    outputs: tuple[str, ...],
    policy: Policy,
    witness: Witness | None,
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
    return Call("POST", f"{model_path(name)}/infer", _prediction, headers, b"".join(parts), witness)


def _prediction(reply: Reply) -> Prediction:
    length = reply.headers.get(inference.HEADER_LENGTH_HEADER.lower())
    if length is not None and not length.isdecimal():
        raise ResponseError("the server sent a binary header length that is not a number")
    response = inference.decode_response(reply.body, None if length is None else int(length))
    return Prediction(
        {output.name: tensors.to_values(output) for output in response.outputs},
        model_name=response.model_name,
        model_version=response.model_version,
        receipt=reply.receipt,
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


def read(call: Call[T], reply: Reply) -> T:
    """Return what a reply says, or raise ServerRefused for an error status."""
    if 200 <= reply.status < 300:
        return call.read(reply)
    error = refusal(reply.status, reply.headers, reply.body)
    error.receipt = reply.receipt
    raise error


def _json(reply: Reply) -> Any:
    try:
        return json.loads(reply.body)
    except (ValueError, RecursionError) as exc:
        raise ResponseError("the server's answer is not JSON") from exc
