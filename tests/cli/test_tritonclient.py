"""An unmodified tritonclient talks to the server, given the certificate that `blindai verify` saved."""

from __future__ import annotations

import secrets

import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from blindai.cli.main import main
from blindai.wire.api_key import key_id, new_key
from tests import models
from tests.serving import running_server


@pytest.fixture(scope="module")
def client(server, tmp_path_factory):
    """tritonclient, pinned to the certificate of a verified connection."""
    certificate = str(tmp_path_factory.mktemp("certificate") / "server.pem")
    assert main(["verify", server.address, "--simulation", "--save-certificate", certificate]) == 0
    options = {"ca_certs": certificate}
    with triton.InferenceServerClient(server.address, ssl=True, ssl_options=options) as connected:
        yield connected


def test_health_and_metadata(client):
    """Live, ready, and what the model takes and gives."""
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("adder")
    assert not client.is_model_ready("nothing")
    assert client.get_server_metadata()["name"] == "blindai"
    metadata = client.get_model_metadata("adder")
    assert [tensor["name"] for tensor in metadata["inputs"]] == ["a", "b"]
    assert {entry["name"] for entry in client.get_model_repository_index()} >= {"adder", "echo", "mlp"}


@pytest.mark.parametrize("binary", [True, False])
def test_inference_of_numbers(client, binary):
    """Binary and JSON tensors give the same sums."""
    one = np.arange(4, dtype=np.float32)
    inputs = [triton.InferInput(name, [4], "FP32") for name in ("a", "b")]
    for tensor in inputs:
        tensor.set_data_from_numpy(one, binary_data=binary)
    output = client.get_model_metadata("adder")["outputs"][0]["name"]
    result = client.infer(
        "adder", inputs, outputs=[triton.InferRequestedOutput(output, binary_data=binary)], request_id="7"
    )
    np.testing.assert_array_equal(result.as_numpy(output), one + one)
    assert result.get_response()["id"] == "7"


@pytest.mark.parametrize("binary", [True, False])
def test_inference_of_strings(client, binary):
    """Strings pass as BYTES."""
    texts = np.array([b"one", "zwölf".encode()], object)
    tensor = triton.InferInput("x", [2], "BYTES")
    tensor.set_data_from_numpy(texts, binary_data=binary)
    result = client.infer("echo", [tensor], outputs=[triton.InferRequestedOutput("y", binary_data=binary)])
    found = [text if isinstance(text, bytes) else text.encode() for text in result.as_numpy("y")]
    assert found == list(texts)


def test_errors_arrive_as_such(client):
    """A refusal is tritonclient's own exception with our sentence."""
    tensor = triton.InferInput("a", [4], "FP64")
    tensor.set_data_from_numpy(np.zeros(4))
    with pytest.raises(InferenceServerException, match="lacks"):
        client.infer("adder", [tensor])
    with pytest.raises(InferenceServerException, match="no such model"):
        client.infer("nothing", [tensor])


def test_a_client_without_the_certificate_is_refused(server):
    """Without the pinned certificate tritonclient trusts nobody here."""
    with (
        triton.InferenceServerClient(server.address, ssl=True) as stranger,
        pytest.raises(Exception, match=r"(?i)certificate|ssl"),
    ):
        stranger.is_server_live()


def test_keys_namespaces_and_the_repository_extension(tmp_path):
    """With a key in its headers it loads, runs and unloads a model of a namespace, slash and all."""
    key = new_key(secrets.token_bytes)
    callers = [{"name": "alice", "role": "owner", "key_sha256": key_id(key)}]
    stored = {"store_path": str(tmp_path / "store"), "store_key": f"file:{tmp_path / 'key'}"}
    headers = {"Authorization": f"Bearer {key}"}
    one = np.arange(4, dtype=np.float32)
    tensor = triton.InferInput("x", [4], "FP32")
    tensor.set_data_from_numpy(one)
    with running_server(callers=callers, **stored) as server:
        uploaded = server.request("PUT", "/v2/repository/models/doubles", models.identity(), headers)
        assert uploaded.json()["name"] == "alice/doubles"
        options = {"ca_certs": str(server.certificate_file)}
        with triton.InferenceServerClient(server.address, ssl=True, ssl_options=options) as client:
            client.unload_model("alice/doubles", headers=headers)
            (entry,) = client.get_model_repository_index(headers=headers)
            assert (entry["name"], entry["state"]) == ("alice/doubles", "UNLOADED")
            client.load_model("alice/doubles", headers=headers)
            assert client.is_model_ready("alice/doubles", headers=headers)
            result = client.infer("alice/doubles", [tensor], headers=headers)
            np.testing.assert_array_equal(result.as_numpy("y"), one)
            with pytest.raises(InferenceServerException, match="asks for a key"):
                client.load_model("alice/doubles")
