"""SIGHUP: what of the settings and files takes effect without a restart, and the new keys that go with it.

All of it or nothing: what does not load changes nothing, and the server goes on as it was. What the keyset
promises never changes by this, only with a restart: a client that demanded it was told so under these keys.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Awaitable, Callable

from blindai.errors import BlindAIError, UsageError
from blindai.server.settings import Settings
from blindai.server.settings.tables import KEYS
from blindai.server.threads import BoundedThreads, QueueFull
from blindai.server.watch.crashes import described
from blindai.server.who_may import is_open

TAKES_EFFECT = frozenset(
    {
        "names",
        "callers",
        "jwt",
        "published_policy",
        "tls_dir",
        "keyset_life_seconds",
        "keyset_rotation_seconds",
        "log_level",
    }
)
"""Fields of the settings. Files that they name are read again though the settings stay the same."""

_MOST_SECONDS = 30.0
_NAMES = {key.field: key.dotted for key in KEYS}

_log = logging.getLogger("blindai.server")

Load = Callable[[], Settings]
Apply = Callable[[Settings], Callable[[], None]]
"""Prepares everything that new settings change, or raises; what it returns makes the change."""


class Reload:
    """`load` reads the settings, `apply` prepares them; then `rotate` makes new keys, and never raises."""

    def __init__(
        self, current: Settings, load: Load, apply: Apply, rotate: Callable[[], Awaitable[None]]
    ) -> None:
        self._current = current
        self._load = load
        self._apply = apply
        self._rotate = rotate
        # Not asyncio's own: a file that never gives its bytes would hold up the process's end.
        self._thread = BoundedThreads("blindai-reload", threads=1, max_waiting=0)
        self._task: asyncio.Task[None] | None = None
        self._again = False

    def __call__(self) -> None:
        """Begin to reload. While one is running, the next waits: the files may have changed since."""
        if self._task is not None and not self._task.done():
            self._again = True
            return
        self._task = asyncio.get_running_loop().create_task(self._run())

    def close(self) -> None:
        """End the thread, after what it is doing. Does not wait."""
        self._thread.close()

    async def _run(self) -> None:
        while True:
            self._again = False
            try:
                await self._once()
            except BlindAIError as exc:
                hint = f" ({exc.hint})" if exc.hint else ""
                _log.error("not reloaded, and going on as before: %s%s", str(exc), hint)  # noqa: TRY400
            except Exception as exc:  # noqa: BLE001 - the boundary: no mistake in a file may end the server
                _log.error("not reloaded, and going on as before: %s", described(exc))  # noqa: TRY400
            if not self._again:
                return

    async def _once(self) -> None:
        try:
            async with asyncio.timeout(_MOST_SECONDS):
                wanted = await self._thread.run(self._load)
                merged = merge(self._current, wanted)
                commit = await self._thread.run(lambda: self._apply(merged))
        except (TimeoutError, QueueFull) as exc:
            raise UsageError("a file of the settings cannot be read to its end") from exc
        waiting = needs_restart(self._current, wanted)
        commit()
        self._current = merged
        for name in waiting:
            _log.warning("reloaded, but a change of %s needs a restart", name)
        _log.info("reloaded")
        await self._rotate()


def merge(current: Settings, wanted: Settings) -> Settings:
    """Return the settings of now with what takes effect of the ones wanted. Raises UsageError."""
    # The keys promise who may upload.
    if is_open(wanted) and not is_open(current):
        raise UsageError(
            "the last caller was taken out, and nobody else is left who may call: the callers of before are "
            "still accepted until a restart",
            hint="put another caller in its place and send SIGHUP again, or stop the server",
        )
    if is_open(current) and not is_open(wanted):
        raise UsageError(
            "there are callers now, and the server was started open to everybody",
            hint="it stays so until it is restarted",
        )
    return dataclasses.replace(current, **{name: getattr(wanted, name) for name in TAKES_EFFECT})


def needs_restart(current: Settings, wanted: Settings) -> tuple[str, ...]:
    """Return what differs and takes no effect, by the keys' names in the file."""
    return tuple(
        _NAMES.get(field.name, field.name)
        for field in dataclasses.fields(Settings)
        if field.name not in TAKES_EFFECT and getattr(current, field.name) != getattr(wanted, field.name)
    )
