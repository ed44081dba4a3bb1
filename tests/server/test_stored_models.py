"""A server process and its sealed store: what was acknowledged is there after an end of any kind."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from blindai.store.keys.file import FileKey
from blindai.store.store import Store
from blindai.wire import base64url
from tests import models
from tests.serving import RunningServer, running_server, tensor

INPUT = [tensor("x", "FP32", [1], [7])]


def settings(folder: Path, key: str | None = None) -> dict[str, Any]:
    return {"store_path": str(folder / "store"), "store_key": key or f"file:{folder / 'sealing.key'}"}


def sealing(server: RunningServer) -> list[str]:
    """What the attested keyset says of the sealing key."""
    nonce = base64url.encode(bytes(32))
    answer = server.request("GET", f"/.well-known/blindai/attestation?nonce={nonce}")
    keyset = json.loads(base64url.decode(answer.json()["keyset"]))
    return list(keyset["settings"]["sealing"])


def listed(server: RunningServer) -> dict[str, Any]:
    return {entry["name"]: entry for entry in server.request("POST", "/v2/repository/index").json()}


def test_models_outlive_an_orderly_end(tmp_path: Path):
    """With everything that is known of them; what was used last is written down at the end."""
    with running_server(**settings(tmp_path)) as server:
        assert sealing(server) == ["file"]
        assert server.upload("m", models.identity()).status == 201
        assert server.infer("m", INPUT).status == 200
        before = listed(server)["m"]
    with running_server(**settings(tmp_path)) as server:
        after = listed(server)["m"]
        assert after.pop("last_used") >= before.pop("last_used")
        assert (before.pop("state"), after.pop("state")) == ("READY", "UNLOADED")
        assert after == before
        assert server.infer("m", INPUT).json()["outputs"][0]["data"] == [7]
        assert server.ready["models"] == []  # what others keep here is not told


def test_models_outlive_a_kill(tmp_path: Path):
    """The moment an upload is acknowledged it is there for good; a deleted one stays deleted."""

    def killed() -> None:
        with running_server(**settings(tmp_path)) as server:
            for name in ("kept", "gone"):
                assert server.upload(name, models.identity()).status == 201
            assert server.request("DELETE", "/v2/repository/models/gone").status == 200
            server.stop(signal.SIGKILL)

    with pytest.raises(AssertionError, match="exit code -9"):
        killed()
    with running_server(**settings(tmp_path)) as server:
        assert set(listed(server)) == {"kept"}
        assert server.infer("kept", INPUT).status == 200


def test_the_last_use_is_written_down_when_the_server_ends(tmp_path: Path):
    """Otherwise a server that is restarted every day would find all its models unused."""
    with running_server(**settings(tmp_path)) as server:
        assert server.upload("m", models.identity()).status == 201
    store = tmp_path / "store"
    key = FileKey(tmp_path / "sealing.key").sealing_key()
    with Store.open(store, key) as opened:
        opened.tick(10 * 86_400)
    with running_server(**settings(tmp_path)) as server:
        assert server.infer("m", INPUT).status == 200
    with Store.open(store, key) as opened:
        (model,) = opened.models()
        assert model.last_used_served >= 10 * 86_400


def test_unused_models_go_when_the_server_ends(tmp_path: Path):
    """Also on a server that never runs for an hour."""
    given = {**settings(tmp_path), "delete_unused_days": 30}
    with running_server(**given) as server:
        assert server.upload("m", models.identity()).status == 201
    with Store.open(tmp_path / "store", FileKey(tmp_path / "sealing.key").sealing_key()) as opened:
        opened.tick(31 * 86_400)
    with running_server(**given) as server:
        assert set(listed(server)) == {"m"}
    with running_server(**given) as server:
        assert listed(server) == {}


def test_a_store_under_a_key_in_memory_ends_with_its_server(tmp_path: Path):
    """Models are sealed while it runs; afterwards there is nothing, and the next one starts empty."""
    given = settings(tmp_path, "memory")
    for _ in range(2):
        with running_server(**given) as server:
            assert sealing(server) == ["memory"]
            assert listed(server) == {}
            assert server.upload("m", models.identity()).status == 201
            assert server.request("POST", "/v2/repository/models/m/unload").status == 200
            assert server.infer("m", INPUT).status == 200
            assert len(list((tmp_path / "store").iterdir())) == 1
        assert list((tmp_path / "store").iterdir()) == []
