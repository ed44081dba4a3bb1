"""The models of the catalogue: what happens to them while others ask, change, replace and delete."""

from __future__ import annotations

import asyncio
import hashlib
import json
from pathlib import Path

import pytest

from blindai.store.catalogue import MODEL_SUFFIX
from blindai.store.store import Store
from tests import models
from tests.server.house import FOLDER, House, house, until
from tests.server.owners import CALLERS, INPUT, KEY_IDS, entry, infer, share, told
from tests.serving import tensor

MODEL, OTHER = models.identity(), models.adder()
BOB = KEY_IDS["bob"]


async def test_unloading_frees_memory_and_the_next_request_loads_again(sealed: House):
    """Twice is as good as once, and the index tells."""
    await sealed.upload("m", MODEL, who="alice")
    assert (await entry(sealed, "alice/m"))["state"] == "READY"
    for _ in range(2):
        assert (await sealed.ask("POST", f"{FOLDER}m/unload", who="alice")).json() == {}
        assert (await entry(sealed, "alice/m"))["state"] == "UNLOADED"
    assert (await sealed.ask("GET", "/v2/models/m/ready", who="alice")).json()["ready"]
    assert (await sealed.ask("GET", "/v2/models/m", who="alice")).json()["inputs"][0]["name"] == "x"
    assert (await entry(sealed, "alice/m"))["state"] == "UNLOADED"
    assert await infer(sealed, "m") == (200, "")
    assert (await entry(sealed, "alice/m"))["state"] == "READY"
    await sealed.ask("POST", f"{FOLDER}m/unload", who="alice")
    assert (await sealed.ask("POST", f"{FOLDER}m/load", who="alice")).json() == {}
    assert (await entry(sealed, "alice/m"))["state"] == "READY"


async def test_what_lies_in_memory_only_is_not_unloaded():
    """It would be lost."""
    with house(callers=CALLERS) as server:
        await server.upload("m", MODEL, who="alice")
        assert told(await server.ask("POST", f"{FOLDER}m/unload", who="alice")) == (409, "model-fixed")
        assert await infer(server, "m") == (200, "")


def files(path: Path) -> set[Path]:
    """The models that lie in a store."""
    return {file for file in path.iterdir() if file.name.endswith(MODEL_SUFFIX)}


def damage(file: Path) -> None:
    raw = bytearray(file.read_bytes())
    raw[-1] ^= 1
    file.write_bytes(raw)


async def test_a_model_that_lies_damaged_in_the_store(sealed: House, path: Path):
    """Whoever asks for it is told that it is damaged, and nothing of files; the others are served."""
    await sealed.upload("good", MODEL, who="alice")
    before = files(path)
    await sealed.upload("bad", OTHER, who="alice")
    (file,) = files(path) - before
    damage(file)
    assert (await infer(sealed, "bad"))[1] == "input-unknown"  # still loaded: the model answers
    await sealed.ask("POST", f"{FOLDER}bad/unload", who="alice")
    reply = await sealed.ask("POST", "/v2/models/bad/infer", INPUT, who="alice")
    assert told(reply) == (500, "model-damaged")
    assert file.stem not in reply.json()["error"]
    assert (await entry(sealed, "alice/bad"))["state"] == "UNLOADED"
    assert await infer(sealed, "good") == (200, "")
    assert (await sealed.ask("DELETE", f"{FOLDER}bad", who="alice")).status == 200
    assert files(path) == before


async def test_a_store_that_does_not_answer(store: Store):
    """Uploads, changes and loads say so; what is loaded still runs."""
    with house(store, callers=CALLERS) as server:
        await server.upload("m", MODEL, who="alice")
        store.close()
        assert await infer(server, "m") == (200, "")
        for reply in (
            await server.upload("n", MODEL, who="alice"),
            await share(server, "m", visibility="public"),
            await server.ask("DELETE", f"{FOLDER}m", who="alice"),
        ):
            assert told(reply) == (503, "storage-unavailable")
        listed = await entry(server, "alice/m")
        assert (listed["visibility"], listed["state"]) == ("private", "READY")
        await server.ask("POST", f"{FOLDER}m/unload", who="alice")
        assert await infer(server, "m") == (503, "storage-unavailable")


