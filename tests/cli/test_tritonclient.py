"""An unmodified tritonclient talks to the server, given the certificate that `blindai verify` saved."""

from __future__ import annotations

import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from blindai.cli.main import main


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
    assert {entry["name"] for entry in client.get_model_repository_index()} == {"adder", "echo", "mlp"}


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
