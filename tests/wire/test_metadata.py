"""What servers say about themselves and their models."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blindai.errors import ResponseError
from blindai.wire.dtypes import BY_NAME
from blindai.wire.metadata import (
    ModelEntry,
    ModelMetadata,
    ServerMetadata,
    TensorSpec,
    model_entry,
    model_metadata,
    repository_index,
    server_metadata,
    tensor_spec,
)

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=8)
SPECS = st.builds(
    TensorSpec,
    TEXT,
    st.sampled_from(list(BY_NAME.values())),
    st.lists(st.integers(-1, 99), max_size=4).map(tuple),
)
MODELS = st.builds(
    ModelMetadata,
    TEXT,
    st.lists(TEXT, max_size=2).map(tuple),
    TEXT,
    st.lists(SPECS, max_size=3).map(tuple),
    st.lists(SPECS, max_size=3).map(tuple),
)
SERVERS = st.builds(ServerMetadata, TEXT, TEXT, st.lists(TEXT, max_size=3).map(tuple))
ENTRIES = st.builds(
    ModelEntry,
    TEXT,
    TEXT,
    TEXT,
    TEXT,
    st.binary(min_size=32, max_size=32).map(bytes.hex),
    st.integers(0, 2**50),
    TEXT,
    TEXT,
    st.lists(TEXT, max_size=3).map(tuple),
    st.integers(0, 2**40),
    st.integers(0, 2**40),
)


@settings(deadline=None)
@given(model=MODELS, server=SERVERS, entry=ENTRIES)
def test_everything_comes_back_through_json(
    model: ModelMetadata, server: ServerMetadata, entry: ModelEntry
) -> None:
    """What is written as JSON is read back equal."""
    assert model_metadata(orjson.loads(orjson.dumps(model.to_json()))) == model
    assert server_metadata(orjson.loads(orjson.dumps(server.to_json()))) == server
    assert repository_index(orjson.loads(orjson.dumps([entry.to_json()] * 2))) == (entry, entry)


def test_the_words_are_the_protocols() -> None:
    """A model's metadata has the members that the Open Inference Protocol names."""
    spec = TensorSpec("x", BY_NAME["FP32"], (-1, 3))
    assert ModelMetadata("m", ("1",), "onnx", (spec,), ()).to_json() == {
        "name": "m",
        "versions": ["1"],
        "platform": "onnx",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 3]}],
        "outputs": [],
    }


def test_versions_may_be_absent_and_members_may_be_added() -> None:
    """The protocol makes `versions` optional and lets servers add members."""
    value = {"name": "m", "platform": "onnx", "inputs": [], "outputs": [], "extra": 1}
    assert model_metadata(value).versions == ()


def test_a_server_that_knows_no_owners() -> None:
    """What we add to the index may be absent: other servers of the protocol have no visibility, nor times."""
    value = {key: ENTRY[key] for key in ("name", "version", "state", "reason", "sha256", "size_bytes")}
    assert model_entry(value) == ModelEntry("m", "1", "READY", "", "ab" * 32, 5, "", "", (), 0, 0)


ENTRY = ModelEntry("m", "1", "READY", "", "ab" * 32, 5).to_json()
SPEC = TensorSpec("x", BY_NAME["FP32"], (1,)).to_json()
MODEL = ModelMetadata("m", ("1",), "onnx", (), ()).to_json()


@pytest.mark.parametrize(
    ("read", "value"),
    [
        (model_metadata, []),
        (model_metadata, {**MODEL, "name": 1}),
        (model_metadata, {**MODEL, "versions": [1]}),
        (model_metadata, {**MODEL, "inputs": {}}),
        (model_metadata, {**MODEL, "outputs": [1]}),
        (server_metadata, {"name": "s", "version": "1"}),
        (server_metadata, None),
        (tensor_spec, {**SPEC, "datatype": "FP8"}),
        (tensor_spec, {**SPEC, "shape": [-2]}),
        (tensor_spec, {**SPEC, "shape": [True]}),
        (tensor_spec, {**SPEC, "shape": ["n"]}),
        (tensor_spec, {**SPEC, "shape": 1}),
        (model_entry, {**ENTRY, "size_bytes": -1}),
        (model_entry, {**ENTRY, "size_bytes": 1.5}),
        (model_entry, {**ENTRY, "sha256": "AB" * 32}),
        (model_entry, {**ENTRY, "sha256": "ab" * 32 + "\n"}),
        (model_entry, {**ENTRY, "state": None}),
        (model_entry, {**ENTRY, "id": 5}),
        (model_entry, {**ENTRY, "visibility": None}),
        (model_entry, {**ENTRY, "shared_with": "alice"}),
        (model_entry, {**ENTRY, "shared_with": [1]}),
        (model_entry, {**ENTRY, "created": True}),
        (model_entry, {**ENTRY, "last_used": -1}),
        (model_entry, "m"),
        (repository_index, {}),
        (repository_index, [1]),
    ],
)
def test_what_is_not_metadata_is_a_response_error(read: Callable[[Any], object], value: Any) -> None:
    """Wrong types, unknown datatypes and shapes below -1 are ResponseError."""
    with pytest.raises(ResponseError):
        read(value)
