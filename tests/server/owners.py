"""Alice, her laptop, bob, carol and root, and what they ask of a server in this process."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from blindai.store.store import Store
from tests.server.house import FOLDER, House, holder, house
from tests.serving import Reply, tensor

KEY = b"k" * 32
INPUT = json.dumps({"inputs": [tensor("x", "FP32", [1], [1])]}).encode()
CALLERS = (
    holder("alice"),
    holder("laptop", namespace="alice"),
    holder("bob"),
    holder("carol", "user"),
    holder("root", "admin"),
)
NARROW = {"max_request_bytes": 5000, "max_model_bytes": 2**20}
KEY_IDS = {caller.name: caller.key_sha256 for caller in CALLERS}


@contextmanager
def stored(path: Path, **settings: Any) -> Iterator[tuple[House, Store]]:
    """A server of these callers with the store at `path`; entered again, it is the same server, restarted."""
    with Store.open(path, KEY) as store, house(store, **{"callers": CALLERS, **settings}) as made:
        yield made, store


def told(reply: Reply) -> tuple[int, str]:
    """The status, and the stable word of an error."""
    return reply.status, "" if reply.status < 300 else reply.code


async def infer(server: House, name: str, who: str | None = "alice") -> tuple[int, str]:
    target = f"/v2/models/{name.replace('/', '%2F')}/infer"
    return told(await server.ask("POST", target, INPUT, who=who))


async def entry(server: House, name: str, who: str = "alice") -> dict[str, object]:
    """What the index says of one model."""
    listed = (await server.ask("POST", "/v2/repository/index", who=who)).json()
    (found,) = (entry for entry in listed if entry["name"] == name)
    return dict(found)


async def share(server: House, name: str, *, who: str = "alice", **body: object) -> Reply:
    target = f"{FOLDER}{name.replace('/', '%2F')}/sharing"
    return await server.ask("POST", target, json.dumps(body).encode(), who=who)


async def invite(server: House, name: str, who: str) -> tuple[int, str]:
    """Invite a caller's key as another, or come in as that caller."""
    return told(await server.ask("PUT", f"/v2/caller/keys/{KEY_IDS[name]}", who=who))


async def expel(server: House, name: str, who: str) -> tuple[int, str]:
    return told(await server.ask("DELETE", f"/v2/caller/keys/{KEY_IDS[name]}", who=who))
