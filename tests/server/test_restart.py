"""Models of the start beside those of the store, and what a restart leaves as it was."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path

import pytest

from blindai.errors import UsageError
from blindai.server.settings import ModelSettings
from blindai.store.store import Store
from tests import models
from tests.server.house import FOLDER, House, holder, house
from tests.server.owners import CALLERS, KEY, KEY_IDS, entry, infer, invite, share, stored, told

MODEL, OTHER = models.identity(), models.adder()
BOB = KEY_IDS["bob"]


@pytest.fixture
def given(tmp_path: Path) -> ModelSettings:
    (tmp_path / "given.onnx").write_bytes(OTHER)
    return ModelSettings(str(tmp_path / "given.onnx"), "house")


@pytest.mark.parametrize("kept", ["memory", "sealed"])
async def test_a_model_of_the_start_is_the_operators(given: ModelSettings, path: Path, kept: str):
    """Nobody replaces, shares, unloads or deletes it; watchers call it by the name that the settings gave."""
    with contextlib.ExitStack() as closing:
        store = closing.enter_context(Store.open(path, KEY)) if kept == "sealed" else None
        server = closing.enter_context(house(store, callers=CALLERS, models=(given,)))
        assert server.services.startup_models == ("house",)
        assert (await entry(server, "house"))["sha256"] == hashlib.sha256(OTHER).hexdigest()
        assert told(await server.upload("house", MODEL, who="root")) == (409, "model-fixed")
        assert told(await share(server, "house", who="root", visibility="private")) == (409, "model-fixed")
        for method, target in (("DELETE", "house"), ("POST", "house/unload")):
            assert told(await server.ask(method, FOLDER + target, who="root")) == (409, "model-fixed")
        await infer(server, "house")
        assert server.finished[-1].model == "house"


async def test_a_model_of_the_start_does_not_hide_a_stored_one(path: Path, given: ModelSettings):
    """A host that edits the settings does not put its model before one that people have learned to trust."""
    with stored(path) as (server, _):
        reply = await server.upload("house", MODEL, who="root", blindai_visibility="public")
        known = reply.json()["id"]
    with Store.open(path, KEY) as store, pytest.raises(UsageError, match="house"):
        with house(store, callers=CALLERS, models=(given,)):
            pass
    with stored(path) as (server, _):
        listed = await entry(server, "house")
        assert (listed["id"], listed["sha256"]) == (known, hashlib.sha256(MODEL).hexdigest())
        assert await infer(server, "house", "bob") == (200, "")


async def test_a_model_of_the_start_is_never_unloaded(given: ModelSettings, store: Store):
    """Whatever others need memory for: it lies in no store that it could be loaded from again."""
    most = len(OTHER) + len(MODEL)
    with house(store, callers=CALLERS, models=(given,), max_total_model_bytes=most) as server:
        for name in ("a", "b", "c"):
            assert (await server.upload(name, MODEL, who="alice")).status == 201
            assert (await entry(server, "house"))["state"] == "READY"
        assert (await entry(server, "alice/a"))["state"] == "UNLOADED"
        assert await infer(server, "house") == (400, "input-unknown")  # its inputs are others


async def test_a_model_of_the_start_for_some(given: ModelSettings, tmp_path: Path):
    """One that is shared is none to the others."""
    shared = ModelSettings(given.path, "theirs", visibility="shared", shared_with=(BOB,))  # type: ignore[arg-type]
    with house(callers=CALLERS, models=(shared,)) as server:
        statuses = [
            (await server.ask("GET", "/v2/models/theirs", who=who)).status for who in ("bob", "carol")
        ]
        assert statuses == [200, 404]


async def test_another_owners_model_has_the_short_name_of_the_servers(owned: House):
    """A short name means one's own model, then the server's, never somebody else's."""
    assert (await owned.upload("m", MODEL, who="bob", blindai_visibility="public")).status == 201
    assert await infer(owned, "m") == (404, "model-not-found")
    assert (await owned.upload("m", MODEL, who="root", blindai_visibility="public")).status == 201
    assert (await owned.ask("GET", "/v2/models/m", who="alice")).json()["name"] == "m"
    assert (await owned.ask("GET", "/v2/models/m", who="bob")).json()["name"] == "bob/m"
    assert (await owned.upload("m", MODEL, who="alice")).status == 201
    assert (await owned.ask("GET", "/v2/models/m", who="alice")).json()["name"] == "alice/m"


@pytest.mark.parametrize("version", ["1", "0", "2", "01", "latest"])
async def test_versions(owned: House, version: str):
    """There is one, and its number is 1."""
    await owned.upload("m", MODEL, who="alice")
    reply = await owned.ask("GET", f"/v2/models/m/versions/{version}", who="alice")
    assert reply.status == (200 if version == "1" else 404)


async def test_what_a_restart_leaves_as_it_was(path: Path):
    """Models, whom they are for, whose namespaces are, when they came and were used: all from the store."""
    with Store.open(path, KEY) as store, house(store, callers=CALLERS) as server:
        await server.upload("mine", MODEL, who="alice", blindai_share_with=BOB)
        await server.upload("ours", OTHER, who="bob", blindai_visibility="public")
        await server.upload("gone", MODEL, who="alice")
        await server.ask("DELETE", f"{FOLDER}gone", who="alice")
        for who in ("alice", "laptop"):
            assert await invite(server, "laptop", who) == (200, "")
        assert await invite(server, "bob", "alice") == (200, "")
        server.services.upkeep().once()
        before = [await entry(server, name, "bob") for name in ("alice/mine", "bob/ours")]
        said = (await server.ask("GET", "/v2/models/mine", who="alice")).json()
    # Another who calls herself alice now, whose key nobody let in.
    callers = (*CALLERS, holder("mallory", namespace="alice"))
    with Store.open(path, KEY) as store, house(store, callers=callers) as server:
        after = [await entry(server, name, "bob") for name in ("alice/mine", "bob/ours")]
        assert after == [{**one, "state": "UNLOADED"} for one in before]
        assert (await server.ask("GET", "/v2/models/mine", who="alice")).json() == said
        assert await infer(server, "alice/mine", "carol") == (404, "model-not-found")
        assert await infer(server, "alice/mine", "bob") == (200, "")
        assert await infer(server, "mine", "laptop") == (200, "")
        assert await infer(server, "alice/mine", "mallory") == (404, "model-not-found")
        assert told(await server.upload("x", MODEL, who="mallory")) == (403, "namespace-bound")
        assert await server.names("alice") == ["alice/mine", "bob/ours"]
        info = (await server.ask("GET", "/v2/caller", who="alice")).json()
        assert (info["models"], info["model_bytes"]) == (1, len(MODEL))


@pytest.mark.parametrize("preload", [False, True])
async def test_models_are_loaded_at_the_start_if_that_is_wanted(path: Path, preload: bool):
    """Otherwise when they are first asked for."""
    with Store.open(path, KEY) as store, house(store, callers=CALLERS) as server:
        await server.upload("m", MODEL, who="alice")
    with Store.open(path, KEY) as store, house(store, callers=CALLERS, preload=preload) as server:
        assert (await entry(server, "alice/m"))["state"] == ("READY" if preload else "UNLOADED")
        assert await infer(server, "m") == (200, "")