async def test_what_is_forgotten_when_models_go(owned: House):
    """Metrics of a model that was replaced or deleted are told to forget it, by what they knew it by."""
    first = (await owned.upload("m", MODEL, who="alice")).json()["id"]
    assert owned.forgotten == []
    second = (await owned.upload("m", OTHER, who="alice")).json()["id"]
    assert first != second
    assert owned.forgotten == [first]
    assert (await owned.ask("DELETE", f"{FOLDER}m", who="alice")).status == 200
    assert owned.forgotten == [first, second]


async def test_what_watchers_call_a_model(owned: House):
    """Its id, which says nothing: never the name that its owner chose."""
    known = (await owned.upload("secret", MODEL, who="alice")).json()["id"]
    for method, target in (
        ("POST", "/v2/models/secret/infer"),
        ("GET", "/v2/models/alice%2Fsecret"),
        ("POST", f"{FOLDER}secret/load"),
    ):
        await owned.ask(method, target, INPUT if "infer" in target else b"", who="alice")
        assert owned.finished[-1].model == known
    assert owned.finished[0].model == known
    await infer(owned, "alice/secret", "bob")
    assert owned.finished[-1].model is None


async def test_uploads_of_one_name_at_one_time(owned: House):
    """One of them is the model in the end, whole; no other one stays loaded, and no file of it."""
    bodies = [models.identity(dtype) for dtype in ("FP32", "FP64", "INT64", "INT32")]
    replies = await asyncio.gather(*(owned.upload("m", body, who="alice") for body in bodies))
    assert sorted(reply.status for reply in replies) == [200, 200, 200, 201]
    listed = await entry(owned, "alice/m")
    assert listed["sha256"] in {hashlib.sha256(body).hexdigest() for body in bodies}
    metadata = (await owned.ask("GET", "/v2/models/m", who="alice")).json()
    (winner,) = (reply.json() for reply in replies if reply.json()["id"] == listed["id"])
    assert metadata["inputs"] == winner["inputs"]
    assert owned.services.gauges(connections=lambda: 0).models_loaded() == 1


async def test_a_model_that_is_deleted_while_it_is_shared(sealed: House, store: Store):
    """One of the two comes first; a model that was deleted does not come back by a change of it."""
    for _ in range(5):
        await sealed.upload("m", MODEL, who="alice")
        deleted, shared = await asyncio.gather(
            sealed.ask("DELETE", f"{FOLDER}m", who="alice"), share(sealed, "m", visibility="public")
        )
        assert deleted.status == 200
        assert shared.status in (200, 404)
        assert await sealed.names("alice") == []
        assert store.models() == ()


async def test_a_model_that_goes_while_it_runs(sealed: House):
    """Those who run it finish; nobody else finds it."""
    await sealed.upload("slow", models.slow(), who="alice")
    body = json.dumps({"inputs": [tensor("iterations", "INT64", [1], [700])]}).encode()
    asked = asyncio.ensure_future(sealed.ask("POST", "/v2/models/slow/infer", body, who="alice"))
    await until(lambda: sealed.services.running)
    assert (await sealed.ask("DELETE", f"{FOLDER}slow", who="alice")).status == 200
    assert (await sealed.ask("GET", "/v2/models/slow", who="alice")).status == 404
    assert (await asked).status == 200


async def test_what_gauges_say_of_models(owned: House, request: pytest.FixtureRequest):
    """How many are loaded, and how many bytes lie in the store, if there is one."""
    gauges = owned.services.gauges(connections=lambda: 0)
    sealed = "sealed" in request.node.name
    for name in ("a", "b"):
        await owned.upload(name, MODEL, who="alice")
    assert (gauges.models_loaded(), gauges.model_bytes()) == (2, 2 * len(MODEL))
    assert gauges.stored_bytes() == (2 * len(MODEL) if sealed else None)
    await owned.ask("POST", f"{FOLDER}a/unload", who="alice")
    assert gauges.models_loaded() == (1 if sealed else 2)
    await owned.ask("DELETE", f"{FOLDER}b", who="alice")
    assert gauges.stored_bytes() == (len(MODEL) if sealed else None)
