"""The asynchronous client: the same calls and flows as `sync`, awaited."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any, Self, TypeVar

import anyio.to_thread
import httpx2

from blindai.client import calls, http, upload
from blindai.client.demands import DEFAULT_ATTEMPTS, PathLike, PolicyLike, SimulationLike, demands
from blindai.client.floors import FloorsLike
from blindai.client.prediction import Prediction, UploadedModel
from blindai.client.sync import DEFAULT_TIMEOUT_SECONDS
from blindai.client.verified import VerifiedServer
from blindai.client.witness import Witness
from blindai.errors import ServerRefused
from blindai.transport.aio import AsyncAttestedTransport
from blindai.transport.session import DEFAULT_ATTESTATION_TIMEOUT_SECONDS
from blindai.wire.access import CallerInfo
from blindai.wire.metadata import ModelEntry, ModelMetadata, ServerMetadata

T = TypeVar("T")


async def aconnect(  # noqa: PLR0913  those of `connect`
    address: str,
    *,
    policy: PolicyLike | None = None,
    certificate: PathLike | None = None,
    simulation: SimulationLike = False,
    api_key: http.ApiKey | None = None,
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
    attestation_timeout_seconds: float = DEFAULT_ATTESTATION_TIMEOUT_SECONDS,
    proxy: str | None = None,
    floors: FloorsLike = True,
    attempts: int = DEFAULT_ATTEMPTS,
) -> AsyncClient:
    """Connect and verify; arguments and errors are those of `connect`."""
    transport = AsyncAttestedTransport(
        demands(
            address,
            policy=policy,
            certificate=certificate,
            simulation=simulation,
            floors=floors,
            attestation_timeout_seconds=attestation_timeout_seconds,
            proxy=proxy,
            attempts=attempts,
        ),
        proxy=proxy,
    )
    client = AsyncClient(transport, api_key=api_key, timeout_seconds=timeout_seconds)
    try:
        with http.translated(transport.session.demands.origin):
            await transport.attest(connect_timeout_seconds=http.connect_seconds(timeout_seconds))
    except BaseException:
        with anyio.CancelScope(shield=True):
            await client.aclose()
        raise
    return client


class AsyncClient(VerifiedServer):
    """A verified server. Made by `aconnect`; methods are those of `Client`, awaited."""

    def __init__(
        self, transport: AsyncAttestedTransport, *, api_key: http.ApiKey | None = None, timeout_seconds: float
    ) -> None:
        super().__init__(transport.session, api_key)
        self._http = httpx2.AsyncClient(transport=transport, **self._http_options(timeout_seconds))

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
        receipt: bool = False,
        timeout_seconds: float | None = None,
    ) -> Prediction:
        """As `Client.predict`."""
        flow = calls.predict(
            model,
            inputs,
            outputs=tuple(outputs),
            known=self._known,
            policy=self._session.demands.policy,
            witness=Witness() if receipt else None,
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
        visibility: str | None = None,
        shared_with: Iterable[str] = (),
        allow_sealing: Iterable[str] = (),
        receipt: bool = False,
        progress: bool | upload.Progress = False,
        timeout_seconds: float | None = None,
    ) -> UploadedModel:
        """As `Client.upload_model`; the file is read in threads."""
        access = calls.upload_access(visibility, shared_with, allow_sealing)
        model = await anyio.to_thread.run_sync(upload.prepare, source, name)
        self._known.clear()
        with upload.reporting(progress, model.name) as report:
            call = calls.upload_model(model, model.pieces(report), access, Witness() if receipt else None)
            return await self._send(call, timeout_seconds=timeout_seconds)

    async def delete_model(self, name: str) -> None:
        """As `Client.delete_model`."""
        self._known.clear()
        await self._send(calls.delete_model(name))

    async def share_model(self, name: str, *, visibility: str, shared_with: Iterable[str] = ()) -> ModelEntry:
        """As `Client.share_model`."""
        return await self._send(calls.share_model(name, visibility, shared_with))

    async def load_model(self, name: str) -> None:
        """As `Client.load_model`."""
        await self._send(calls.load_model(name))

    async def unload_model(self, name: str) -> None:
        """As `Client.unload_model`."""
        await self._send(calls.unload_model(name))

    async def caller(self) -> CallerInfo:
        """As `Client.caller`."""
        return await self._send(calls.caller())

    async def add_key(self, key_id: str) -> None:
        """As `Client.add_key`."""
        await self._send(calls.add_key(key_id))

    async def join_namespace(self) -> None:
        """As `Client.join_namespace`."""
        await self._run(calls.join_namespace(), timeout_seconds=None)

    async def remove_key(self, key_id: str) -> None:
        """As `Client.remove_key`."""
        await self._send(calls.remove_key(key_id))

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
        limit = httpx2.USE_CLIENT_DEFAULT if timeout_seconds is None else http.timeout(timeout_seconds)
        # Outside the `with`: what the user's function raises is not an error of the server's.
        key = self._api_key
        if callable(key):
            key = await anyio.to_thread.run_sync(key)
        headers = {**call.headers, **http.authorization(key)}
        content = call.content if isinstance(call.content, bytes) else _in_threads(call.content)
        with http.translated(self._origin):
            request = self._http.build_request(
                call.method, call.path, headers=headers, content=content, timeout=limit
            )
            if call.witness is not None:
                call.witness.begin(request, call.content, self._session)
            response = await self._http.send(request)
        return self._read(call, response)


async def _in_threads(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    while piece := await anyio.to_thread.run_sync(next, pieces, b""):
        yield piece
