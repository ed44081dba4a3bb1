"""Clients of both colours under one hand, so that tests read the same."""

from __future__ import annotations

import asyncio
import contextlib
import inspect

import blindai


@contextlib.contextmanager
def driven(colour, address, **demands):
    """Connect the "sync" or the "async" client; the asynchronous one's methods run to their end."""
    if colour == "sync":
        with blindai.connect(address, **demands) as connected:
            yield connected
        return
    with asyncio.Runner() as runner:
        connected = runner.run(blindai.aconnect(address, **demands))
        try:
            yield _Driven(connected, runner)
        finally:
            runner.run(connected.aclose())


class _Driven:
    """An asynchronous client whose methods run to their end."""

    def __init__(self, client, runner):
        self._client = client
        self._runner = runner

    def __getattr__(self, name):
        value = getattr(self._client, name)
        if not inspect.iscoroutinefunction(value):
            return value
        return lambda *args, **kwargs: self._runner.run(value(*args, **kwargs))
