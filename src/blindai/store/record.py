"""What is kept of a stored model beside its bytes, and how it is written down."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from blindai.errors import BlindAIError, StoreError, StoreFault
from blindai.wire import strict_json
from blindai.wire.access import Visibility, sharing
from blindai.wire.metadata import TensorSpec, tensor_spec
from blindai.wire.model_name import ModelName

MAX_RECORD_BYTES = 1024 * 1024
_SHA256 = re.compile(r"[0-9a-f]{64}")
_TEXTS = ("namespace", "name", "id", "sha256", "visibility", "platform")
_NUMBERS = ("size_bytes", "created", "last_used", "last_used_served")
_LISTS = ("shared_with", "inputs", "outputs")


@dataclass(frozen=True)
class StoredModel:
    """One model. Times are Unix seconds; `last_used_served` is in seconds that the server has run."""

    name: ModelName
    id: str
    sha256: str
    size_bytes: int
    visibility: Visibility
    shared_with: tuple[str, ...]
    platform: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    created: int
    last_used: int
    last_used_served: int


def encode(model: StoredModel) -> dict[str, Any]:
    return {
        "namespace": model.name.namespace,
        "name": model.name.name,
        "id": model.id,
        "sha256": model.sha256,
        "size_bytes": model.size_bytes,
        "visibility": str(model.visibility),
        "shared_with": list(model.shared_with),
        "platform": model.platform,
        "inputs": [spec.to_json() for spec in model.inputs],
        "outputs": [spec.to_json() for spec in model.outputs],
        "created": model.created,
        "last_used": model.last_used,
        "last_used_served": model.last_used_served,
    }


def decode(value: Any) -> StoredModel:
    """Read a record, or raise ValueError."""
    members = strict_json.members(value, "a record", {*_TEXTS, *_NUMBERS, *_LISTS})
    if not all(isinstance(members[key], str) for key in _TEXTS):
        raise ValueError("a record lacks a text")
    if not all(type(members[key]) is int and members[key] >= 0 for key in _NUMBERS):
        raise ValueError("a record lacks a number")
    if not all(isinstance(members[key], list) for key in _LISTS):
        raise ValueError("a record lacks a list")
    if not _SHA256.fullmatch(members["sha256"]):
        raise ValueError("a record lacks a digest")
    try:
        access = sharing(members["visibility"], members["shared_with"])
        name = ModelName.parse(members["name"], members["namespace"])
        ModelName.parse(str(name))
        inputs = tuple(tensor_spec(spec) for spec in members["inputs"])
        outputs = tuple(tensor_spec(spec) for spec in members["outputs"])
    except BlindAIError as exc:
        raise ValueError(str(exc)) from exc
    return StoredModel(
        name=name,
        id=members["id"],
        sha256=members["sha256"],
        size_bytes=members["size_bytes"],
        visibility=access.visibility,
        shared_with=access.shared_with,
        platform=members["platform"],
        inputs=inputs,
        outputs=outputs,
        created=members["created"],
        last_used=members["last_used"],
        last_used_served=members["last_used_served"],
    )


def check(model: StoredModel) -> None:
    """Raise StoreError (malformed) unless `model` reads back as it is: a record that does not, locks the
    whole store up at its next opening."""
    try:
        text = json.dumps({"model": encode(model)}).encode()
        same = decode(strict_json.decode_object(text, max_bytes=MAX_RECORD_BYTES)["model"]) == model
    except (ValueError, TypeError, AttributeError):
        same = False
    if not same:
        raise StoreError(StoreFault.MALFORMED, "the model's description cannot be kept")
