"""What the server does by itself: it keeps time over restarts, and lets unused models go, if asked to."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path

import pytest

from blindai.server.settings import ModelSettings
from blindai.server.upkeep import ServedTime
from blindai.store.store import Store
from tests import models
from tests.server.house import FOLDER, holder, house, until
from tests.serving import tensor

MODEL = models.identity()
INPUT = json.dumps({"inputs": [tensor("x", "FP32", [1], [1])]}).encode()
KEY = b"k" * 32
DAY = 86_400
CALLERS = (holder("alice"), holder("bob"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store"


def served(path: Path, seconds: int) -> None:
    """Let the server have run for so many seconds more: as if it had been up that long, and had ended."""
    with Store.open(path, KEY) as store:
        store.tick(store.served_seconds + seconds)


def last_used(path: Path) -> dict[str, tuple[int, int]]:
    """When each model was last used, in Unix seconds and in served ones, as the store knows it."""
    with Store.open(path, KEY) as store:
        return {str(model.name): (model.last_used, model.last_used_served) for model in store.models()}


async def put(path: Path, *names: str) -> None:
    with Store.open(path, KEY) as store, house(store, callers=CALLERS) as server:
        for name in names:
            assert (await server.upload(name, MODEL, who="alice")).status == 201


async def after(path: Path, *, used: tuple[str, ...] = (), **settings: int) -> list[str]:
    """Start a server, use models, run its upkeep once; return what is left."""
    with Store.open(path, KEY) as store, house(store, callers=CALLERS, **settings) as server:
        for name in used:
            reply = await server.ask("POST", f"/v2/models/{name}/infer", INPUT, who="alice")
            assert reply.status == 200
        server.services.upkeep().once()
        left = await server.names("alice")
        assert left == [str(model.name) for model in store.models()]
        return left


async def test_what_nobody_used_for_so_long_goes(path: Path):
    """A day less than that it stays; then it is gone from the catalogue and from the disk."""
    await put(path, "m")
    served(path, 29 * DAY)
    assert await after(path, delete_unused_days=30) == ["alice/m"]
    served(path, DAY + 60)
    assert await after(path, delete_unused_days=30) == []
    with Store.open(path, KEY) as store:
        assert store.models() == ()


async def test_metrics_forget_what_goes(path: Path):
    """A model that upkeep deletes leaves no series behind, like one that its owner deletes."""
    await put(path, "m")
    served(path, 31 * DAY)
    with Store.open(path, KEY) as store, house(store, callers=CALLERS, delete_unused_days=30) as server:
        (model,) = store.models()
        server.services.upkeep().once()
        assert server.forgotten == [model.id]


async def test_what_was_used_stays(path: Path):
    """Also if it was used a moment ago, and nothing of that was written down."""
    await put(path, "old", "used")
    served(path, 31 * DAY)
    assert await after(path, used=("used",), delete_unused_days=30) == ["alice/used"]
    served(path, 29 * DAY)
    assert await after(path, delete_unused_days=30) == ["alice/used"]


async def test_nothing_goes_unless_that_is_wanted(path: Path):
    """The default is to keep what was given."""
    await put(path, "m")
    served(path, 3650 * DAY)
    assert await after(path) == ["alice/m"]
    assert await after(path, delete_unused_days=36500) == ["alice/m"]


async def test_a_host_that_sets_its_clock_forward_deletes_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Only the time in which the server ran counts: the host cannot skip it."""
    await put(path, "m")
    monkeypatch.setattr("blindai.server.services.time.time", lambda: 4e9)
    assert await after(path, delete_unused_days=1) == ["alice/m"]


async def test_models_of_the_start_stay(tmp_path: Path, path: Path):
    """They go with the settings, however long nobody used them; nor does the store learn of them."""
    (tmp_path / "m.onnx").write_bytes(MODEL)
    given = (ModelSettings(str(tmp_path / "m.onnx"), "given"),)
    served(path, 31 * DAY)
    with (
        Store.open(path, KEY) as store,
        house(store, models=given, delete_unused_days=1) as server,
    ):
        store.tick(60 * DAY)
        assert (await server.ask("POST", "/v2/models/given/infer", INPUT)).status == 200
        server.services.upkeep().once()
        assert await server.names() == ["given"]
        assert store.models() == ()


