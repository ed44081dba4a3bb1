"""Inference over HTTP, in JSON and binary, by hand and by an unmodified tritonclient."""

from __future__ import annotations

import json
import struct
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tritonclient.http
from tritonclient.utils import InferenceServerException

from tests import models
from tests.serving import RunningServer, exchange, running_server, tensor

INFER = "/v2/models/identity/infer"
LENGTH_HEADER = "Inference-Header-Content-Length"
SECRET = "Zebra-crossing"


def binary_request(*, shape: list[int], size: int, data: bytes) -> tuple[bytes, dict[str, str]]:
    """A body with one binary tensor, and the header that it needs."""
    member = {"name": "x", "datatype": "FP32", "shape": shape, "parameters": {"binary_data_size": size}}
    text = json.dumps({"inputs": [member], "parameters": {"binary_data_output": True}}).encode()
    return text + data, {LENGTH_HEADER: str(len(text))}


@pytest.fixture
def triton(server: RunningServer) -> Iterator[Any]:
    """An unmodified tritonclient that trusts the server's certificate and nothing else."""
    client = tritonclient.http.InferenceServerClient(
        server.address, ssl=True, ssl_options={"ca_certs": str(server.certificate_file)}
    )
    yield client
    client.close()


def test_tritonclient_reads_metadata(triton):
    """Liveness, readiness, and what server and model say of themselves."""
    assert triton.is_server_live()
    assert triton.is_server_ready()
    assert triton.is_model_ready("mlp")
    assert triton.is_model_ready("mlp", "1")
    assert triton.get_server_metadata()["name"] == "blindai"
    metadata = triton.get_model_metadata("mlp")
    assert metadata["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}]
    assert metadata["versions"] == ["1"]
    assert "mlp" in {entry["name"] for entry in triton.get_model_repository_index()}


@pytest.mark.parametrize("binary", [True, False])
def test_tritonclient_infers(triton, binary):
    """Requests and responses in JSON and in binary give what the model computes."""
    x = np.array([[1, -2, 3, 0.5], [0, 0, 0, 0]], dtype=np.float32)
    given = tritonclient.http.InferInput("x", x.shape, "FP32")
    given.set_data_from_numpy(x, binary_data=binary)
    wanted = tritonclient.http.InferRequestedOutput("scores", binary_data=binary)
    for _ in range(2):
        result = triton.infer("mlp", [given], outputs=[wanted], request_id="seven")
        assert result.get_response()["id"] == "seven"
        np.testing.assert_allclose(result.as_numpy("scores"), models.mlp_scores(x), rtol=1e-5)


def test_tritonclient_sends_strings(triton):
    """BYTES tensors go both ways."""
    text = np.array([b"", "é漢".encode(), b"a\0b"], dtype=np.object_)
    given = tritonclient.http.InferInput("x", text.shape, "BYTES")
    given.set_data_from_numpy(text)
    assert triton.infer("strings", [given]).as_numpy("y").tolist() == text.tolist()


def test_tritonclient_sees_errors(triton):
    """Its exceptions carry our status and our sentence."""
    given = tritonclient.http.InferInput("x", [2], "FP64")
    given.set_data_from_numpy(np.zeros(2))
    with pytest.raises(InferenceServerException, match="expected FP32") as caught:
        triton.infer("identity", [given])
    assert caught.value.status() == "400"
    with pytest.raises(InferenceServerException) as caught:
        triton.get_model_metadata("nobody")
    assert caught.value.status() == "404"
    assert not triton.is_model_ready("nobody")


def test_the_form_of_the_response_is_as_asked(server: RunningServer):
    """Binary outputs come behind the JSON, whose length is in the header; without, all is JSON."""
    body, headers = binary_request(shape=[2], size=8, data=struct.pack("<2f", 1, 2))
    reply = server.request("POST", INFER, body, headers)
    length = int(reply.headers[LENGTH_HEADER.lower()])
    assert reply.headers["content-type"] == "application/octet-stream"
    assert json.loads(reply.body[:length])["outputs"][0]["parameters"] == {"binary_data_size": 8}
    assert struct.unpack("<2f", reply.body[length:]) == (1, 2)
    reply = server.infer("identity", [tensor("x", "FP32", [2], [1, 2])])
    assert reply.headers["content-type"] == "application/json"
    assert LENGTH_HEADER.lower() not in reply.headers


def test_large_tensors(server: RunningServer):
    """Forty megabytes go in and come out unchanged."""
    data = np.arange(10_000_000, dtype=np.float32)
    body, headers = binary_request(shape=[data.size], size=data.nbytes, data=data.tobytes())
    reply = server.request("POST", INFER, body, headers)
    assert reply.body[int(reply.headers[LENGTH_HEADER.lower()]) :] == data.tobytes()


def test_only_the_outputs_asked_for(server: RunningServer):
    """Outputs are chosen by name, each in its own form."""
    x = tensor("x", "FP32", [2], [-1, 2])
    every = server.infer("two", [x]).json()["outputs"]
    assert {output["name"] for output in every} == {"doubled", "positive"}
    (one,) = server.infer("two", [x], outputs=[{"name": "positive"}]).json()["outputs"]
    assert (one["datatype"], one["data"]) == ("BOOL", [False, True])


def test_the_version_in_the_path(server: RunningServer):
    """Version 1 is there, others are not."""
    body = json.dumps({"inputs": [tensor("x", "FP32", [1], [1])]})
    assert server.request("POST", "/v2/models/identity/versions/1/infer", body).status == 200
    assert server.request("GET", "/v2/models/identity/versions/1/ready").status == 200
    reply = server.request("POST", "/v2/models/identity/versions/2/infer", body)
    assert (reply.status, reply.code) == (404, "model-not-found")


X = tensor("x", "FP32", [2], [1, 2])


@pytest.mark.parametrize(
    ("body", "code", "says"),
    [
        ({"inputs": [tensor("x", "FP64", [2], [1, 2])]}, "input-dtype", "expected FP32 [-1], got FP64 [2]"),
        ({"inputs": [tensor("x", "FP31", [2], [1, 2])]}, "input-dtype", "known are"),
        ({"inputs": [tensor("x", "FP32", [1, 2], [1, 2])]}, "input-shape", "expected FP32 [-1]"),
        ({"inputs": [tensor("x", "FP32", [-2], [1, 2])]}, "input-shape", ""),
        ({"inputs": [tensor("x", "FP32", [2**40], [1, 2])]}, "input-shape", ""),
        ({"inputs": [tensor("x", "FP32", [3], [1, 2])]}, "input-data", ""),
        ({"inputs": [tensor("x", "FP32", [2], [1, SECRET])]}, "input-data", ""),
        ({"inputs": []}, "input-missing", '"x" (FP32 [-1])'),
        ({}, "input-missing", "inputs"),
        ({"inputs": [X, tensor(SECRET, "FP32", [1], [1])]}, "input-unknown", 'the model\'s inputs are "x"'),
        ({"inputs": [tensor(SECRET, "FP32", [2], [1, 2])]}, "input-unknown", 'the model\'s inputs are "x"'),
        ({"inputs": [X, X]}, "input-duplicate", ""),
        ({"inputs": [X], "outputs": [{"name": SECRET}]}, "output-unknown", 'the model\'s outputs are "y"'),
        ({"inputs": {SECRET: 1}}, "malformed", "list"),
        ([SECRET], "malformed", "object"),
        (f'{{"inputs": "{SECRET}', "malformed", "not JSON"),
        (SECRET, "malformed", "not JSON"),
        ("", "malformed", "not JSON"),
        ("[" * 100_000, "malformed", ""),
    ],
)
def test_bad_requests_in_json(server: RunningServer, body, code, says):
    """Each mistake gets 400, its code and a sentence, without the request; the next one works."""
    text = body if isinstance(body, str) else json.dumps(body)
    with server.http() as connection:
        reply = exchange(connection, "POST", INFER, text)
        assert (reply.status, reply.code) == (400, code)
        assert says in reply.json()["error"]
        assert SECRET not in reply.body.decode()
        assert exchange(connection, "POST", INFER, json.dumps({"inputs": [X]})).status == 200


@pytest.mark.parametrize(
    ("request_parts", "code"),
    [
        (binary_request(shape=[2], size=8, data=b"\0" * 7), "input-data"),
        (binary_request(shape=[2], size=8, data=b"\0" * 9), "input-data"),
        (binary_request(shape=[2], size=7, data=b"\0" * 7), "input-data"),
        (binary_request(shape=[3], size=8, data=b"\0" * 8), "input-data"),
        (binary_request(shape=[2], size=-8, data=b"\0" * 8), "malformed"),
        (binary_request(shape=[2], size=2**62, data=b"\0" * 8), "input-data"),
        (binary_request(shape=[2**31], size=2**33, data=b""), "input-data"),
    ],
)
def test_bad_binary_tensors(server: RunningServer, request_parts, code):
    """Binary data that are truncated, too long, or of another size than the shape are refused."""
    body, headers = request_parts
    reply = server.request("POST", INFER, body, headers)
    assert (reply.status, reply.code) == (400, code)
    assert server.infer("identity", [X]).status == 200


@pytest.mark.parametrize("length", ["-1", "0x10", "1e1", "", "999", "99999999999999999999999", "3, 3"])
def test_a_header_length_that_lies(server: RunningServer, length):
    """An Inference-Header-Content-Length that is no number, or more than there is, is refused."""
    reply = server.request("POST", INFER, b'{"inputs": []}', {LENGTH_HEADER: length})
    assert (reply.status, reply.code) == (400, "malformed")


def test_an_unknown_model(server: RunningServer):
    """It gets 404; its name, which may be private, does not come back."""
    for method, path in (("GET", ""), ("GET", "/ready"), ("POST", "/infer")):
        reply = server.request(
            method, f"/v2/models/{SECRET.lower()}{path}", None if method == "GET" else "{}"
        )
        assert (reply.status, reply.code) == (404, "model-not-found")
        assert SECRET.lower() not in reply.body.decode()


@pytest.mark.parametrize("name", ["..%2f..%2fetc%2fpasswd", "%00", "%ff", "A", "%2e%2e", "x" * 5000])
def test_names_that_no_model_can_have(server: RunningServer, name):
    """They are looked up and not found, like any other."""
    reply = server.request("GET", f"/v2/models/{name}")
    assert (reply.status, reply.code) == (404, "model-not-found")


def test_a_model_that_fails(server: RunningServer):
    """A failure at run time gets 422, without the values that caused it, and does no harm."""
    reply = server.infer("failing", [tensor("index", "INT64", [1], [31337])])
    assert (reply.status, reply.code) == (422, "model-failed")
    assert "31337" not in reply.body.decode()
    good = server.infer("failing", [tensor("index", "INT64", [1], [2])])
    assert good.json()["outputs"][0]["data"] == [12]


def test_bytes_that_are_not_text(server: RunningServer):
    """A string model refuses BYTES that are not UTF-8."""
    member = {"name": "x", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": 6}}
    text = json.dumps({"inputs": [member]}).encode()
    reply = server.request(
        "POST", "/v2/models/strings/infer", text + b"\2\0\0\0\xff\xfe", {LENGTH_HEADER: str(len(text))}
    )
    assert (reply.status, reply.code) == (400, "input-data")


def test_nothing_of_it_was_logged(server: RunningServer):
    """After good and bad requests the log is empty."""
    server.infer("identity", [tensor(SECRET, "FP32", [2], [1, 2])])
    server.infer("failing", [tensor("index", "INT64", [1], [31337])])
    assert server.log.read_text() == ""


def test_many_clients_at_the_same_time(server: RunningServer):
    """All are answered, each with its own."""
    results: list[tuple[int, list[float]]] = []

    def ask(number: int) -> None:
        reply = server.infer("identity", [tensor("x", "FP32", [1], [number])])
        results.append((number, reply.json()["outputs"][0]["data"]))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [(number, [number]) for number in range(16)]


def test_too_many_at_once():
    """Requests beyond those that may wait get 429 with Retry-After; those taken are answered."""
    with running_server(inference_threads=1, max_waiting_inferences=1) as server:
        server.upload("slow", models.slow())
        body = json.dumps({"inputs": [tensor("iterations", "INT64", [1], [1000])]})
        with server.http() as one, server.http() as two, server.http() as three:
            for connection in (one, two, three):
                connection.connect()
            for connection in (one, two, three):
                connection.request("POST", "/v2/models/slow/infer", body)
            answers = [connection.getresponse() for connection in (one, two, three)]
            assert sorted(answer.status for answer in answers) == [200, 200, 429]
            (busy,) = [answer for answer in answers if answer.status == 429]
            assert int(busy.headers["retry-after"]) > 0
            assert json.loads(busy.read())["code"] == "busy"


def test_the_largest_request_fits_into_the_buffer():
    """A limit for one request above that for all of them would answer "try again" for ever."""
    with running_server(max_request_bytes=200_000, max_buffered_request_bytes=100_000) as server:
        assert server.upload("identity", models.identity()).status == 201
        reply = server.infer("identity", [tensor("x", "FP32", [50_000], [0] * 50_000)])
        assert reply.status == 200
