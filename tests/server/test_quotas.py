"""Who may have how much: models, bytes and requests, of one caller, of one model and of the server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from blindai.server.settings import ModelSettings
from blindai.store.store import Store
from tests import models
from tests.server.house import FOLDER, Arriving, holder, house, until
from tests.serving import Reply, tensor

MODEL, OTHER = models.identity(), models.mlp()
SIZE = len(MODEL)
KEY = b"k" * 32
INPUT = json.dumps({"inputs": [tensor("x", "FP32", [1], [1])]}).encode()
INFER = "/v2/models/{}/infer"


@pytest.fixture(params=["memory", "sealed"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store | None]:
    """None, or a sealed store: the limits are the same for both."""
    if request.param == "memory":
        yield None
        return
    with Store.open(tmp_path / "store", KEY) as opened:
        yield opened


def told(reply: Reply) -> tuple[int, str]:
    return reply.status, reply.code


async def test_models_of_one_caller(store: Store | None):
    """One's own number, or that of all; replacing needs none, deleting gives one back."""
    callers = (holder("alice"), holder("bob", max_models=1), holder("root", "admin"))
    with house(store, callers=callers, caller_max_models=2) as server:
        for name in ("a", "b"):
            assert (await server.upload(name, MODEL, who="alice")).status == 201
        reply = await server.upload("c", MODEL, who="alice")
        assert told(reply) == (507, "quota-exceeded")
        assert "at most 2 models" in reply.json()["error"]
        assert (await server.upload("b", OTHER, who="alice")).status == 200
        assert (await server.upload("a", MODEL, who="bob")).status == 201
        assert told(await server.upload("b", MODEL, who="bob")) == (507, "quota-exceeded")
        assert (await server.ask("DELETE", f"{FOLDER}a", who="alice")).status == 200
        assert (await server.upload("c", MODEL, who="alice")).status == 201
        info = (await server.ask("GET", "/v2/caller", who="alice")).json()
        assert (info["models"], info["max_models"]) == (2, 2)
        assert (await server.ask("GET", "/v2/caller", who="bob")).json()["max_models"] == 1


async def test_bytes_of_one_caller(store: Store | None):
    """Exactly as many as may be, and not one more; a replaced model's are free."""
    callers = (holder("alice", max_model_bytes=2 * SIZE), holder("bob"))
    with house(store, callers=callers, caller_max_model_bytes=SIZE) as server:
        for name in ("a", "b", "a"):
            assert (await server.upload(name, MODEL, who="alice")).status in (200, 201)
        assert told(await server.upload("c", MODEL, who="alice")) == (507, "quota-exceeded")
        assert len(OTHER) > SIZE
        assert told(await server.upload("a", OTHER, who="alice")) == (507, "quota-exceeded")
        assert (await server.upload("a", MODEL, who="bob")).status == 201
        assert told(await server.upload("b", MODEL, who="bob")) == (507, "quota-exceeded")
        info = (await server.ask("GET", "/v2/caller", who="alice")).json()
        assert (info["model_bytes"], info["max_model_bytes"]) == (2 * SIZE, 2 * SIZE)
        assert (await server.ask("GET", "/v2/caller", who="bob")).json()["max_model_bytes"] == SIZE


async def test_a_length_that_was_not_told_counts_when_it_is_known(store: Store | None):
    """A body in chunks, whose length nobody announced, has no other quota."""
    with house(store, callers=(holder("alice", max_model_bytes=SIZE - 1),)) as server:
        body = Arriving()
        for piece in (MODEL, None):
            body.put_nowait(piece)
        assert told(await server.ask("PUT", f"{FOLDER}a", body, who="alice")) == (507, "quota-exceeded")
        assert await server.names("alice") == []


async def test_a_quota_is_refused_before_the_body_is_read(store: Store | None):
    """Nobody sends gigabytes to learn that there was no room."""
    with house(store, callers=(holder("alice", max_models=1, max_model_bytes=SIZE),)) as server:
        await server.upload("a", MODEL, who="alice")
        for name, length in (("b", "1"), ("a", str(SIZE + 1))):
            headers = {"content-length": length}
            before = len(server.finished)
            reply = await server.ask("PUT", FOLDER + name, b"", who="alice", headers=headers)
            assert told(reply) == (507, "quota-exceeded")
            assert server.finished[before].request_bytes == 0


async def test_a_model_that_came_in_meanwhile_counts(store: Store | None):
    """Two uploads that each had room at their beginning do not both get in."""
    with house(store, callers=(holder("alice", max_models=1),)) as server:
        slow = Arriving()
        slow.put_nowait(MODEL[:9])
        asked = asyncio.ensure_future(server.ask("PUT", f"{FOLDER}slow", slow, who="alice"))
        await until(slow.empty)
        assert (await server.upload("fast", MODEL, who="alice")).status == 201
        slow.put_nowait(MODEL[9:])
        slow.put_nowait(None)
        assert told(await asked) == (507, "quota-exceeded")
        assert await server.names("alice") == ["alice/fast"]