async def test_uses_are_written_down(path: Path):
    """When a model was last used outlives the server, by both clocks; others are as before."""
    await put(path, "a", "b")
    before = last_used(path)
    served(path, 5 * DAY)
    await after(path, used=("a",))
    now = last_used(path)
    assert now["alice/b"] == before["alice/b"]
    assert now["alice/a"][1] >= 5 * DAY
    assert now["alice/a"][0] >= before["alice/a"][0]


async def test_uses_are_told(path: Path):
    """The index says so after the hourly upkeep, and only looking at a model is no use of it."""
    await put(path, "m")
    served(path, DAY)
    with Store.open(path, KEY) as store, house(store, callers=CALLERS) as server:
        upkeep = server.services.upkeep()
        for request in ("GET /v2/models/m", "GET /v2/models/m/ready", "POST /v2/repository/index"):
            method, target = request.split()
            assert (await server.ask(method, target, who="alice")).status == 200
        upkeep.once()
        assert store.models()[0].last_used_served < DAY
        assert (await server.ask("POST", "/v2/models/m/infer", INPUT, who="alice")).status == 200
        upkeep.once()
        assert store.models()[0].last_used_served >= DAY


async def test_a_model_that_was_deleted_after_its_use(path: Path):
    """Upkeep does not stumble over it, nor over one whose name another model has taken."""
    await put(path, "gone", "other")
    with Store.open(path, KEY) as store, house(store, callers=CALLERS, delete_unused_days=1) as server:
        for name in ("gone", "other"):
            await server.ask("POST", f"/v2/models/{name}/infer", INPUT, who="alice")
        assert (await server.ask("DELETE", f"{FOLDER}gone", who="alice")).status == 200
        assert (await server.upload("other", models.adder(), who="alice")).status == 200
        server.services.upkeep().once()
        assert await server.names("alice") == ["alice/other"]


async def test_a_store_that_cannot_be_written(path: Path, caplog: pytest.LogCaptureFixture):
    """Upkeep says so and goes on: the next round may go better."""
    await put(path, "m")
    store = Store.open(path, KEY)
    with house(store, callers=CALLERS) as server:
        store.close()
        with caplog.at_level(logging.WARNING, "blindai.server"):
            server.services.upkeep().once()
    assert "upkeep failed" in caplog.text


async def test_without_a_store(caplog: pytest.LogCaptureFixture):
    """Models in memory are let go alike, once the server itself has run so long; nothing is written."""
    with house(delete_unused_days=1) as server:
        assert (await server.upload("m", MODEL)).status == 201
        server.services.upkeep().once()
        assert await server.names() == ["m"]
    assert caplog.text == ""


def test_served_time_goes_on_after_a_restart(path: Path):
    """From where it was written down; without a store it begins at nothing."""
    served(path, 7 * DAY)
    with Store.open(path, KEY) as store:
        clock = ServedTime(store)
        assert 7 * DAY <= clock() < 8 * DAY
        clock.keep({})
        assert 7 * DAY <= store.served_seconds < 8 * DAY
    assert ServedTime(None)() < DAY
    ServedTime(None).keep({})


async def test_it_goes_round_and_round(path: Path, monkeypatch: pytest.MonkeyPatch):
    """Not once: what is left in one round is looked at in the next."""
    monkeypatch.setattr("blindai.server.upkeep._HOUR_SECONDS", 0.001)
    await put(path, "a", "b")
    served(path, 31 * DAY)
    with Store.open(path, KEY) as store, house(store, callers=CALLERS, delete_unused_days=30) as server:
        await server.ask("POST", "/v2/models/b/infer", INPUT, who="alice")
        running = asyncio.ensure_future(server.services.upkeep().run())
        await until(lambda: len(store.models()) == 1)
        revision = store.revision
        await until(lambda: store.revision > revision + 2)
        running.cancel()
        assert await server.names("alice") == ["alice/b"]
