"""Signs what a request and its answer were, if the client asked for it with a salt (design 4.7)."""

from __future__ import annotations

import asyncio
import secrets
import time
from dataclasses import dataclass

from blindai.channel import receipt
from blindai.channel.exchange_digest import (
    RequestDigest,
    RequestHead,
    ResponseDigest,
    ResponseHead,
    parse_salt,
)
from blindai.server.http.body import Body
from blindai.server.http.exchange import Headers, Notes, Response, header
from blindai.server.keys.identity import Identity
from blindai.wire import base64url
from blindai.wire.inference import HEADER_LENGTH_HEADER

_SALT = receipt.SALT_HEADER.lower().encode("ascii")
_RECEIPT = receipt.RECEIPT_HEADER.lower().encode("ascii")
_HEADER_LENGTH = HEADER_LENGTH_HEADER.lower().encode("ascii")
_PROFILE = "fp32"
_LONG_BYTES = 2**20  # hashing more would hold up the event loop


@dataclass(frozen=True)
class Witness:
    """Sees one exchange, and signs it."""

    request: RequestDigest
    body: Body

    @classmethod
    def of(cls, method: str, raw_path: bytes, headers: Headers, body: Body) -> Witness | None:
        """Return the witness that the client asked for, None if it asked for none. Raises RequestError."""
        text = header(headers, _SALT)
        if text is None:
            return None
        salt = parse_salt(text)
        head = RequestHead(
            method=method,
            path=raw_path.decode("latin-1"),
            content_type=header(headers, b"content-type"),
            content_encoding=header(headers, b"content-encoding"),
            inference_header_length=header(headers, _HEADER_LENGTH),
        )
        body.observer = digest = RequestDigest(salt, head)
        return cls(digest, body)

    async def sign(
        self, response: Response, notes: Notes, identity: Identity, *, engine: str
    ) -> tuple[bytes, bytes]:
        """Return the header that carries the receipt."""
        digest = ResponseDigest(self.request.salt, _head(response))

        def read() -> None:
            for part in response.parts:
                digest.update(part)

        if response.size_bytes > _LONG_BYTES:
            await asyncio.to_thread(read)
        else:
            read()
        model = notes.model
        claims = receipt.Receipt(
            id=base64url.encode(secrets.token_bytes(receipt.ID_BYTES)),
            kind=notes.kind,
            issued_at=int(time.time()),
            status=response.status,
            model=None if model is None else model.name,
            model_sha256=None if model is None else model.sha256,
            profile=_PROFILE,
            engine=engine,
            # A request that was refused before it was read to its end has no digest.
            request=self.request.claim() if self.body.complete else None,
            response=digest.claim(),
        )
        signed = receipt.sign(claims, identity.receipt_key, identity.keyset_sha256)
        return _RECEIPT, signed.encode("ascii")


def _head(response: Response) -> ResponseHead:
    length = dict(response.headers).get(_HEADER_LENGTH)
    return ResponseHead(
        status=response.status,
        content_type=response.content_type.decode("ascii"),
        content_encoding=None,
        inference_header_length=None if length is None else length.decode("ascii"),
    )
