"""The ASGI application: from a request to one response, and every error in one form."""

from __future__ import annotations

import asyncio
import logging
import secrets
import traceback
from collections.abc import Awaitable, Callable
from pathlib import PurePath
from typing import Any

from blindai.errors import RequestCode, RequestError
from blindai.server.body import Body, ClientGone, Pace, Receive
from blindai.server.exchange import Request, Response
from blindai.server.refusal import error_response
from blindai.server.routing import MethodNotAllowed, Router

Scope = dict[str, Any]
Send = Callable[[Any], Awaitable[None]]

EXTENSION = "blindai"  # scope["extensions"][EXTENSION] is the Identity of the connection

_DISCARD_BYTES = (
    256 * 1024
)  # what is left of a refused body, if it is not more, is read to keep the connection
_ONE_WRITE_BYTES = 256 * 1024

_log = logging.getLogger("blindai.server")


class App:
    """Answers HTTP requests by way of `router`. Never raises for what a client sends."""

    def __init__(self, router: Router, *, pace: Pace, linger_seconds: float) -> None:
        self._router = router
        self._pace = pace
        self._linger_seconds = linger_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        body: Body | None = None
        try:
            body = Body(receive, scope["headers"], self._pace)
            response = await self._respond(scope, body)
            body.release()  # nobody needs the request any more, however long the answer takes to leave
            await self._send(response, body, self._paced(send))
        except RequestError as exc:  # the framing itself is not clear: nothing after it can be trusted
            await _start(send, response := error_response(exc), close=True)
            await _finish(send, response)
        except ClientGone:
            return
        finally:
            if body is not None:
                body.release()

    def _paced(self, send: Send) -> Send:
        """A client that does not read may not hold its answer and its connection for ever."""

        async def paced(message: Any) -> None:
            count = len(message.get("body", b""))
            patience = self._pace.grace_seconds + count / self._pace.min_bytes_per_second
            try:
                async with asyncio.timeout(patience):
                    await send(message)
            except TimeoutError:
                raise ClientGone from None

        return paced

    async def _respond(self, scope: Scope, body: Body) -> Response:
        try:
            handler, parameters = self._router.match(scope["method"], scope["raw_path"])
            request = Request(
                method=scope["method"],
                query=scope["query_string"],
                headers=scope["headers"],
                body=body,
                identity=scope["extensions"][EXTENSION],
                parameters=parameters,
            )
            _check_encoding(request)
            return await handler(request)
        except MethodNotAllowed as exc:
            return error_response(exc, ((b"allow", ", ".join(exc.allowed).encode("ascii")),))
        except RequestError as exc:
            return error_response(exc)
        except ClientGone:
            raise
        except Exception as exc:  # noqa: BLE001 - the boundary: a bug of ours must not show a stack trace
            return _internal_error(exc)

    async def _send(self, response: Response, body: Body, send: Send) -> None:
        """Send the response; if the body was not read to its end, do what lets the client see it anyway."""
        nothing_comes = body.stalled or (body.expects_continue and not body.started)
        if not body.complete and not nothing_comes and _is_short(body):
            await body.discard(max_bytes=_DISCARD_BYTES, seconds=self._linger_seconds)
        if body.complete:
            await _start(send, response, close=False)
            await _finish(send, response)
            return
        await _start(send, response, close=True)
        await _parts(send, response)
        if not nothing_comes:
            # The whole response is out. Only now the rest is awaited, and dropped.
            await body.discard(max_bytes=2**63, seconds=self._linger_seconds)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _is_short(body: Body) -> bool:
    return body.declared_bytes is not None and body.declared_bytes <= _DISCARD_BYTES


def _check_encoding(request: Request) -> None:
    encoding = request.header(b"content-encoding")
    if encoding not in (None, "", "identity"):
        raise RequestError(
            RequestCode.ENCODING_UNSUPPORTED,
            "compressed bodies are not taken: send the body as it is, without Content-Encoding",
        )


def _internal_error(exc: Exception) -> Response:
    # The type and the place, not the message: a message may quote the request.
    frame = traceback.extract_tb(exc.__traceback__)[-1]
    place = f"{PurePath(frame.filename).name}:{frame.lineno}"
    _log.error("request %s failed: %s at %s", secrets.token_hex(8), type(exc).__name__, place)
    return error_response(
        RequestError(RequestCode.INTERNAL, "the server failed on this request; its log says where")
    )


async def _start(send: Send, response: Response, *, close: bool) -> None:
    headers: list[tuple[bytes, bytes]] = [
        (b"content-type", response.content_type),
        (b"content-length", str(response.size_bytes).encode("ascii")),
        *response.headers,
    ]
    if close:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": response.status, "headers": headers})


async def _finish(send: Send, response: Response) -> None:
    if response.size_bytes <= _ONE_WRITE_BYTES:
        body = response.parts[0] if len(response.parts) == 1 else b"".join(response.parts)
        await send({"type": "http.response.body", "body": body, "more_body": False})
        return
    await _parts(send, response)
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _parts(send: Send, response: Response) -> None:
    # In pieces, so that a slow reader holds back the sender instead of filling the write buffer.
    for part in response.parts:
        view = memoryview(part).cast("B")
        for offset in range(0, view.nbytes, _ONE_WRITE_BYTES):
            piece = view[offset : offset + _ONE_WRITE_BYTES]
            await send({"type": "http.response.body", "body": piece, "more_body": True})
