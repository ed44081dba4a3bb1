"""A server whose attestation is true and whose every answer a test decides, down to the receipt."""

from __future__ import annotations

import hashlib
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from blindai.channel import receipt
from blindai.channel.exchange_digest import (
    RequestDigest,
    RequestHead,
    ResponseDigest,
    ResponseHead,
    parse_salt,
)
from blindai.channel.receipt import Kind, Receipt
from blindai.testing import CapturingPeer, FakeTdx, http_response, make_answer, make_keyset
from blindai.testing.peer import Connection
from blindai.wire import base64url


@dataclass(frozen=True)
class Asked:
    """One request as it crossed the wire. Header names are in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def line(self) -> str:
        return f"{self.method} {self.target}"


Answer = Callable[[Asked], bytes]


class SigningPeer(CapturingPeer):
    """`respond(asked)` gives the whole response to each request; `signed` makes one with a true receipt."""

    def __init__(self, respond: Answer) -> None:
        self.key = Ed25519PrivateKey.generate()
        self.asked: list[Asked] = []
        self.respond = respond
        self._tdx = FakeTdx()
        self._current = threading.local()
        super().__init__(self._attest)
        public = self.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.keyset = make_keyset(
            tls_spki_sha256=self.spki_sha256,
            now=int(time.time()),
            names=("127.0.0.1",),
            receipt_key=public,
        )

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def root(self) -> str:
        return self._tdx.root_sha256

    @property
    def keyset_sha256(self) -> bytes:
        return hashlib.sha256(self.keyset).digest()

    def receipt(self, asked: Asked, status: int, body: bytes, **claims: Any) -> str:
        """Return a receipt that is true but for `claims`."""
        salt = parse_salt(asked.headers[receipt.SALT_HEADER.lower()])
        request = RequestDigest(salt, RequestHead(asked.method, asked.target, *_covered(asked.headers)))
        request.update(asked.body)
        response = ResponseDigest(salt, ResponseHead(status, "application/json"))
        response.update(body)
        true = Receipt(
            id=base64url.encode(bytes(receipt.ID_BYTES)),
            kind=Kind.UPLOAD if asked.method == "PUT" else Kind.INFERENCE,
            issued_at=int(time.time()),
            status=status,
            model="m",
            model_sha256="ab" * 32,
            profile="fp32",
            engine="test",
            request=request.claim(),
            response=response.claim(),
        )
        return receipt.sign(replace(true, **claims), self.key, self.keyset_sha256)

    def signed(self, asked: Asked, body: bytes, status: int = 200, **claims: Any) -> bytes:
        """Return a response with a receipt that is true but for `claims`; with none if none was asked for."""
        if receipt.SALT_HEADER.lower() not in asked.headers:
            return http_response(body, status)
        compact = self.receipt(asked, status, body, **claims)
        return http_response(body, status, {receipt.RECEIPT_HEADER: compact})

    def _attest(self, nonce: bytes) -> bytes:
        return http_response(
            make_answer(
                self._tdx,
                nonce=nonce,
                tls_spki_sha256=self.spki_sha256,
                now=int(time.time()),
                keyset_raw=self.keyset,
            )
        )

    @property
    def _response(self) -> bytes:
        # Of this connection's thread: requests come at the same time.
        return getattr(self._current, "response", b"")

    @_response.setter
    def _response(self, response: bytes) -> None:
        self._current.response = response

    def _converse(self, tls: ssl.SSLSocket, connection: Connection) -> None:
        self._current.connection, self._current.answered = connection, 0
        super()._converse(tls, connection)

    def _reply(self, tls: ssl.SSLSocket, request: str) -> bool:
        received = self._current.connection.received
        raw, self._current.answered = received[self._current.answered :], len(received)
        if not request.startswith("/.well-known/"):
            asked = _parsed(raw)
            self.asked.append(asked)
            self._current.response = self.respond(asked)
        return super()._reply(tls, request)


def _parsed(raw: bytes) -> Asked:
    head, _, body = raw.partition(b"\r\n\r\n")
    line, *fields = head.decode("latin-1").split("\r\n")
    method, target, _ = line.split(" ")
    headers = {name.lower(): value for name, _, value in (field.partition(": ") for field in fields)}
    if "content-length" in headers:
        assert len(body) == int(headers["content-length"])
    return Asked(method, target, headers, body)


def _covered(headers: dict[str, str]) -> tuple[str | None, ...]:
    return tuple(
        headers.get(name) for name in ("content-type", "content-encoding", "inference-header-content-length")
    )
