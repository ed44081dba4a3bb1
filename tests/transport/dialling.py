"""Dialling a peer with each colour of transport, carrying secrets that must not leave."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Callable

import httpx2

from blindai.transport.aio import AsyncAttestedTransport
from blindai.transport.session import Demands, SimulationWarning
from blindai.transport.sync import AttestedTransport

SECRET = b"CANARY"
Dial = Callable[[Demands], bytes]


def _request(url: str) -> dict[str, object]:
    """A request whose line, headers and body all hold the secret."""
    return {
        "method": "POST",
        "url": f"{url}/v2/models/CANARY-model/infer",
        "headers": {"Authorization": "Bearer CANARY-key"},
        "content": b"CANARY-body",
    }


def dial_sync(
    demands: Demands, *, url: str | None = None, proxy: str | None = None, **extra: object
) -> bytes:
    with (
        quiet(),
        httpx2.Client(transport=AttestedTransport(demands, proxy=proxy), trust_env=True) as client,
    ):
        return client.request(**_request(url or demands.origin.url), **extra).content  # type: ignore[arg-type]


def dial_async(
    demands: Demands, *, url: str | None = None, proxy: str | None = None, **extra: object
) -> bytes:
    async def dial() -> bytes:
        transport = AsyncAttestedTransport(demands, proxy=proxy)
        async with httpx2.AsyncClient(transport=transport, trust_env=True) as client:
            response = await client.request(**_request(url or demands.origin.url), **extra)  # type: ignore[arg-type]
            return response.content

    with quiet():
        return asyncio.run(dial())


class quiet(warnings.catch_warnings):  # noqa: N801  reads as a statement
    """The simulation warning has a test of its own."""

    def __enter__(self) -> None:
        super().__enter__()
        warnings.simplefilter("ignore", SimulationWarning)
