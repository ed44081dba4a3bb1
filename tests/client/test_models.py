"""Uploading, listing and deleting models through the client."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

import blindai
from blindai.errors import ServerRefused, UsageError
from tests import models


def test_upload_list_predict_replace_delete(client, tmp_path):
    """The life of a model: its digest is the file's, a new one of the same name takes over."""
    path = tmp_path / "Thing.onnx"
    path.write_bytes(models.identity("FP32"))
    seen = []
    record = client.upload_model(path, progress=lambda sent, total: seen.append((sent, total)))
    size = path.stat().st_size
    assert (record.name, record.size_bytes) == ("thing", size)
    assert record.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert seen[-1] == (size, size)
    assert record in client.models()
    assert client.predict("thing", [1.5])["y"].dtype == np.float32

    client.upload_model(models.identity("INT64"), name="thing")
    assert client.predict("thing", [1])["y"].dtype == np.int64

    client.delete_model("thing")
    assert "thing" not in [entry.name for entry in client.models()]
    with pytest.raises(ServerRefused) as refusal:
        client.delete_model("thing")
    assert refusal.value.status == 404


def test_a_model_replaced_by_another_client_is_noticed(client, server):
    """Remembered metadata is forgotten when the server refuses, so that the next call fits again."""
    client.upload_model(models.identity("FP32"), name="moving")
    assert client.predict("moving", [1.5])["y"].dtype == np.float32
    server.upload("moving", models.identity("INT64"))
    with pytest.raises(ServerRefused):
        client.predict("moving", [2])
    assert client.predict("moving", [2])["y"].dtype == np.int64


@pytest.mark.parametrize("name", ["../x", "UPPER", "a/b/c", "x" * 200, "a\0b", "ünï"])
def test_names_that_no_model_may_have(client, name):
    """A bad name is refused by the server as such, whatever it holds."""
    with pytest.raises(ServerRefused) as refusal:
        client.upload_model(models.identity("FP32"), name=name)
    assert refusal.value.status in (400, 404, 422)


def test_what_is_not_a_model(client):
    """Bytes that are not ONNX are refused with a code and a sentence."""
    with pytest.raises(ServerRefused) as refusal:
        client.upload_model(b"not a model", name="nonsense")
    assert refusal.value.code == "model-invalid"


def test_a_file_that_is_not_there(client):
    """A missing file, or bytes without a name, are the caller's errors."""
    with pytest.raises(UsageError):
        client.upload_model("/nonexistent.onnx")
    with pytest.raises(UsageError):
        client.upload_model(models.identity("FP32"))


def test_the_policys_models_are_the_only_ones_that_answer(server, root):
    """[models] travels with each request: another model's answer is refused before the input is read."""
    model, other = models.identity("FP32"), models.identity("FP64")
    digest = hashlib.sha256(model).hexdigest()
    text = f'{server.ready["policy"]}\n[models]\nsha256 = ["{digest}"]\n'
    policy = blindai.Policy.from_toml(text)
    with blindai.connect(server.address, policy=policy, simulation=root) as client:
        client.upload_model(model, name="pinned")
        assert client.predict("pinned", {"x": np.ones(1, np.float32)})
        client.upload_model(other, name="pinned")
        with pytest.raises(ServerRefused) as refusal:
            client.predict("pinned", {"x": np.ones(1, np.float64)})
    assert (refusal.value.status, refusal.value.code) == (412, "model-not-accepted")
