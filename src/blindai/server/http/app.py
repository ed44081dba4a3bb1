"""The ASGI application: from a request to one response, and every error in one form."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from blindai.channel import answer
from blindai.errors import RequestCode, RequestError
from blindai.server.callers.caller import ANYBODY
from blindai.server.callers.tokens import TokenRefused
from blindai.server.http.body import Body, ClientGone, Pace, Receive
from blindai.server.http.exchange import Notes, Request, Response
from blindai.server.http.gate import Gate
from blindai.server.http.receipts import Witness
from blindai.server.http.refusal import error_response
from blindai.server.http.routing import MethodNotAllowed, Router
from blindai.server.keys.identity import Identity
from blindai.server.watch.crashes import described
from blindai.server.watch.finished import Finished

Scope = dict[str, Any]
Send = Callable[[Any], Awaitable[None]]

EXTENSION = "blindai"  # scope["extensions"][EXTENSION] is the Identity of the connection

_DISCARD_BYTES = (
    256 * 1024
)  # what is left of a refused body, if it is not more, is read to keep the connection
_ONE_WRITE_BYTES = 256 * 1024
_CLIENT_GONE = 499  # in logs and metrics only: nobody was there to read a status

_log = logging.getLogger("blindai.server")


class App:
    """Answers HTTP requests by way of `router`, for those whom `gate` admits. Never raises for what a client
    sends. `finished` is told of every request, when its answer has left or its client has gone. `engine` is
    what receipts call the engine. Connections of an identity that is `retired` end after their next answer.
    """

    def __init__(
        self,
        router: Router,
        gate: Gate,
        *,
        pace: Pace,
        linger_seconds: float,
        engine: str,
        finished: Callable[[Finished], None],
        retired: Callable[[Identity], bool],
    ) -> None:
        self._router = router
        self._gate = gate
        self._pace = pace
        self._linger_seconds = linger_seconds
        self._engine = engine
        self._finished = finished
        self._retired = retired

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        call = _Call(scope)
        try:
            call.body = Body(receive, scope["headers"], self._pace)
            response = call.answered(await self._respond(call))
            call.body.release()  # nobody needs the request any more, however long the answer takes to leave
            await self._send(call, response, self._paced(send))
        except RequestError as exc:  # the framing itself is not clear: nothing after it can be trusted
            await _start(send, response := call.answered(error_response(exc)), close=True)
            await _finish(send, response)
        except ClientGone:
            return
        finally:
            if call.body is not None:
                call.body.release()
            self._finished(call.finished())

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

    async def _respond(self, call: _Call) -> Response:
        """Return the response, with its receipt if one was asked for."""
        scope, body = call.scope, call.body
        assert body is not None  # noqa: S101 - made just before
        identity: Identity = scope["extensions"][EXTENSION]
        try:
            witness = Witness.of(scope["method"], scope["raw_path"], scope["headers"], body)
        except RequestError as exc:
            return error_response(exc)
        response = await self._handled(call, body, identity)
        # What is left of a refused body is read before the receipt is signed, which is about all of it.
        if not body.complete and not _nothing_comes(body) and _is_short(body):
            await body.discard(max_bytes=_DISCARD_BYTES, seconds=self._linger_seconds)
        if witness is None:
            return response
        try:
            signed = await witness.sign(response, call.notes, identity, engine=self._engine)
        except Exception as exc:  # noqa: BLE001 - the boundary: who asks for a receipt gets no answer without
            return _internal_error(exc, call.request_id)
        return replace(response, headers=(*response.headers, signed))

    async def _handled(self, call: _Call, body: Body, identity: Identity) -> Response:
        scope = call.scope
        try:
            match = self._router.match(scope["method"], scope["raw_path"])
            call.route = match.route.pattern
            caller = ANYBODY if match.route.open else self._gate.admit(scope["headers"])
            call.role = caller.role.value if caller is not ANYBODY else ""
            request = Request(
                method=scope["method"],
                query=scope["query_string"],
                headers=scope["headers"],
                body=body,
                identity=identity,
                caller=caller,
                notes=call.notes,
                parameters=match.parameters,
            )
            _check_encoding(request)
            return await match.route.handler(request)
        except MethodNotAllowed as exc:
            return error_response(exc, ((b"allow", ", ".join(exc.allowed).encode("ascii")),))
        except RequestError as exc:
            if isinstance(exc.__cause__, TokenRefused):  # in words of ours, for whoever set up the issuer
                _log.info("request %s: a token was refused: %s", call.request_id, exc.__cause__)
            return error_response(exc)
        except ClientGone:
            raise
        except Exception as exc:  # noqa: BLE001 - the boundary: a bug of ours must not show a stack trace
            return _internal_error(exc, call.request_id)

    async def _send(self, call: _Call, response: Response, send: Send) -> None:
        """Send the response; if the body was not read to its end, do what lets the client see it anyway."""
        body = call.body
        assert body is not None  # noqa: S101
        if body.complete:
            await _start(send, response, close=self._is_last(call))
            await _finish(send, response)
            return
        await _start(send, response, close=True)
        await _parts(send, response)
        if not _nothing_comes(body):
            # The whole response is out. Only now the rest is awaited, and dropped.
            await body.discard(max_bytes=2**63, seconds=self._linger_seconds)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _is_last(self, call: _Call) -> bool:
        """Whether the connection ends with this answer. Never with evidence, after which a request comes."""
        return call.route != answer.PATH and self._retired(call.scope["extensions"][EXTENSION])


class _Call:
    """What becomes known of one request while it is answered."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.request_id = secrets.token_hex(8)
        self.route = ""
        self.role = ""
        self.notes = Notes()
        self.body: Body | None = None
        self._began = time.perf_counter()
        self._response: Response | None = None

    def answered(self, response: Response) -> Response:
        """Return the response under this request's id, by which its caller can ask the operator about it."""
        name = (b"x-request-id", self.request_id.encode("ascii"))
        self._response = replace(response, headers=(*response.headers, name))
        return self._response

    def finished(self) -> Finished:
        response, body = self._response, self.body
        return Finished(
            request_id=self.request_id,
            method=self.scope["method"],
            route=self.route,
            status=_CLIENT_GONE if response is None else response.status,
            code="" if response is None else response.code,
            seconds=time.perf_counter() - self._began,
            queue_seconds=self.notes.queue_seconds,
            request_bytes=0 if body is None else body.received_bytes,
            response_bytes=0 if response is None else response.size_bytes,
            model=self.notes.label,
            role=self.role,
        )


def _nothing_comes(body: Body) -> bool:
    return body.stalled or (body.expects_continue and not body.started)


def _is_short(body: Body) -> bool:
    return body.declared_bytes is not None and body.declared_bytes <= _DISCARD_BYTES


def _check_encoding(request: Request) -> None:
    encoding = request.header(b"content-encoding")
    if encoding not in (None, "", "identity"):
        raise RequestError(
            RequestCode.ENCODING_UNSUPPORTED,
            "compressed bodies are not taken: send the body as it is, without Content-Encoding",
        )


def _internal_error(exc: Exception, request_id: str) -> Response:
    _log.error("request %s failed: %s", request_id, described(exc))
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
