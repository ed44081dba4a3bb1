"""A client over each colour of transport under one hand, its transport open to the test between requests."""

from __future__ import annotations

import asyncio
import contextlib
from concurrent.futures import ThreadPoolExecutor

import httpx2

from blindai.transport.aio import AsyncAttestedTransport
from blindai.transport.sync import AttestedTransport

COLOURS = ("sync", "async")


@contextlib.contextmanager
def driven(colour, demands, *, proxy=None):
    """Open a client: `request(method, path, **rest)` returns a response; `transport` is what is under it."""
    if colour == "sync":
        transport = AttestedTransport(demands, proxy=proxy)
        with httpx2.Client(transport=transport, base_url=demands.origin.url) as client:
            yield _Driven(transport, client.request, lambda count, path: _in_threads(client, count, path))
        return
    with asyncio.Runner() as runner:
        transport = AsyncAttestedTransport(demands, proxy=proxy)
        client = httpx2.AsyncClient(transport=transport, base_url=demands.origin.url)
        try:
            yield _Driven(
                transport,
                lambda *args, **rest: runner.run(client.request(*args, **rest)),
                lambda count, path: runner.run(_in_tasks(client, count, path)),
            )
        finally:
            runner.run(client.aclose())


class _Driven:
    def __init__(self, transport, request, burst):
        self.transport = transport
        self.request = request
        self.burst = burst  # (count, path) -> what became of each, an error or a response

    def get(self, path="/v2", **rest):
        return self.request("GET", path, **rest)

    def get_and_close(self):
        """One request on a connection that the pool does not keep."""
        return self.get(headers={"Connection": "close"})


def _in_threads(client, count, path):
    with ThreadPoolExecutor(count) as threads:
        calls = [threads.submit(client.get, path) for _ in range(count)]
        return [call.exception() or call.result() for call in calls]


async def _in_tasks(client, count, path):
    return await asyncio.gather(*(client.get(path) for _ in range(count)), return_exceptions=True)
