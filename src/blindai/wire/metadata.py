"""What a server says about itself, its models and their repository (Open Inference Protocol v2).

The functions named after a type read it from decoded JSON and raise ResponseError; members that we do not
know are ignored, since the protocol lets servers add some.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from blindai.errors import ResponseError
from blindai.wire.dtypes import BY_NAME, DType

DYNAMIC = -1  # a dimension of any size

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class TensorSpec:
    """An input or an output as the model declares it; a dimension of -1 is dynamic."""

    name: str
    dtype: DType
    shape: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "datatype": self.dtype.name, "shape": list(self.shape)}


@dataclass(frozen=True)
class ModelMetadata:
    """`GET /v2/models/{model}`."""

    name: str
    versions: tuple[str, ...]
    platform: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "versions": list(self.versions),
            "platform": self.platform,
            "inputs": [spec.to_json() for spec in self.inputs],
            "outputs": [spec.to_json() for spec in self.outputs],
        }


@dataclass(frozen=True)
class ServerMetadata:
    """`GET /v2`."""

    name: str
    version: str
    extensions: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "version": self.version, "extensions": list(self.extensions)}


@dataclass(frozen=True)
class ModelEntry:
    """One model of `POST /v2/repository/index`. All from `sha256` (hex) on are our additions.

    Those from `id` on may be absent: then they are empty, or 0. `created` and `last_used` are Unix seconds.
    """

    name: str
    version: str
    state: str
    reason: str
    sha256: str
    size_bytes: int
    id: str = ""
    visibility: str = ""
    shared_with: tuple[str, ...] = ()
    created: int = 0
    last_used: int = 0

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "version": self.version,
            "state": self.state,
            "reason": self.reason,
            "sha256": self.sha256,
            "size_bytes": self.size_bytes,
            "id": self.id,
            "visibility": self.visibility,
            "shared_with": list(self.shared_with),
            "created": self.created,
            "last_used": self.last_used,
        }


def model_metadata(value: Any) -> ModelMetadata:
    where = "model metadata"
    return ModelMetadata(
        name=_string(value, "name", where),
        versions=_strings(value, "versions", where) if "versions" in _object(value, where) else (),
        platform=_string(value, "platform", where),
        inputs=tuple(tensor_spec(spec) for spec in _list(value, "inputs", where)),
        outputs=tuple(tensor_spec(spec) for spec in _list(value, "outputs", where)),
    )


def tensor_spec(value: Any) -> TensorSpec:
    where = "tensor metadata"
    dtype = BY_NAME.get(_string(value, "datatype", where))
    if dtype is None:
        raise ResponseError(f"{where} has an unknown datatype")
    shape = _list(value, "shape", where)
    if any(type(dimension) is not int or dimension < DYNAMIC for dimension in shape):
        raise ResponseError(f"{where} has a shape that is not of integers, {DYNAMIC} or more")
    return TensorSpec(_string(value, "name", where), dtype, tuple(shape))


def server_metadata(value: Any) -> ServerMetadata:
    where = "server metadata"
    return ServerMetadata(
        name=_string(value, "name", where),
        version=_string(value, "version", where),
        extensions=_strings(value, "extensions", where),
    )


def repository_index(value: Any) -> tuple[ModelEntry, ...]:
    if not isinstance(value, list):
        raise ResponseError("the repository index is not a list")
    return tuple(model_entry(entry) for entry in value)


def model_entry(value: Any) -> ModelEntry:
    where = "a model of the repository index"
    sha256 = _string(value, "sha256", where)
    if not _SHA256.fullmatch(sha256):
        raise ResponseError(f'{where} needs a "sha256" of 64 lower-case hexadecimal digits')
    full = {"id": "", "visibility": "", "shared_with": [], "created": 0, "last_used": 0, **value}
    return ModelEntry(
        name=_string(value, "name", where),
        version=_string(value, "version", where),
        state=_string(value, "state", where),
        reason=_string(value, "reason", where),
        sha256=sha256,
        size_bytes=_count(value, "size_bytes", where),
        id=_string(full, "id", where),
        visibility=_string(full, "visibility", where),
        shared_with=_strings(full, "shared_with", where),
        created=_count(full, "created", where),
        last_used=_count(full, "last_used", where),
    )


def _object(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ResponseError(f"{where} is not an object")
    return value


def _string(value: Any, key: str, where: str) -> str:
    member = _object(value, where).get(key)
    if not isinstance(member, str):
        raise ResponseError(f'{where} needs a "{key}" that is a string')
    return member


def _count(value: Any, key: str, where: str) -> int:
    member = _object(value, where).get(key)
    if type(member) is not int or member < 0:
        raise ResponseError(f'{where} needs a "{key}" that is an integer, zero or more')
    return member


def _list(value: Any, key: str, where: str) -> list[Any]:
    member = _object(value, where).get(key)
    if not isinstance(member, list):
        raise ResponseError(f'{where} needs a "{key}" that is a list')
    return member


def _strings(value: Any, key: str, where: str) -> tuple[str, ...]:
    members = _list(value, key, where)
    if not all(isinstance(member, str) for member in members):
        raise ResponseError(f'{where} needs a "{key}" of strings')
    return tuple(members)
