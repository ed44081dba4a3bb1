"""What both clients know of the server they are connected to."""

from __future__ import annotations

from typing import Any

from blindai.attestation.verdict import Verdict
from blindai.attestation.verifier import Attested
from blindai.channel.bundle import Bundle
from blindai.client import http
from blindai.errors import UnreachableError
from blindai.transport.session import Session
from blindai.wire.metadata import ModelMetadata


class VerifiedServer:
    """A server that was verified; the base of `Client` and `AsyncClient`."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._origin = session.demands.origin
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
        if self._session.bundle is None:
            raise UnreachableError("no connection has been attested yet")
        return self._session.bundle

    @property
    def server_certificate(self) -> str:
        """The attested connection's TLS certificate, PEM: for tools that pin one (tritonclient, curl)."""
        return self._session.attested[1].certificate_pem

    def __repr__(self) -> str:
        return f"<blindai.{type(self).__name__} {self._origin.url}>"

    def _http_options(self, api_key: str | None, timeout_seconds: float) -> dict[str, Any]:
        """How an httpx2 client is made around the attested transport: nothing of the environment counts."""
        return {
            "base_url": self._origin.url,
            "headers": http.headers(api_key),
            "timeout": http.timeout(timeout_seconds),
            "trust_env": False,
            "follow_redirects": False,
        }
