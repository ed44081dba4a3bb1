"""What both clients know of the server they are connected to."""

from __future__ import annotations

from typing import Any, TypeVar

import httpx2

from blindai.attestation.verdict import Verdict
from blindai.attestation.verifier import Attested
from blindai.channel.bundle import Bundle
from blindai.client import calls, http
from blindai.errors import UnreachableError
from blindai.transport.refused import RefusedReplica
from blindai.transport.session import Session
from blindai.wire.metadata import ModelMetadata

T = TypeVar("T")


class VerifiedServer:
    """A server that was verified; the base of `Client` and `AsyncClient`."""

    def __init__(self, session: Session, api_key: http.ApiKey | None) -> None:
        if not callable(api_key):
            http.authorization(api_key)
        self._session = session
        self._origin = session.demands.origin
        self._api_key = api_key
        self._known: dict[str, ModelMetadata] = {}

    @property
    def attested(self) -> Attested:
        """The newest proof under which this client has a connection."""
        return self._session.attested[0]

    @property
    def verdict(self) -> Verdict:
        """What was checked about the server, claim by claim. `print` it."""
        return self.attested.verdict

    @property
    def bundle(self) -> Bundle:
        """What the server sent when it was last attested; `Path(...).write_bytes(client.bundle.encode())`."""
        bundle = self._session.bundle_for(self.attested.keyset_sha256)
        if bundle is None:
            raise UnreachableError("what attested this server is no longer held")
        return bundle

    @property
    def refused(self) -> tuple[RefusedReplica, ...]:
        """The replicas behind the address that were refused, and why; the newest last, and not without end.

        No request byte was sent to any of them.
        """
        return self._session.refused.listed()

    @property
    def server_certificate(self) -> str:
        """The attested connection's TLS certificate, PEM: for tools that pin one (tritonclient, curl)."""
        return self._session.attested[1].certificate_pem

    def __repr__(self) -> str:
        return f"<blindai.{type(self).__name__} {self._origin.url}>"

    def _read(self, call: calls.Call[T], response: httpx2.Response) -> T:
        """Return what a response says; before anything of it counts, the receipt that was asked for holds."""
        witness = call.witness
        receipt = None if witness is None else witness.receipt(response, self._session)
        return calls.read(call, http.reply(response, receipt))

    def _http_options(self, timeout_seconds: float) -> dict[str, Any]:
        """How an httpx2 client is made around the attested transport: nothing of the environment counts."""
        return {
            "base_url": self._origin.url,
            "timeout": http.timeout(timeout_seconds),
            "trust_env": False,
            "follow_redirects": False,
        }
