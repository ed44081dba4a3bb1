"""The edge to httpx2: its errors become ours, in one place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import httpx2

from blindai.client.calls import Reply
from blindai.errors import ResponseError, UnreachableError
from blindai.transport.origin import Origin

CONNECT_TIMEOUT_SECONDS = 10.0


def headers(api_key: str | None) -> dict[str, str]:
    return {} if api_key is None else {"Authorization": f"Bearer {api_key}"}


def timeout(seconds: float) -> httpx2.Timeout:
    """`seconds` bounds each wait for the server; connecting has its own, shorter bound."""
    return httpx2.Timeout(seconds, connect=min(seconds, CONNECT_TIMEOUT_SECONDS))


def reply(status: int, received: Mapping[str, str], body: bytes) -> Reply:
    return Reply(status, {name.lower(): value for name, value in received.items()}, body)


@contextmanager
def translated(origin: Origin) -> Iterator[None]:
    """Raise UnreachableError or ResponseError for whatever httpx2 raises about the network."""
    try:
        yield
    except httpx2.ConnectTimeout as exc:
        raise UnreachableError(f"{origin.url} did not accept the connection in time") from exc
    except httpx2.TimeoutException as exc:
        raise UnreachableError(
            f"{origin.url} did not answer in time", hint="raise timeout_seconds if the model is this slow"
        ) from exc
    except httpx2.RemoteProtocolError as exc:
        raise ResponseError(f"{origin.url} broke off its response or sent none") from exc
    except httpx2.TransportError as exc:
        raise UnreachableError(
            f"cannot reach {origin.url}: {exc}", hint="is the server running there? blindai serve --help"
        ) from exc