async def test_models_of_the_start_count_for_nobody(store: Store | None, tmp_path: Path):
    """They take a place of the server, and none of the admin's, in whose namespace they are."""
    (tmp_path / "m.onnx").write_bytes(MODEL)
    settings: dict[str, Any] = {
        "callers": (holder("root", "admin", max_models=1, max_model_bytes=SIZE),),
        "models": (ModelSettings(str(tmp_path / "m.onnx"), "given"),),
        "max_stored_bytes": SIZE,
        "max_models": 2,
    }
    with house(store, **settings) as server:
        assert (await server.ask("GET", "/v2/caller", who="root")).json()["models"] == 0
        assert (await server.upload("a", MODEL, who="root")).status == 201
        info = (await server.ask("GET", "/v2/caller", who="root")).json()
        assert (info["models"], info["model_bytes"]) == (1, SIZE)
        assert told(await server.upload("b", MODEL, who="root")) == (507, "storage-full")


@pytest.mark.parametrize(
    "limits",
    [{"max_models": 2}, {"max_stored_bytes": 2 * SIZE}, {"max_stored_bytes": 3 * SIZE - 1}],
    ids=["models", "bytes", "a byte less"],
)
async def test_the_server_is_full_for_everybody(store: Store | None, limits: dict[str, int]):
    """The limits of all hold whosever models they are; a replaced one gives its place."""
    callers = tuple(holder(name) for name in ("alice", "bob"))
    with house(store, callers=callers, **limits) as server:
        for who in ("alice", "bob"):
            assert (await server.upload("m", MODEL, who=who)).status == 201
        assert told(await server.upload("n", MODEL, who="bob")) == (507, "storage-full")
        assert (await server.upload("m", MODEL, who="bob")).status == 200
        await server.ask("DELETE", f"{FOLDER}m", who="alice")
        assert (await server.upload("n", MODEL, who="bob")).status == 201


async def test_models_in_memory_share_its_limit():
    """Without a store every model has to fit at once."""
    with house(max_total_model_bytes=2 * SIZE) as server:
        assert [(await server.upload(name, MODEL)).status for name in ("a", "b", "a")] == [201, 201, 200]
        assert told(await server.upload("c", MODEL)) == (507, "storage-full")
        assert (await server.ask("POST", INFER.format("a"), INPUT)).status == 200


async def test_a_model_larger_than_memory_is_refused_before_it_is_read(store: Store | None):
    """By its announced length; one that fits in place of its predecessor, byte for byte, is taken."""
    with house(store, max_total_model_bytes=SIZE) as server:
        for length, status in ((SIZE + 1, 507), (SIZE, 400)):
            headers = {"content-length": str(length), "content-digest": f"sha-256=:{'A' * 43}=:"}
            reply = await server.ask("PUT", f"{FOLDER}m", b"", headers=headers)
            assert reply.status == status
        assert (await server.upload("m", MODEL)).status == 201
        assert (await server.upload("m", MODEL)).status == 200
        headers = {"content-length": str(SIZE + 1)}
        assert told(await server.ask("PUT", f"{FOLDER}m", b"", headers=headers)) == (507, "storage-full")
        assert server.finished[-1].request_bytes == 0


async def test_models_in_a_store_take_turns_in_memory(tmp_path: Path):
    """With one, the longest unused makes room, and comes back when it is asked; none is larger than all."""
    with Store.open(tmp_path / "store", KEY) as store, house(store, max_total_model_bytes=2 * SIZE) as server:
        for name in ("a", "b", "c"):
            assert (await server.upload(name, MODEL)).status == 201

        async def unloaded() -> list[str]:
            listed = (await server.ask("POST", "/v2/repository/index")).json()
            return [entry["name"] for entry in listed if entry["state"] == "UNLOADED"]

        assert await unloaded() == ["a"]
        assert (await server.ask("POST", INFER.format("a"), INPUT)).status == 200
        assert await unloaded() == ["b"]
        ready = await server.ask("POST", "/v2/repository/index", b'{"ready": true}')
        assert [entry["name"] for entry in ready.json()] == ["a", "c"]
        assert len(OTHER) > 2 * SIZE
        assert told(await server.upload("d", OTHER)) == (507, "storage-full")


