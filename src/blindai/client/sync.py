"""The synchronous client."""

from __future__ import annotations

import os
from typing import Any, Self, TypeVar

import httpx2

from blindai.client import calls, http, upload
from blindai.client.demands import PathLike, PolicyLike, demands
from blindai.client.floors import FloorsLike
from blindai.client.prediction import Prediction
from blindai.client.verified import VerifiedServer
from blindai.errors import ServerRefused
from blindai.transport.session import DEFAULT_ATTESTATION_TIMEOUT_SECONDS
from blindai.transport.sync import AttestedTransport
from blindai.wire.metadata import ModelEntry, ModelMetadata, ServerMetadata

T = TypeVar("T")
DEFAULT_TIMEOUT_SECONDS = 60.0


def connect(  # noqa: PLR0913  keywords, each of them one demand
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
) -> Client:
    """Connect to an attested server and verify it. Nothing of yours is sent before that succeeds.

    address: `host`, `host:port` (default 9924) or an https URL.
    policy: a policy file, or a loaded `Policy`; required unless `simulation` is given.
    certificate: the operator's certificate (PEM file); the server must show that its key issued the
        certificate of the connection.
    simulation: the root that `blindai serve --simulation` printed (PEM file or SHA-256 fingerprint), or
        True to take the root that the server staples, from loopback addresses only.
    api_key: sent as a bearer token, to the attested server only.
    proxy: an `http://` CONNECT proxy; environment variables never set one.
    floors: the file that keeps the newest collateral seen, so that nothing older is accepted again: a path;
        True is $XDG_STATE_HOME/blindai/floors.json or ~/.local/state/blindai/floors.json, False is the
        memory of this client. Those of a simulation are only ever kept in memory.

    Raises AttestationError if the server is not what the policy demands, UnreachableError if it cannot be
    reached, UsageError for arguments that do not make sense.
    """
    client = Client(
        AttestedTransport(
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
        client.server()
    except BaseException:
        client.close()
        raise
    return client


class Client(VerifiedServer):
    """A verified server. Made by `connect`; every further connection is attested the same way."""

    def __init__(
        self, transport: AttestedTransport, *, api_key: str | None = None, timeout_seconds: float
    ) -> None:
        super().__init__(transport.session)
        self._http = httpx2.Client(transport=transport, **self._http_options(api_key, timeout_seconds))

    def server(self) -> ServerMetadata:
        """Return the server's name, version and extensions."""
        return self._send(calls.server())

    def models(self) -> tuple[ModelEntry, ...]:
        """Return the models that the server holds."""
        return self._send(calls.models())

    def model(self, name: str) -> ModelMetadata:
        """Return a model's inputs and outputs: names, dtypes and shapes (-1 is any length)."""
        return self._send(calls.model(name))

    def predict(
        self,
        model: str,
        inputs: Any,
        *,
        outputs: tuple[str, ...] | list[str] = (),
        timeout_seconds: float | None = None,
    ) -> Prediction:
        """Run a model and return its outputs by name.

        inputs: a dict of values by input name; or the value itself for a model with one input; or a list
            with one value per input. A value is a numpy array or a torch tensor, whose dtype must be the
            model's, or Python numbers, strings and (nested) lists, which take the model's dtype.
        outputs: the outputs wanted; all by default.

        Raises ServerRefused with `status` and `code` when the server refuses the request.
        """
        flow = calls.predict(
            model, inputs, outputs=tuple(outputs), known=self._known, policy=self._session.demands.policy
        )
        try:
            return self._run(flow, timeout_seconds=timeout_seconds)
        except ServerRefused:
            # The model may have been replaced by one with another signature.
            self._known.pop(model, None)
            raise

    def upload_model(
        self,
        source: str | os.PathLike[str] | bytes,
        *,
        name: str | None = None,
        progress: bool | upload.Progress = False,
        timeout_seconds: float | None = None,
    ) -> ModelEntry:
        """Upload an ONNX model, streamed from its file, and return the server's record of it.

        name: the file's name without its ending by default. An existing model of that name is replaced.
        progress: True draws a bar if stderr is a terminal; or a function of (bytes sent, bytes in all).
        """
        model = upload.prepare(source, name)
        self._known.pop(model.name, None)
        with upload.reporting(progress, model.name) as report:
            reply = self._request(
                "PUT", model.path, model.headers, model.pieces(report), timeout_seconds=timeout_seconds
            )
        return calls.read(calls.Call("PUT", model.path, model.read), reply)

    def delete_model(self, name: str) -> None:
        """Delete a model. Requests that already run on it finish."""
        self._known.pop(name, None)
        self._send(calls.delete_model(name))

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self, flow: calls.Flow[T], *, timeout_seconds: float | None) -> T:
        result = None
        try:
            while True:
                result = self._send(flow.send(result), timeout_seconds=timeout_seconds)
        except StopIteration as done:
            value: T = done.value
            return value

    def _send(self, call: calls.Call[T], *, timeout_seconds: float | None = None) -> T:
        reply = self._request(
            call.method, call.path, call.headers, call.content, timeout_seconds=timeout_seconds
        )
        return calls.read(call, reply)

    def _request(
        self, method: str, path: str, headers: Any, content: Any, *, timeout_seconds: float | None = None
    ) -> calls.Reply:
        limit = httpx2.USE_CLIENT_DEFAULT if timeout_seconds is None else http.timeout(timeout_seconds)
        with http.translated(self._origin):
            response = self._http.request(method, path, headers=headers, content=content, timeout=limit)
        return http.reply(response.status_code, response.headers, response.content)
