"""HTTP to a vendor's service, with limits: on size, on time, and on how often it is asked.

What is fetched is signed, so TLS is not what makes it true; it keeps an API key and a machine's identity
from listeners. No environment variable is heeded, no redirect followed. An URL may hold a hardware
identifier and an answer may hold anything: neither is ever shown.
"""

from __future__ import annotations

import email.utils
import math
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import anyio
import httpx2

from blindai.errors import UnreachableError, UsageError
from blindai.transport.collateral.cache import Cache
from blindai.transport.collateral.piece import Answer, Request
from blindai.transport.origin import is_loopback

# The headers that carry data: chains of certificates, URL-encoded.
DATA_HEADERS = frozenset(
    {
        "tcb-info-issuer-chain",
        "sgx-tcb-info-issuer-chain",
        "sgx-enclave-identity-issuer-chain",
        "sgx-pck-crl-issuer-chain",
    }
)
_BUSY = frozenset({429, 503})


@dataclass(frozen=True)
class Limits:
    """Bounds on all requests of a command together, on each answer, and on patience with a busy service."""

    timeout_seconds: float = 60.0
    answer_bytes: int = 256 * 1024
    attempts: int = 5
    pause_seconds: float = 2.0  # before the second attempt; doubled before each further one


def service_url(text: str) -> str:
    """Return the URL of a service without its last slash, or raise UsageError.

    Plain http is for a service on this machine.
    """
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as exc:
        raise UsageError("the service's URL cannot be read") from exc
    host = parts.hostname or ""
    if not host or not text.isascii() or not text.isprintable() or " " in text or port == 0:
        raise UsageError("the service's URL cannot be read", hint="e.g. https://pccs.example.org:8081")
    if parts.username is not None or parts.query or parts.fragment:
        raise UsageError("the service's URL has more than a host, a port and a path")
    if parts.scheme != "https" and not (
        parts.scheme == "http" and (host == "localhost" or is_loopback(host))
    ):
        raise UsageError("the service's URL is not https", hint="plain http is for a service on this machine")
    return text.rstrip("/")


class Source:
    """Asks services, one request at a time. Call it under a deadline (`anyio.fail_after`)."""

    def __init__(
        self,
        *,
        say: Callable[[str], None],
        limits: Limits | None = None,
        ca_file: str | None = None,
        cache: Cache | None = None,
    ) -> None:
        self._limits = limits or Limits()
        self._cache = cache
        self._say = say
        # The transport and not a client: a client logs every URL.
        self._transport = httpx2.AsyncHTTPTransport(verify=trusted_by(ca_file), trust_env=False)
        self._asked: dict[str, float] = {}

    async def __aenter__(self) -> Self:
        await self._transport.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._transport.__aexit__(kind, exc, trace)

    async def get(self, request: Request) -> Answer:
        """Return the answer of a service that is ready to give one, or raise Unreachable- or UsageError."""
        origin = _origin(request.url)
        for attempt in range(self._limits.attempts):
            await self._pace(origin, request.interval_seconds)
            status, headers, body = await self._exchange(request, origin)
            if status not in _BUSY:
                _check_status(status, request.what, origin)
                return Answer(body, _data_headers(headers, origin), int(time.time()))
            if attempt + 1 < self._limits.attempts:
                pause = self._limits.pause_seconds * 2**attempt
                await self._wait(max(pause, _retry_after(headers)), origin)
        raise UnreachableError(
            f"{origin} is busy: refused {self._limits.attempts} times", hint="try again in some minutes"
        )

    async def _pace(self, origin: str, interval: float) -> None:
        """Wait until `interval` seconds have passed since this or another process asked `origin`."""
        since = anyio.current_time() - self._asked.get(origin, -math.inf)
        if self._cache is not None and interval:
            since = min(since, self._cache.seconds_since_asked(origin))
        await anyio.sleep(max(0.0, interval - since))
        self._asked[origin] = anyio.current_time()
        if self._cache is not None and interval:
            self._cache.note_asked(origin)

    async def _wait(self, seconds: float, origin: str) -> None:
        left = anyio.current_effective_deadline() - anyio.current_time()
        if seconds >= left:
            raise UnreachableError(
                f"{origin} is busy for {seconds:.0f} s, longer than the time that is left",
                hint="try again later, or raise --timeout",
            )
        self._say(f"{origin} is busy: waiting {seconds:.0f} s")
        await anyio.sleep(seconds)

    async def _exchange(self, request: Request, origin: str) -> tuple[int, httpx2.Headers, bytes]:
        try:
            sent = httpx2.Request(
                "GET", request.url, headers={"Accept-Encoding": "identity", **request.headers}
            )
            response = await self._transport.handle_async_request(sent)
            try:
                return response.status_code, response.headers, await self._body(response, origin)
            finally:
                await response.aclose()
        except (httpx2.LocalProtocolError, httpx2.InvalidURL):
            # Not chained: the library's text holds what it refused.
            raise UsageError("the request cannot be sent: HTTP does not allow it as it is") from None
        except httpx2.RemoteProtocolError as exc:
            raise UnreachableError(f"{origin} does not answer in HTTP") from exc
        except httpx2.TransportError as exc:
            raise UnreachableError(
                f"cannot reach {origin}: {exc}",
                hint="for a certificate of one's own authority: --tls-ca FILE"
                if "CERTIFICATE" in str(exc)
                else "collateral can be fetched on another machine and copied: --out FILE",
            ) from exc

    async def _body(self, response: httpx2.Response, origin: str) -> bytes:
        if response.status_code in _BUSY:
            return b""
        if "content-encoding" in response.headers:
            # Undoing a compression that was not asked for would let a small answer grow without bound.
            raise UnreachableError(f"{origin} compressed its answer unasked")
        body = bytearray()
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > self._limits.answer_bytes:
                raise UnreachableError(f"{origin} sent more than {self._limits.answer_bytes} bytes")
        return bytes(body)


def trusted_by(ca_file: str | None) -> ssl.SSLContext:
    """Return a context for TLS that trusts these certificates (PEM), or the system's. Raises UsageError."""
    if ca_file is None:
        context = httpx2.create_ssl_context(trust_env=False)
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            context.load_verify_locations(cafile=ca_file)
        except OSError as exc:  # ssl.SSLError is one
            raise UsageError(f"cannot read certificates (PEM) from {ca_file}") from exc
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _check_status(status: int, what: str, origin: str) -> None:
    if status == 200:
        return
    if status in (401, 403):
        raise UsageError(f"{origin} does not give {what} to everybody ({status})", hint="--api-key-file FILE")
    if status in (400, 404):
        raise UsageError(
            f"{origin} does not have {what} for this machine ({status})",
            hint="check the machine's values; is --url the service's address?",
        )
    if 300 <= status < 400:
        raise UnreachableError(
            f"{origin} points elsewhere ({status}), which is not followed", hint="give the final --url"
        )
    raise UnreachableError(f"{origin} failed to give {what} ({status})", hint="try again later")


def _data_headers(headers: httpx2.Headers, origin: str) -> dict[str, str]:
    pairs = [(name.lower(), value) for name, value in headers.multi_items() if name.lower() in DATA_HEADERS]
    if len(dict(pairs)) != len(pairs):
        raise UnreachableError(f"{origin} sent a chain of certificates twice")
    return dict(pairs)


def _retry_after(headers: httpx2.Headers) -> float:
    """Read Retry-After, seconds or a date; 0 if it is neither."""
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return 0.0


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