async def test_requests_of_one_caller():
    """Each has their own, or that of all; what is open to everybody is not counted."""
    callers = (holder("alice", requests_per_minute=2), holder("bob"), holder("carol"))
    with house(callers=callers, caller_requests_per_minute=1) as server:

        async def statuses(who: str, count: int) -> list[int]:
            return [(await server.ask("GET", "/v2/caller", who=who)).status for _ in range(count)]

        assert await statuses("alice", 3) == [200, 200, 429]
        assert await statuses("bob", 2) == [200, 429]
        assert await statuses("carol", 2) == [200, 429]
        reply = await server.ask("POST", "/v2/repository/index", who="bob")
        assert told(reply) == (429, "rate-limited")
        assert 0 < int(reply.headers["retry-after"]) <= 60
        assert (await server.ask("GET", "/v2/health/live", who="bob")).status == 200
        assert (await server.ask("GET", "/v2/caller")).status == 401


async def test_requests_are_counted_by_key():
    """Whoever calls themselves alice in the settings does not use up what alice may ask for."""
    callers = (holder("alice"), holder("laptop", namespace="alice"))
    with house(callers=callers, caller_requests_per_minute=1) as server:
        for who in ("laptop", "alice"):
            statuses = [(await server.ask("GET", "/v2/caller", who=who)).status for _ in range(2)]
            assert statuses == [200, 429]


async def test_what_a_caller_is_told_of_its_rate():
    """The number that holds for it."""
    callers = (holder("alice", requests_per_minute=7), holder("bob"))
    with house(callers=callers, caller_requests_per_minute=9) as server:
        for who, most in (("alice", 7), ("bob", 9)):
            assert (await server.ask("GET", "/v2/caller", who=who)).json()["requests_per_minute"] == most


async def test_requests_of_one_model(tmp_path: Path):
    """A model of the start has its own rate or that of all models, whoever asks; others are not slowed."""
    (tmp_path / "m.onnx").write_bytes(MODEL)
    path = str(tmp_path / "m.onnx")
    given = (ModelSettings(path, "two", requests_per_minute=2), ModelSettings(path, "one"))
    callers = tuple(holder(name) for name in ("alice", "bob"))
    with house(callers=callers, models=given, model_requests_per_minute=1) as server:

        async def ask(name: str, who: str) -> int:
            return (await server.ask("POST", INFER.format(name), INPUT, who=who)).status

        assert [await ask("two", who) for who in ("alice", "bob", "alice")] == [200, 200, 429]
        assert [await ask("one", who) for who in ("alice", "bob")] == [200, 429]
        assert (await server.upload("mine", MODEL, who="alice")).status == 201
        assert [await ask("mine", "alice") for _ in range(2)] == [200, 429]
        reply = await server.ask("POST", INFER.format("one"), INPUT, who="bob")
        assert told(reply) == (429, "rate-limited")
        assert (await server.ask("GET", "/v2/models/one", who="bob")).status == 200


async def test_how_large_a_request_for_one_model_is(tmp_path: Path):
    """A model's own limit, below that of all; at the limit it is served."""
    (tmp_path / "m.onnx").write_bytes(MODEL)
    path = str(tmp_path / "m.onnx")
    given = (ModelSettings(path, "small", max_request_bytes=len(INPUT)), ModelSettings(path, "usual"))
    with house(models=given, max_request_bytes=len(INPUT) + 1) as server:
        for name, larger, status in (
            ("small", b"", 200),
            ("small", b" ", 413),
            ("usual", b" ", 200),
            ("usual", b"  ", 413),
        ):
            assert (await server.ask("POST", INFER.format(name), INPUT + larger)).status == status


async def test_how_many_requests_for_one_model_are_in_the_house(tmp_path: Path):
    """One whose body dawdles takes a place of its own model only, and gives it back however it ends."""
    (tmp_path / "m.onnx").write_bytes(MODEL)
    path = str(tmp_path / "m.onnx")
    given = (ModelSettings(path, "narrow", max_waiting=1), ModelSettings(path, "usual"))
    with house(models=given, model_max_waiting=2) as server:

        async def begin(name: str) -> tuple[Arriving, asyncio.Future[Reply]]:
            body = Arriving()
            body.put_nowait(INPUT[:5])
            asked = asyncio.ensure_future(server.ask("POST", INFER.format(name), body))
            await until(body.empty)
            return body, asked

        async def ask(name: str) -> tuple[int, str]:
            reply = await server.ask("POST", INFER.format(name), INPUT)
            return reply.status, "" if reply.status == 200 else reply.code

        for ending, status in ((INPUT[5:], 200), (b"", 400)):
            begun = [await begin("narrow"), await begin("usual")]
            assert [await ask("narrow"), await ask("usual")] == [(429, "busy"), (200, "")]
            begun.append(await begin("usual"))
            assert await ask("usual") == (429, "busy")
            for body, asked in begun:
                body.put_nowait(ending)
                body.put_nowait(None)
                assert (await asked).status == status
            assert [await ask("narrow"), await ask("usual")] == [(200, ""), (200, "")]
