"""A model whose weights lie beside it is uploaded as one bundle, in chunks."""

from __future__ import annotations

import hashlib
import os
import tracemalloc
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from blindai.client import upload
from blindai.errors import UsageError
from blindai.wire import bundle
from tests import models
from tests.runtime import weights

SECRET = b"a private key that lies in another folder"


@pytest.fixture
def apart(tmp_path) -> Path:
    """A small model with its weights in two files beside it."""
    return weights.apart(weights.of_megabytes(1, dimension=256), tmp_path, "one.bin", "two.bin")


def naming(folder: Path, location: str) -> Path:
    """Write a model that names that file for its weights."""
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4])
    weights.point_to(tensor, location, 0, 16)
    graph = helper.make_graph(
        [helper.make_node("Identity", ["w"], ["y"])],
        "naming",
        [],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4])],
        [tensor],
    )
    path = folder / "naming.onnx"
    path.write_bytes(weights.serialized(graph))
    return path


def sent(model: upload.Upload) -> bytes:
    return b"".join(model.pieces(lambda *_: None))


def test_what_onnx_saves_apart_is_served(client, tmp_path):
    """A model that the onnx package saved with its weights beside it gives what the whole model gives."""
    whole = weights.of_megabytes(1, dimension=256)
    path = tmp_path / "Parted.onnx"
    onnx.save(onnx.load_from_string(whole), path, save_as_external_data=True, location="Parted.onnx.data")
    assert path.stat().st_size < 10_000
    record = client.upload_model(path)
    assert record.name == "parted"
    client.upload_model(whole, name="whole")
    x = np.ones((3, 256), dtype=np.float32)
    np.testing.assert_array_equal(client.predict("parted", x)["y"], client.predict("whole", x)["y"])


def test_the_bundle_is_the_files(apart):
    """The ONNX file comes first, under a name that says nothing; then its files, in the model's order."""
    model = upload.prepare(apart, None)
    body = sent(model)
    files = {file.name: bytes(file.content) for file in bundle.read(memoryview(body))}
    assert list(files) == ["model.onnx", "one.bin", "two.bin"]
    assert files["model.onnx"] == apart.read_bytes()
    assert files["two.bin"] == (apart.parent / "two.bin").read_bytes()
    assert model.headers["Content-Type"] == bundle.CONTENT_TYPE
    assert model.headers["Content-Length"] == str(len(body))
    assert model.sha256 == hashlib.sha256(body).digest()


def test_a_model_in_one_file_stays_as_it_is(tmp_path):
    """Without files beside it a model is sent as it is, and so is what is no model: the server will say."""
    for content in (models.mlp(), b"not a model", b""):
        path = tmp_path / "m.onnx"
        path.write_bytes(content)
        model = upload.prepare(path, None)
        assert sent(model) == content
        assert model.headers["Content-Type"] == "application/octet-stream"


def test_a_missing_file_is_named(apart):
    """The error says which file of weights is not there."""
    (apart.parent / "two.bin").unlink()
    with pytest.raises(UsageError, match=r"two\.bin"):
        upload.prepare(apart, None)


@pytest.mark.parametrize(
    "location", ["../secret.bin", "{folder}/secret.bin", "sub/secret.bin", "..", "a\\b", "C:x"]
)
def test_a_model_cannot_have_other_files_sent(location, tmp_path):
    """A model from elsewhere that names a file outside its folder for its weights is not followed."""
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    for place in (tmp_path, folder / "sub"):
        (place / "secret.bin").write_bytes(SECRET)
    with pytest.raises(UsageError, match="no file beside it") as caught:
        upload.prepare(naming(folder, location.format(folder=tmp_path)), None)
    assert "onnx.save" in caught.value.hint


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir])
def test_what_is_no_file_is_not_opened(make, tmp_path):
    """A pipe in the place of the weights would never end."""
    make(tmp_path / "weights.bin")
    with pytest.raises(UsageError, match=r"weights\.bin"):
        upload.prepare(naming(tmp_path, "weights.bin"), None)


def test_a_name_that_is_the_onnx_file_s_too(tmp_path):
    """Weights in a file called like the model in the bundle do not displace it."""
    (tmp_path / "model.onnx").write_bytes(bytes(16))
    files = bundle.read(memoryview(sent(upload.prepare(naming(tmp_path, "model.onnx"), None))))
    assert [file.name for file in files] == ["_model.onnx", "model.onnx"]


@pytest.mark.parametrize("change", [b"", b"longer" * 200_000])
def test_weights_that_change_while_they_are_sent(change, apart):
    """The caller's file is to blame, not the server."""
    model = upload.prepare(apart, None)
    (apart.parent / "two.bin").write_bytes(change)
    with pytest.raises(UsageError, match="changed"):
        sent(model)


def test_chunks_only(tmp_path):
    """Of 64 MB, the client holds a chunk: when it reckons the digest and when it sends."""
    with (tmp_path / "weights.bin").open("wb") as file:
        file.truncate(64_000_000)
    path = naming(tmp_path, "weights.bin")
    tracemalloc.start()
    try:
        model = upload.prepare(path, None)
        count = sum(len(piece) for piece in model.pieces(lambda *_: None))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == model.size_bytes > 64_000_000
    assert peak < 4_000_000
