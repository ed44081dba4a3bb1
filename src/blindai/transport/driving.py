"""Runs what is said without I/O (`handshake.Exchange`) over a stream, in both colours."""

from __future__ import annotations

import ssl
import time

import anyio
import httpcore2

from blindai.channel import handshake
from blindai.errors import UnreachableError
from blindai.transport.session import Session


def drive(
    exchange: handshake.Exchange, stream: httpcore2.NetworkStream, deadline: float, session: Session
) -> bytes:
    """Run the exchange over a stream within one total deadline, however slowly the peer drips."""
    received: bytes | None = None
    try:
        while True:
            step = exchange.send(received)
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                raise session.too_slow()
            if isinstance(step, handshake.Send):
                stream.write(step.data, remaining)
                received = None
            else:
                received = stream.read(step.max_bytes, remaining)
    except StopIteration as done:
        body: bytes = done.value
        return body
    except httpcore2.TimeoutException as exc:
        raise session.too_slow() from exc
    except httpcore2.NetworkError as exc:
        raise UnreachableError("the connection broke while the server gave evidence") from exc


async def adrive(exchange: handshake.Exchange, stream: httpcore2.AsyncNetworkStream) -> bytes:
    """As `drive`; the caller's cancel scope is the deadline."""
    received: bytes | None = None
    try:
        while True:
            step = exchange.send(received)
            if isinstance(step, handshake.Send):
                await stream.write(step.data)
                received = None
            else:
                received = await stream.read(step.max_bytes)
    except StopIteration as done:
        body: bytes = done.value
        return body
    except (httpcore2.NetworkError, ssl.SSLError) as exc:
        raise UnreachableError("the connection broke while the server gave evidence") from exc


async def close_shielded(stream: httpcore2.AsyncNetworkStream) -> None:
    """Close it, also where the caller is being cancelled: it must not stay open."""
    with anyio.CancelScope(shield=True):
        await stream.aclose()
