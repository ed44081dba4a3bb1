"""One exchange with a server of this process, and its receipt, checked by what design 4.7 says of it."""

from __future__ import annotations

import hashlib
import hmac
import time

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from blindai.channel import receipt
from blindai.channel.receipt import Receipt
from blindai.wire import base64url
from tests.server.house import Arriving, House
from tests.server.owners import INPUT
from tests.serving import Reply

SALT = bytes(range(32))
INFER = "/v2/models/alice%2Fm/infer"


def digest(domain: bytes, fields: tuple[str | None, ...], body: bytes) -> str:
    """The digest as design 4.7 has it, written down a second time."""
    text = domain + b"-v1\0"
    for field in fields:
        encoded = b"" if field is None else field.encode("latin-1")
        text += (2**64 - 1 if field is None else len(encoded)).to_bytes(8, "big") + encoded
    inner = hmac.new(SALT, domain + b"-body-v1\0" + body, hashlib.sha256).digest()
    raw = hmac.new(SALT, text + inner, hashlib.sha256).digest()
    return base64url.encode(raw)


class Exchange:
    """One request that asked for a receipt, and its answer."""

    def __init__(
        self, server: House, method: str, path: str, body: bytes | Arriving, who: str | None
    ) -> None:
        self._server, self._method, self._path, self._body, self._who = server, method, path, body, who
        self.reply: Reply

    async def made(self, **headers: str) -> Receipt:
        """Ask, and return what the receipt says; it holds, and is of this answer."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.reply = await self._server.ask(
            self._method,
            self._path,
            self._body,
            who=self._who,
            headers={"blindai-receipt-salt": base64url.encode(SALT), **named},
        )
        identity = self._server.identity
        public = identity.receipt_key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        claims = receipt.verify(self.reply.headers["blindai-receipt"], public, identity.keyset_sha256)
        assert claims.status == self.reply.status
        assert abs(claims.issued_at - time.time()) < 600
        assert claims.engine.startswith("onnxruntime")
        answered = self.reply.headers
        assert claims.response == digest(
            b"blindai-response",
            (
                str(claims.status),
                answered["content-type"],
                None,
                answered.get("inference-header-content-length"),
            ),
            self.reply.body,
        )
        return claims

    def request(self, body: bytes, **headers: str) -> str:
        """The digest of this request, had it this body."""
        return digest(
            b"blindai-request",
            (
                self._method,
                self._path.partition("?")[0],
                headers.get("content_type"),
                headers.get("content_encoding"),
                headers.get("inference_header_content_length"),
            ),
            body,
        )


def infer(
    server: House, body: bytes | Arriving = INPUT, who: str | None = "alice", path: str = INFER
) -> Exchange:
    return Exchange(server, "POST", path, body, who)
