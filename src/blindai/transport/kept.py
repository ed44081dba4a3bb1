"""A connection that was attested before there was a request: it serves the first one.

httpcore2's pool dials when a request needs a connection. Its network backend then hands it this one.
"""

from __future__ import annotations

from typing import Any

import httpcore2


class KeptStream(httpcore2.NetworkStream):
    """An attested stream, given to the pool as if it were about to be attested."""

    def __init__(self, attested: httpcore2.NetworkStream) -> None:
        self._attested = attested

    def start_tls(self, *_: Any, **__: Any) -> httpcore2.NetworkStream:
        return self._attested

    def close(self) -> None:
        self._attested.close()


class AsyncKeptStream(httpcore2.AsyncNetworkStream):
    """As `KeptStream`."""

    def __init__(self, attested: httpcore2.AsyncNetworkStream) -> None:
        self._attested = attested

    async def start_tls(self, *_: Any, **__: Any) -> httpcore2.AsyncNetworkStream:
        return self._attested

    async def aclose(self) -> None:
        await self._attested.aclose()
