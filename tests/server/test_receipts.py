"""Receipts as the server gives them: about every kind of answer, and about what was really read and sent."""

from __future__ import annotations

import asyncio
import hashlib
import json
from pathlib import Path

import pytest

from blindai.channel import receipt
from blindai.channel.receipt import Kind
from blindai.server.settings import ModelSettings
from blindai.wire import base64url
from tests import models
from tests.server.exchanges import INFER, Exchange, infer
from tests.server.house import FOLDER, Arriving, House, house, until
from tests.server.owners import INPUT
from tests.serving import tensor

MODEL = models.identity()
SHA256 = hashlib.sha256(MODEL).hexdigest()
BINARY_HEAD = json.dumps(
    {
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [2], "parameters": {"binary_data_size": 8}}],
        "outputs": [{"name": "y", "parameters": {"binary_data": True}}],
    }
).encode()


async def test_of_an_answer_in_json(owning: House):
    """What was asked, what was answered, and by which model; the path as it was spelled."""
    for path in (INFER, "/v2/models/m/infer", "/v2/models/alice/m/infer?trace=1"):
        asked = infer(owning, path=path)
        claims = await asked.made(content_type="application/json")
        assert (claims.kind, claims.status, claims.model) == (Kind.INFERENCE, 200, "alice/m")
        assert (claims.model_sha256, claims.profile) == (SHA256, "fp32")
        assert claims.request == asked.request(INPUT, content_type="application/json")
        assert "inference-header-content-length" not in asked.reply.headers


async def test_of_an_answer_in_binary(owning: House):
    """The length of the JSON part is covered on both ways: it says what the bytes mean."""
    body = BINARY_HEAD + bytes(8)
    headers = {
        "content_type": "application/octet-stream",
        "inference_header_content_length": str(len(BINARY_HEAD)),
    }
    asked = infer(owning, body)
    claims = await asked.made(**headers)
    assert claims.status == 200, asked.reply.body
    assert claims.request == asked.request(body, **headers)
    assert asked.reply.headers["content-type"] == "application/octet-stream"
    assert int(asked.reply.headers["inference-header-content-length"]) > 0


async def test_of_a_long_answer(tmp_path: Path):
    """One that is hashed on another thread."""
    (tmp_path / "m.onnx").write_bytes(MODEL)
    with house(models=(ModelSettings(str(tmp_path / "m.onnx"), "m"),)) as server:
        body = json.dumps({"inputs": [tensor("x", "FP32", [500_000], [1] * 500_000)]}).encode()
        asked = infer(server, body, None, "/v2/models/m/infer")
        claims = await asked.made()
        assert len(asked.reply.body) > 2**20
        assert (claims.status, claims.request) == (200, asked.request(body))


async def test_of_a_body_in_pieces(owning: House):
    """Where it was cut makes no difference."""
    body = Arriving()
    for piece in (INPUT[:7], b"", INPUT[7:], None):
        body.put_nowait(piece)
    asked = infer(owning, body)
    assert (await asked.made()).request == asked.request(INPUT)


@pytest.mark.parametrize("name", ["new", "m"])
async def test_of_an_upload(owning: House, name: str):
    """Which model the server took, new or in another's place: the digest of what arrived."""
    other = models.adder()
    asked = Exchange(owning, "PUT", FOLDER + name, other, "alice")
    claims = await asked.made()
    assert (claims.kind, claims.status) == (Kind.UPLOAD, 201 if name == "new" else 200)
    assert (claims.model, claims.model_sha256) == (f"alice/{name}", hashlib.sha256(other).hexdigest())
    assert claims.request == asked.request(other)


async def test_of_an_upload_that_failed(owning: House):
    """It names no model, as none was taken; neither the one that has the name already."""
    for body, status in ((b"no model", 422), (b"x" * (2**20 + 1), 413)):
        asked = Exchange(owning, "PUT", f"{FOLDER}m", body, "alice")
        claims = await asked.made()
        assert (claims.kind, claims.status) == (Kind.UPLOAD, status)
        assert (claims.model, claims.model_sha256) == (None, None)


async def test_of_everything_else(owning: House):
    """Whatever the route."""
    for method, path in (
        ("GET", "/v2"),
        ("GET", "/v2/health/live"),
        ("GET", "/v2/caller"),
        ("GET", "/v2/models/m"),
        ("POST", "/v2/repository/index"),
        ("POST", f"{FOLDER}m/load"),
        ("DELETE", f"{FOLDER}m"),
    ):
        asked = Exchange(owning, method, path, b"", "alice")
        claims = await asked.made()
        assert (claims.kind, claims.status, claims.model) == (Kind.OTHER, 200, None)
        assert claims.request == asked.request(b"")


@pytest.mark.parametrize(
    "salt", ["", "AAAA", base64url.encode(bytes(31)), base64url.encode(bytes(33)), "=" * 43, "A" * 42 + "B"]
)
async def test_a_salt_that_is_none(owning: House, salt: str):
    """Whoever sends one expects a receipt: the request is refused, and not answered without one."""
    reply = await owning.ask("POST", INFER, INPUT, who="alice", headers={"blindai-receipt-salt": salt})
    assert (reply.status, reply.code) == (400, "malformed")
    assert "blindai-receipt" not in reply.headers
    assert owning.finished[-1].model is None


async def test_without_a_salt(owning: House):
    """Nobody who did not ask gets one."""
    reply = await owning.ask("POST", INFER, INPUT, who="alice")
    assert reply.status == 200
    assert "blindai-receipt" not in reply.headers


async def test_no_two_have_one_id(owning: House):
    """Receipts of one request that is sent twice differ: nobody can tell one for the other."""
    ids = {(await infer(owning).made()).id for _ in range(3)}
    assert len(ids) == 3
    assert all(len(base64url.decode(one)) == receipt.ID_BYTES for one in ids)


async def test_of_a_model_that_was_replaced_while_the_request_arrived(owning: House):
    """The model that answered, not the one that had the name before."""
    body = Arriving()
    body.put_nowait(INPUT[:5])
    asked = asyncio.ensure_future(infer(owning, body).made())
    await until(body.empty)
    assert (await owning.upload("m", models.adder(), who="alice")).status == 200
    body.put_nowait(INPUT[5:])
    body.put_nowait(None)
    claims = await asked
    assert claims.status == 400
    assert claims.model_sha256 == hashlib.sha256(models.adder()).hexdigest()
