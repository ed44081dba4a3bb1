"""An event loop whose name lookups hold nobody up.

A lookup in the system's resolver cannot be ended, and takes as long as that is told to wait for name servers
that do not answer. asyncio makes it on a thread that the end of the loop, and of the process, waits for.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
import threading
from collections.abc import Callable
from typing import Any


class ImpatientLoop(asyncio.SelectorEventLoop):
    """Looks names up on threads that are left behind when nobody waits for them any more."""

    async def getaddrinfo(
        self,
        host: bytes | str | None,
        port: bytes | str | int | None,
        *,
        family: int = 0,
        type: int = 0,  # noqa: A002 - the base class's
        proto: int = 0,
        flags: int = 0,
    ) -> list[Any]:
        found: asyncio.Future[list[Any]] = self.create_future()
        look = functools.partial(socket.getaddrinfo, host, port, family, type, proto, flags)
        threading.Thread(target=self._look, args=(look, found), name="blindai-lookup", daemon=True).start()
        return await found

    def _look(self, look: Callable[[], list[Any]], found: asyncio.Future[list[Any]]) -> None:
        try:
            settle = functools.partial(found.set_result, look())
        except Exception as exc:  # noqa: BLE001 - carried over to who asked
            settle = functools.partial(found.set_exception, exc)
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            self.call_soon_threadsafe(lambda: None if found.done() else settle())
