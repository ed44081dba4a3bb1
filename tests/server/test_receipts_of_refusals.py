"""Receipts of what was refused: they cover what was read, and name no model to those who may not know it."""

from __future__ import annotations

import asyncio
import hashlib

import pytest

from blindai.channel.receipt import Kind
from blindai.wire.inference import ACCEPTED_MODELS_HEADER
from tests import models
from tests.server.exchanges import INFER, Exchange, infer
from tests.server.house import Arriving, House, until
from tests.server.owners import INPUT

REFUSALS = {
    "no such path": ("GET", "/v2/nothing", b"", "alice", 404),
    "not this method": ("DELETE", "/v2/caller", b"", "alice", 405),
    "nobody": ("POST", INFER, INPUT, None, 401),
    "a stranger's name": ("POST", INFER, INPUT, "bob", 404),
    "no model": ("POST", "/v2/models/none/infer", INPUT, "alice", 404),
    "not to run": ("POST", INFER, INPUT, "root", 403),
}


@pytest.mark.parametrize(("method", "target", "body", "who", "status"), REFUSALS.values(), ids=REFUSALS)
async def test_of_a_refusal(
    owning: House, method: str, target: str, body: bytes, who: str | None, status: int
):
    """It names no model to those who may not know of one, and covers the request that was thrown away."""
    asked = Exchange(owning, method, target, body, who)
    claims = await asked.made()
    assert claims.status == status
    assert (claims.model, claims.model_sha256) == (None, None)
    assert claims.request == asked.request(body)


async def test_of_a_private_model_and_of_none(owning: House):
    """A receipt tells a stranger no more than the answer does."""
    told = []
    for name in ("alice%2Fm", "alice%2Fnone"):
        claims = await infer(owning, who="bob", path=f"/v2/models/{name}/infer").made()
        told.append({**claims.to_json(), "id": "", "request": "", "issued_at": 0})
    assert told[0] == told[1]


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"{}", {}, 400),
        (b"no json", {}, 400),
        (INPUT, {ACCEPTED_MODELS_HEADER.lower().replace("-", "_"): "0" * 64}, 412),
        (INPUT, {"content_encoding": "gzip"}, 415),
    ],
)
async def test_of_a_request_that_a_model_did_not_answer(
    owning: House, body: bytes, headers: dict[str, str], status: int
):
    """Malformed or not accepted: request and model are told, where there was one."""
    asked = infer(owning, body)
    claims = await asked.made(**headers)
    assert claims.status == status
    assert claims.model == (None if status == 415 else "alice/m")
    assert claims.request == asked.request(body, **headers)


async def test_of_a_request_that_was_not_read(owning: House):
    """A body too large to read on, or one that was only announced, has no digest, and the receipt says so."""
    for headers in ({"content_length": "5000000"}, {"content_length": "5001", "expect": "100-continue"}):
        asked = infer(owning, b"")
        claims = await asked.made(**headers)
        assert (claims.status, claims.request, claims.kind) == (413, None, Kind.INFERENCE)


async def test_of_a_body_that_turned_out_too_large(owning: House):
    """It was read in part: of that there is no digest."""
    body = Arriving()
    for piece in (b"x" * 5000, b"x", b"x" * 10):
        body.put_nowait(piece)
    asked = asyncio.ensure_future((exchange := infer(owning, body)).made())
    await until(body.empty)
    body.put_nowait(None)
    claims = await asked
    assert (claims.status, claims.request) == (413, None)
    assert exchange.reply.headers["connection"] == "close"


async def test_of_a_refused_body_that_was_read_to_its_end(owning: House):
    """A short one is read before the receipt is signed, which is about all of it."""
    body = b"x" * 5001
    asked = infer(owning, body)
    claims = await asked.made()
    assert (claims.status, claims.request) == (413, asked.request(body))


async def test_of_a_model_that_is_no_longer_the_accepted_one(owning: House):
    """One that took the name while the input arrived is not run on it, where the policy names the other."""
    body = Arriving()
    body.put_nowait(INPUT[:5])
    accepted = {
        ACCEPTED_MODELS_HEADER.lower().replace("-", "_"): hashlib.sha256(models.identity()).hexdigest()
    }
    asked = asyncio.ensure_future(infer(owning, body).made(**accepted))
    await until(body.empty)
    other = models.identity("FP64")
    assert (await owning.upload("m", other, who="alice")).status == 200
    body.put_nowait(INPUT[5:])
    body.put_nowait(None)
    claims = await asked
    assert (claims.status, claims.model_sha256) == (412, hashlib.sha256(other).hexdigest())
