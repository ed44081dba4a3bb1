"""The synchronous client."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any, Self, TypeVar

import httpx2

from blindai.client import calls, http, upload
from blindai.client.demands import DEFAULT_ATTEMPTS, PathLike, PolicyLike, SimulationLike, demands
from blindai.client.floors import FloorsLike
from blindai.client.prediction import Prediction, UploadedModel
from blindai.client.verified import VerifiedServer
from blindai.client.witness import Witness
from blindai.errors import ServerRefused
from blindai.transport.session import DEFAULT_ATTESTATION_TIMEOUT_SECONDS
from blindai.transport.sync import AttestedTransport
from blindai.wire.access import CallerInfo
from blindai.wire.metadata import ModelEntry, ModelMetadata, ServerMetadata

T = TypeVar("T")
DEFAULT_TIMEOUT_SECONDS = 60.0


def connect(  # noqa: PLR0913  keywords, each of them one demand
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
) -> Client:
    """Connect to an attested server and verify it. Nothing of yours is sent before that succeeds.

    address: `host`, `host:port` (default 9924) or an https URL.
    policy: a policy file, or a loaded `Policy`; required unless `simulation` is given.
    certificate: the operator's certificate (PEM file); the server must show that its key issued the
        certificate of the connection.
    simulation: the root that `blindai serve --simulation` printed (PEM file or SHA-256 fingerprint), or a
        list of those of several servers; a file may hold several too. Or True to take the root that the
        server staples, from loopback addresses only.
    api_key: an API key or a token, sent to the attested server only; or a function that returns the one of
        the moment, called for every request: for tokens that end.
    proxy: an `http://` CONNECT proxy; environment variables never set one.
    floors: the file that keeps the newest collateral seen, so that nothing older is accepted again: a path;
        True is $XDG_STATE_HOME/blindai/floors.json or ~/.local/state/blindai/floors.json, False is the
        memory of this client. Those of a simulation are only ever kept in memory.
    attestation_timeout_seconds: the longest wait for evidence, all attempts for one connection together.
    attempts: how many of the replicas behind the address are tried for one connection, 1 to 16. One that is
        refused gets nothing and is passed over for the next, with a ReplicaRefusedWarning;
        `client.refused` lists them.

    Raises AttestationError if the server is not what the policy demands (of several, the first that was
    refused), UnreachableError if it cannot be reached, UsageError for arguments that do not make sense.
    """
    transport = AttestedTransport(
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
    client = Client(transport, api_key=api_key, timeout_seconds=timeout_seconds)
    try:
        with http.translated(transport.session.demands.origin):
            transport.attest(connect_timeout_seconds=http.connect_seconds(timeout_seconds), keep=True)
    except BaseException:
        client.close()
        raise
    return client


class Client(VerifiedServer):
    """A verified server. Made by `connect`; every further connection is attested the same way.

    A server may close a connection at the moment at which a request is written to it, and nobody knows then
    whether it was read. A request that only asks for something is sent again, once, on another connection;
    one that changes something or is work to be counted, as `predict` is, ends in UnreachableError, and
    its caller decides.
    """

    def __init__(
        self, transport: AttestedTransport, *, api_key: http.ApiKey | None = None, timeout_seconds: float
    ) -> None:
        super().__init__(transport.session, api_key)
        self._http = httpx2.Client(transport=transport, **self._http_options(timeout_seconds))

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
        receipt: bool = False,
        timeout_seconds: float | None = None,
    ) -> Prediction:
        """Run a model and return its outputs by name.

        inputs: a dict of values by input name; or the value itself for a model with one input; or a list
            with one value per input. A value is a numpy array or a torch tensor, whose dtype must be the
            model's, or Python numbers, strings and (nested) lists, which take the model's dtype.
        outputs: the outputs wanted; all by default.
        receipt: ask for the server's signed word on this very exchange. It is verified before this returns;
            `prediction.receipt.save("proof.json")` keeps the proof for others.

        Raises ServerRefused with `status` and `code` when the server refuses the request; its `receipt` is
        the server's word on that.
        """
        flow = calls.predict(
            model,
            inputs,
            outputs=tuple(outputs),
            known=self._known,
            policy=self._session.demands.policy,
            witness=Witness() if receipt else None,
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
        visibility: str | None = None,
        shared_with: Iterable[str] = (),
        allow_sealing: Iterable[str] = (),
        receipt: bool = False,
        progress: bool | upload.Progress = False,
        timeout_seconds: float | None = None,
    ) -> UploadedModel:
        """Upload an ONNX model, streamed from its file, and return the server's record of it.

        Weights that the model keeps in files beside it go along.

        name: the file's name without its ending by default; in the caller's own namespace, unless it is
            given with one ("alice/sentiment"). An existing model of that name is replaced.
        visibility: who else may describe and run it: "private" (nobody), "shared" (the keys in
            `shared_with`) or "public" (every caller); by default private, on a server without callers public.
        shared_with: ids of keys, not keys.
        allow_sealing: names of key sources that seal less strictly than to the very code that runs, such as
            "gramine-mrsigner", and may hold this model nevertheless.
        receipt: ask for the server's signed word on what it stored; it is `receipt` of what this returns.
        progress: True tells rate and remaining time on stderr, as a bar or, without a terminal, a line now
            and then; or a function of (bytes sent, bytes in all).
        """
        access = calls.upload_access(visibility, shared_with, allow_sealing)
        model = upload.prepare(source, name)
        self._known.clear()
        with upload.reporting(progress, model.name) as report:
            call = calls.upload_model(model, model.pieces(report), access, Witness() if receipt else None)
            return self._send(call, timeout_seconds=timeout_seconds)

    def delete_model(self, name: str) -> None:
        """Delete a model. Requests that already run on it finish."""
        self._known.clear()
        self._send(calls.delete_model(name))

    def share_model(self, name: str, *, visibility: str, shared_with: Iterable[str] = ()) -> ModelEntry:
        """Say who else may describe and run a model of one's own, and return the server's record of it.

        visibility: "private" (nobody), "shared" (the keys in `shared_with`) or "public" (every caller).
        shared_with: key ids, which replace those of before.
        """
        return self._send(calls.share_model(name, visibility, shared_with))

    def load_model(self, name: str) -> None:
        """Have a model ready in memory before the first request for it."""
        self._send(calls.load_model(name))

    def unload_model(self, name: str) -> None:
        """Free the memory of a model, which stays stored. Requests that already run on it finish."""
        self._send(calls.unload_model(name))

    def caller(self) -> CallerInfo:
        """Return who the server takes this client for: role, namespace, key id, use and limits."""
        return self._send(calls.caller())

    def add_key(self, key_id: str) -> None:
        """Invite another key into one's own namespace: once it has come, it may do there what this one may.

        Whoever holds it comes with `join_namespace`, so that nobody finds themselves in a stranger's.
        key_id: what `blindai keys new` printed next to the key, or what `caller().key_id` says for it.
        """
        self._send(calls.add_key(key_id))

    def join_namespace(self) -> None:
        """Come into one's own namespace, which another key holds and invited this one to."""
        self._run(calls.join_namespace(), timeout_seconds=None)

    def remove_key(self, key_id: str) -> None:
        """Take a key from one's own namespace: from now on it is a stranger there."""
        self._send(calls.remove_key(key_id))

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
        limit = httpx2.USE_CLIENT_DEFAULT if timeout_seconds is None else http.timeout(timeout_seconds)
        # Outside the `with`: what the user's function raises is not an error of the server's.
        key = self._api_key() if callable(self._api_key) else self._api_key
        headers = {**call.headers, **http.authorization(key)}
        with http.translated(self._origin):
            request = self._http.build_request(
                call.method, call.path, headers=headers, content=call.content, timeout=limit
            )
            if call.witness is not None:
                call.witness.begin(request, call.content, self._session)
            response = self._http.send(request)
        return self._read(call, response)
