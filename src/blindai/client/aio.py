"""The asynchronous client: the same calls and flows as `sync`, awaited."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from typing import Any, Self, TypeVar

import anyio.to_thread
import httpx2

from blindai.client import calls, http, upload
from blindai.client.demands import PathLike, PolicyLike, demands
from blindai.client.floors import FloorsLike
from blindai.client.prediction import Prediction
from blindai.client.sync import DEFAULT_TIMEOUT_SECONDS
from blindai.client.verified import VerifiedServer
from blindai.errors import ServerRefused
from blindai.transport.aio import AsyncAttestedTransport
from blindai.transport.session import DEFAULT_ATTESTATION_TIMEOUT_SECONDS
from blindai.wire.metadata import ModelEntry, ModelMetadata, ServerMetadata

T = TypeVar("T")


async def aconnect(  # noqa: PLR0913  those of `connect`
    address: str,
    *,
    policy: PolicyLike | None = None,
    certificate: PathLike | None = None,
    simulation: bool | PathLike = False,
    api_key: str | None = None,
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
    attestation_timeout_seconds: float = DEFAULT_ATTESTATION_TIMEOUT_SECONDS,
    proxy: str | None = None,
    floors: FloorsLike = True,
) -> AsyncClient:
    """Connect and verify; arguments and errors are those of `connect`."""
    client = AsyncClient(
        AsyncAttestedTransport(
            demands(
                address,
                policy=policy,
                certificate=certificate,
                simulation=simulation,
                floors=floors,
                attestation_timeout_seconds=attestation_timeout_seconds,
                proxy=proxy,
            ),
            proxy=proxy,
        ),
        api_key=api_key,
        timeout_seconds=timeout_seconds,
    )
    try:
        await client.server()
    except BaseException:
        with anyio.CancelScope(shield=True):
            await client.aclose()
        raise
    return client


class AsyncClient(VerifiedServer):
    """A verified server. Made by `aconnect`; methods are those of `Client`, awaited."""

    def __init__(
        self, transport: AsyncAttestedTransport, *, api_key: str | None = None, timeout_seconds: float
    ) -> None:
        super().__init__(transport.session)
        self._http = httpx2.AsyncClient(transport=transport, **self._http_options(api_key, timeout_seconds))

    async def server(self) -> ServerMetadata:
        """As `Client.server`."""
        return await self._send(calls.server())

    async def models(self) -> tuple[ModelEntry, ...]:
        """As `Client.models`."""
        return await self._send(calls.models())

    async def model(self, name: str) -> ModelMetadata:
        """As `Client.model`."""
        return await self._send(calls.model(name))

    async def predict(
        self,
        model: str,
        inputs: Any,
        *,
        outputs: tuple[str, ...] | list[str] = (),
        timeout_seconds: float | None = None,
    ) -> Prediction:
        """As `Client.predict`."""
        flow = calls.predict(
            model, inputs, outputs=tuple(outputs), known=self._known, policy=self._session.demands.policy
        )
        try:
            return await self._run(flow, timeout_seconds=timeout_seconds)
        except ServerRefused:
            # The model may have been replaced by one with another signature.
            self._known.pop(model, None)
            raise

    async def upload_model(
        self,
        source: str | os.PathLike[str] | bytes,
        *,
        name: str | None = None,
        progress: bool | upload.Progress = False,
        timeout_seconds: float | None = None,
    ) -> ModelEntry:
        """As `Client.upload_model`; the file is read in threads."""
        model = await anyio.to_thread.run_sync(upload.prepare, source, name)
        self._known.pop(model.name, None)
        with upload.reporting(progress, model.name) as report:
            pieces = _in_threads(model.pieces(report))
            reply = await self._request(
                "PUT", model.path, model.headers, pieces, timeout_seconds=timeout_seconds
            )
        return calls.read(calls.Call("PUT", model.path, model.read), reply)

    async def delete_model(self, name: str) -> None:
        """As `Client.delete_model`."""
        self._known.pop(name, None)
        await self._send(calls.delete_model(name))

    async def aclose(self) -> None:
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def _run(self, flow: calls.Flow[T], *, timeout_seconds: float | None) -> T:
        result = None
        while True:
            try:
                call = flow.send(result)
            except StopIteration as done:
                value: T = done.value
                return value
            result = await self._send(call, timeout_seconds=timeout_seconds)

    async def _send(self, call: calls.Call[T], *, timeout_seconds: float | None = None) -> T:
        reply = await self._request(
            call.method, call.path, call.headers, call.content, timeout_seconds=timeout_seconds
        )
        return calls.read(call, reply)

    async def _request(
        self, method: str, path: str, headers: Any, content: Any, *, timeout_seconds: float | None = None
    ) -> calls.Reply:
        limit = httpx2.USE_CLIENT_DEFAULT if timeout_seconds is None else http.timeout(timeout_seconds)
        with http.translated(self._origin):
            response = await self._http.request(method, path, headers=headers, content=content, timeout=limit)
        return http.reply(response.status_code, response.headers, response.content)


async def _in_threads(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    while piece := await anyio.to_thread.run_sync(next, pieces, b""):
        yield piece
