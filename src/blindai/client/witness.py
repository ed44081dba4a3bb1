"""Watches one request on its way, so that the receipt for it is checked against what was really sent."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import TYPE_CHECKING

import httpx2

from blindai.channel.exchange_digest import SEED_BYTES, RequestDigest, RequestHead, ResponseHead, salt_of
from blindai.channel.receipt import RECEIPT_HEADER, SALT_HEADER
from blindai.errors import ResponseError
from blindai.transport.session import Session
from blindai.wire import base64url
from blindai.wire.inference import HEADER_LENGTH_HEADER

if TYPE_CHECKING:
    from blindai.client.answer_receipt import AnswerReceipt


class Witness:
    """For one request, under a salt of its own: `begin`, then `receipt`."""

    def __init__(self) -> None:
        self._seed = secrets.token_bytes(SEED_BYTES)
        self._body: bytes | None = None

    def watched(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        """Yield the pieces of a body that is hashed as it leaves."""
        for piece in pieces:
            self._digest.update(piece)
            yield piece

    def begin(self, request: httpx2.Request, content: bytes | Iterator[bytes], session: Session) -> None:
        """Ask for a receipt of a request that is about to be sent, and take down its head.

        And its body unless that is `watched`. The head is the built request's: what the HTTP library makes
        of a path or a header is what is signed.
        """
        head = _request_head(request)
        salt = salt_of(self._seed, session.demands.policy.sha256, head)
        request.headers[SALT_HEADER] = base64url.encode(salt)
        self._digest = RequestDigest(salt, head)
        if isinstance(content, bytes):
            self._digest.update(content)
            self._body = content

    def receipt(self, response: httpx2.Response, session: Session) -> AnswerReceipt | None:
        """Return the receipt of a response, verified; None for a refusal that has none.

        Raises ResponseError if an answer has none, AttestationError if it is not of this exchange.
        """
        # Few ask for receipts: whoever does not loads nothing of them.
        from blindai.client.answer_receipt import received  # noqa: PLC0415

        compact = response.headers.get(RECEIPT_HEADER)
        if compact is None:
            if response.is_success:
                raise ResponseError(
                    "the server gave no receipt", hint="a BlindAI server before 0.2 gives none"
                )
            return None
        head = _response_head(response)
        if head.content_encoding is not None:  # then `content` is not what crossed the wire
            raise ResponseError("the server encoded an answer that it gave a receipt for")
        return received(
            compact,
            attested=response.extensions["network_stream"].get_extra_info("blindai_attested"),
            session=session,
            seed=self._seed,
            request=self._digest,
            request_body=self._body,
            response_head=head,
            response_body=response.content,
        )


def _request_head(request: httpx2.Request) -> RequestHead:
    return RequestHead(
        request.method, request.url.raw_path.partition(b"?")[0].decode("latin-1"), *_covered(request.headers)
    )


def _response_head(response: httpx2.Response) -> ResponseHead:
    return ResponseHead(response.status_code, *_covered(response.headers))


def _covered(headers: httpx2.Headers) -> Iterator[str | None]:
    """Yield the headers that a digest covers, byte by byte."""
    raw = [(name.lower(), value) for name, value in headers.raw]
    for name in _COVERED:
        values = [value.decode("latin-1") for key, value in raw if key == name]
        if len(values) > 1:
            raise ResponseError("a header that a receipt covers is there twice")
        yield values[0] if values else None


_COVERED = (b"content-type", b"content-encoding", HEADER_LENGTH_HEADER.lower().encode("ascii"))
