"""Upload, list, delete: models come and go over HTTP."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests import models
from tests.server import raw
from tests.serving import RunningServer, exchange, running_server, tensor

MIB = 2**20
SECRET = "Zebra-crossing"
FOLDER = "/v2/repository/models/"
MODEL = models.identity()
SHA256 = hashlib.sha256(MODEL).hexdigest()


@pytest.fixture(scope="module")
def small() -> Iterator[RunningServer]:
    """A server with room for little."""
    with running_server(
        max_model_bytes=4 * MIB,
        max_models=3,
        max_total_model_bytes=5 * MIB,
        max_buffered_upload_bytes=5 * MIB,
    ) as running:
        yield running


@pytest.fixture
def empty(small: RunningServer) -> RunningServer:
    """The same server with no model left."""
    for entry in small.request("POST", "/v2/repository/index").json():
        small.request("DELETE", FOLDER + entry["name"])
    return small


def digest_header(data: bytes) -> dict[str, str]:
    return {"Content-Digest": f"sha-256=:{base64.b64encode(hashlib.sha256(data).digest()).decode()}:"}


def model_of(size_bytes: int) -> bytes:
    """A model whose weights have this many bytes."""
    weight = numpy_helper.from_array(np.ones(size_bytes // 4, dtype=np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "w"], ["y"])],
        "big",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n"])],
        [weight],
    )
    opset = helper.make_opsetid("", models.OPSET)
    return helper.make_model(graph, opset_imports=[opset], ir_version=8).SerializeToString()


def names(server: RunningServer) -> list[str]:
    return [entry["name"] for entry in server.request("POST", "/v2/repository/index").json()]


def peak_bytes(server: RunningServer) -> int:
    """The most memory that the process ever had resident."""
    for line in Path(f"/proc/{server.pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmHWM")


def forget_peak(server: RunningServer) -> None:
    try:
        Path(f"/proc/{server.pid}/clear_refs").write_text("5")
    except OSError as exc:
        pytest.skip(f"this kernel does not reset the peak of memory: {exc}")


def test_the_life_of_a_model(empty: RunningServer):
    """It is uploaded, listed, used, replaced, deleted, and gone."""
    with empty.http() as connection:
        reply = exchange(connection, "PUT", FOLDER + "m", MODEL, digest_header(MODEL))
        entry = {"name": "m", "version": "1", "state": "READY", "reason": ""}
        entry |= {"sha256": SHA256, "size_bytes": len(MODEL)}
        assert reply.status == 201
        answer = reply.json()
        entry |= {"visibility": "public", "shared_with": []}
        entry |= {name: answer[name] for name in ("id", "created", "last_used")}
        assert answer == entry | {
            "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1]}],
            "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1]}],
        }
        assert exchange(connection, "POST", "/v2/repository/index").json() == [entry]
        assert empty.infer("m", [tensor("x", "FP32", [1], [7])]).status == 200
        assert exchange(connection, "PUT", FOLDER + "m", models.adder()).status == 200
        assert empty.infer("m", [tensor("x", "FP32", [1], [7])]).code == "input-unknown"
        assert exchange(connection, "DELETE", FOLDER + "m").status == 200
        for method, path in (("DELETE", FOLDER + "m"), ("GET", "/v2/models/m")):
            gone = exchange(connection, method, path)
            assert (gone.status, gone.code) == (404, "model-not-found")


@pytest.mark.parametrize("body", [b"", b"{}", b'{"ready": true}'])
def test_the_index_takes_the_protocol_s_body(empty: RunningServer, body):
    """An empty body and an object are both fine."""
    assert empty.request("POST", "/v2/repository/index", body).json() == []


@pytest.mark.parametrize("body", [b"no", b"[]", b"\xff", b'{"ready"'])
def test_the_index_refuses_what_is_not_an_object(empty: RunningServer, body):
    """Anything else is malformed."""
    reply = empty.request("POST", "/v2/repository/index", body)
    assert (reply.status, reply.code) == (400, "malformed")


def test_a_digest_that_differs(empty: RunningServer):
    """What arrives damaged is refused, and nothing is stored."""
    reply = empty.request("PUT", FOLDER + "m", MODEL, digest_header(MODEL + b"x"))
    assert (reply.status, reply.code) == (400, "model-digest")
    assert names(empty) == []


@pytest.mark.parametrize(
    "value",
    [
        "",
        "sha-256",
        "sha-256=abc",
        "sha-256=:abc:",
        "sha-256=:!:",
        "sha-256=::",
        "sha-256=:",
        "sha-512=:AAAA:",
        f"sha-256={SHA256}",
        "md5=:AAAA:, sha-256=:AAAA:",
    ],
)
def test_a_digest_that_cannot_be_checked(empty: RunningServer, value):
    """A Content-Digest that is not understood is refused: its sender expects that it is checked."""
    reply = empty.request("PUT", FOLDER + "m", MODEL, {"Content-Digest": value})
    assert (reply.status, reply.code) == (400, "malformed")


def test_several_digests(empty: RunningServer):
    """Other algorithms beside SHA-256 are ignored, as RFC 9530 says."""
    headers = {"Content-Digest": "sha-512=:AAAA:, " + digest_header(MODEL)["Content-Digest"]}
    assert empty.request("PUT", FOLDER + "m", MODEL, headers).status == 201


@pytest.mark.parametrize(
    "model",
    [
        b"",
        b"not onnx",
        SECRET.encode(),
        models.unknown_operator(),
        models.with_external_data("/etc/hostname"),
    ],
    ids=["empty", "text", "secret", "operator", "external"],
)
def test_what_is_not_a_model(empty: RunningServer, model):
    """An upload that the engine cannot load gets 422; nothing of it comes back, and nothing is stored."""
    reply = empty.upload("m", model)
    assert (reply.status, reply.code) == (422, "model-invalid")
    assert SECRET not in reply.body.decode()
    assert "hostname" not in reply.body.decode()
    assert names(empty) == []
    assert empty.upload("m", MODEL).status == 201


@pytest.mark.parametrize(
    "name", ["..%2f..%2fetc%2fpasswd", "..", "a..b", "%00", "Model", "-x", "%ff", "a%20b"]
)
def test_names_that_are_refused(empty: RunningServer, name):
    """A name that could mean something to a file system is refused before the body is read."""
    reply = empty.upload(name, MODEL)
    assert (reply.status, reply.code) == (400, "name-invalid")
    assert names(empty) == []


def test_capitals_are_explained(empty: RunningServer):
    """Upper case is refused with the reason."""
    assert "lower case" in empty.upload("ResNet", MODEL).json()["error"]


def test_an_upload_announced_as_too_large(small: RunningServer):
    """It is refused without being asked for, whatever its length claims."""
    for length in (4 * MIB + 1, 2**62):
        head = f"PUT {FOLDER}m HTTP/1.1\r\nContent-Length: {length}\r\nExpect: 100-continue\r\n".encode()
        (reply,) = raw.send(small, head + raw.HOST + b"\r\n")
        assert (reply.status, reply.code) == (413, "too-large")


def test_an_upload_that_turns_out_too_large(empty: RunningServer):
    """It is refused while it is read; the rest is thrown away, and memory stays flat."""
    forget_peak(empty)
    before = peak_bytes(empty)
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    with empty.connect() as connection:
        connection.sendall(
            f"PUT {FOLDER}m HTTP/1.1\r\nTransfer-Encoding: chunked\r\n".encode() + raw.HOST + b"\r\n"
        )
        # The server listens for a while after its refusal, then closes.
        with contextlib.suppress(OSError):
            for _ in range(64 * MIB // 0x10000):
                connection.sendall(chunk)
        (reply,) = raw.parse(raw.read_to_end(connection))
    assert (reply.status, reply.code) == (413, "too-large")
    assert peak_bytes(empty) - before < 16 * MIB
    assert names(empty) == []


def test_a_length_is_not_memory(small: RunningServer):
    """Announcing megabytes without sending them costs no memory."""
    forget_peak(small)
    before = peak_bytes(small)
    head = f"PUT {FOLDER}m HTTP/1.1\r\nContent-Length: {4 * MIB - 1}\r\n".encode() + raw.HOST + b"\r\nabc"
    held = [small.connect() for _ in range(20)]
    try:
        for connection in held:
            connection.sendall(head)
        assert small.request("GET", "/v2/health/live").status == 200
        assert peak_bytes(small) - before < 16 * MIB
    finally:
        for connection in held:
            connection.close()


def test_an_upload_that_breaks_off(empty: RunningServer):
    """Half a model is no model: nothing is stored, and its memory is free again."""
    for _ in range(4):
        with empty.connect() as connection:
            head = f"PUT {FOLDER}m HTTP/1.1\r\nContent-Length: {4 * MIB}\r\n".encode() + raw.HOST + b"\r\n"
            connection.sendall(head + b"x" * 3 * MIB)
    deadline = time.monotonic() + 10
    while (reply := empty.upload("whole", model_of(3 * MIB))).status != 201:
        assert time.monotonic() < deadline, reply
        time.sleep(0.05)
    assert names(empty) == ["whole"]


def test_too_many_uploads_at_once(empty: RunningServer):
    """Uploads share a bound on what is held of them; over it, 429."""
    head = f"PUT {FOLDER}m HTTP/1.1\r\nContent-Length: {4 * MIB}\r\n".encode() + raw.HOST + b"\r\n"
    for patience_seconds in (0.2, 1, 5):
        with empty.connect() as connection:
            connection.sendall(head + b"x" * (4 * MIB - 1))
            # Until all of that was read either of the two uploads may be the one too many.
            time.sleep(patience_seconds)
            reply = empty.upload("other", model_of(3 * MIB))
        if reply.status != 201:
            break
        empty.request("DELETE", FOLDER + "other")
    assert (reply.status, reply.code) == (429, "busy")
    assert int(reply.headers["retry-after"]) > 0


def test_no_room_for_more_models(empty: RunningServer):
    """Over the number of models, 507 says what to do; replacing one is possible."""
    for name in ("a", "b", "c"):
        assert empty.upload(name, MODEL).status == 201
    reply = empty.upload("d", MODEL)
    assert (reply.status, reply.code) == (507, "storage-full")
    assert "delete one" in reply.json()["error"]
    assert empty.upload("c", models.adder()).status == 200


def test_no_room_for_more_bytes(empty: RunningServer):
    """Over the total of bytes, 507."""
    assert empty.upload("a", model_of(3 * MIB)).status == 201
    reply = empty.upload("b", model_of(3 * MIB))
    assert (reply.status, reply.code) == (507, "storage-full")


def test_upload_can_be_off(tmp_path: Path):
    """Without upload, models are those of the start: PUT and DELETE get 403."""
    (tmp_path / "m.onnx").write_bytes(MODEL)
    with running_server({"digits": tmp_path / "m.onnx"}, model_upload=False) as server:
        assert server.ready["models"] == ["digits"]
        for reply in (server.upload("other", MODEL), server.request("DELETE", FOLDER + "digits")):
            assert (reply.status, reply.code) == (403, "upload-disabled")
        assert server.infer("digits", [tensor("x", "FP32", [1], [7])]).status == 200


@pytest.mark.parametrize("end", ["replace", "delete"])
def test_running_inferences_keep_their_model(server: RunningServer, end):
    """An inference that is running when its model is replaced or deleted finishes on it."""
    name = f"busy-{end}"
    server.upload(name, models.slow())
    replies = []
    body = [tensor("iterations", "INT64", [1], [1500])]
    thread = threading.Thread(target=lambda: replies.append(server.infer(name, body)))
    thread.start()
    time.sleep(0.2)  # let it start; were it late, the test would see another model's error
    if end == "replace":
        assert server.upload(name, MODEL).status == 200
    else:
        assert server.request("DELETE", FOLDER + name).status == 200
    assert not replies
    thread.join()
    (reply,) = replies
    assert reply.status == 200
    assert json.loads(reply.body)["outputs"][0]["shape"] == [256, 256]
    if end == "replace":
        server.request("DELETE", FOLDER + name)
