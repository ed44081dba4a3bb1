"""The whole server behind its port, in this process: its application is asked without a network.

For what depends on a store, a clock or the moment at which a body's pieces arrive. Everything is real but the
connection.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from blindai.channel.keyset import Software
from blindai.server.evidence.machine import simulated_machine
from blindai.server.http.app import EXTENSION
from blindai.server.keys.identity import new_identity
from blindai.server.promises import promises
from blindai.server.services import Services
from blindai.server.settings import CallerSettings, Settings
from blindai.server.watch.finished import Finished
from blindai.server.watch.watch import Watch
from blindai.server.who_may import known_callers
from blindai.store.store import Store
from blindai.wire.api_key import key_id
from tests.serving import Reply

FOLDER = "/v2/repository/models/"
_NOW = int(time.time())
_MACHINE = simulated_machine("tdx", source_sha256="0" * 64, now=_NOW)

Arriving = asyncio.Queue[bytes | None]
"""A body that comes in pieces, when a test puts them; None is its end."""


def key_of(name: str) -> str:
    """The API key of a caller of these tests."""
    return f"blindai_{name}"


def holder(name: str, role: str = "owner", **settings: Any) -> CallerSettings:
    """A caller of the settings, who holds `key_of(name)`."""
    return CallerSettings(name=name, role=role, key_sha256=key_id(key_of(name)), **settings)


class House:
    """`finished` holds what watchers were told of each request, `forgotten` the labels to forget."""

    def __init__(self, store: Store | None = None, *, sealing: str = "memory", **settings: Any) -> None:
        chosen = Settings(simulation=True, inference_threads=1, **settings)
        self.services = Services(chosen, _MACHINE, store, sealing=sealing)
        try:
            self.services.load_models()
        except BaseException:
            self.services.close()
            raise
        self.finished: list[Finished] = []
        self.forgotten: list[str] = []
        self.services.forget = self.forgotten.append
        self.identity = new_identity(
            ["localhost"],
            now=_NOW,
            life_seconds=3600,
            software=Software("1", "0" * 64),
            settings=promises(chosen, sealing=sealing, environment={}),
            simulated=True,
        )
        watch = Watch()
        watch.finished = self.finished.append  # type: ignore[method-assign] # whoever watches sees these
        self._app = self.services.app(
            self.services.routes(None),
            known_callers(chosen, ["localhost"]),
            watch,
            retired=lambda _: False,
        )

    async def ask(
        self,
        method: str,
        path: str,
        body: bytes | Arriving = b"",
        *,
        who: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Ask as the caller `who`, or as nobody; return the answer."""
        asked = (
            {"content-length": str(len(body))}
            if isinstance(body, bytes)
            else {"transfer-encoding": "chunked"}
        )
        if who is not None:
            asked["authorization"] = f"Bearer {key_of(who)}"
        asked |= headers or {}
        target, _, query = path.partition("?")
        scope = {
            "type": "http",
            "method": method,
            "raw_path": target.encode("ascii"),
            "query_string": query.encode("ascii"),
            "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in asked.items()],
            "extensions": {EXTENSION: self.identity},
        }
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            if isinstance(body, bytes):
                return {"type": "http.request", "body": body, "more_body": False}
            piece = await body.get()
            return {"type": "http.request", "body": piece or b"", "more_body": piece is not None}

        async def send(message: dict[str, Any]) -> None:
            sent.append({**message, "body": bytes(message.get("body", b""))})

        await self._app(scope, receive, send)
        received = {name.decode(): value.decode("latin-1") for name, value in sent[0]["headers"]}
        return Reply(sent[0]["status"], received, b"".join(message["body"] for message in sent[1:]))

    async def upload(self, name: str, model: bytes, *, who: str | None = None, **headers: str) -> Reply:
        """Upload; `blindai_visibility="public"` is the header BlindAI-Visibility."""
        named = {header.replace("_", "-"): value for header, value in headers.items()}
        return await self.ask("PUT", FOLDER + name.replace("/", "%2F"), model, who=who, headers=named)

    async def names(self, who: str | None = None) -> list[str]:
        reply = await self.ask("POST", "/v2/repository/index", who=who)
        return [entry["name"] for entry in reply.json()]

    def close(self) -> None:
        self.services.close()


@contextmanager
def house(store: Store | None = None, **settings: Any) -> Iterator[House]:
    """A server in this process until the block ends; the store stays its caller's."""
    made = House(store, **settings)
    try:
        yield made
    finally:
        made.close()


async def until(condition: Any) -> None:
    """Let the loop run until `condition` holds, for 20 seconds at most."""
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)
