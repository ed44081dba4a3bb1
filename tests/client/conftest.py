"""Shared by the client's tests: one real server for the module, and clients of both colours."""

from __future__ import annotations

import asyncio
import inspect

import pytest

import blindai
from tests.serving import running_server


@pytest.fixture(scope="module")
def server():
    """A real, simulated server process."""
    with running_server() as running:
        yield running


@pytest.fixture(scope="module")
def root(server, tmp_path_factory):
    """The simulation's root certificate as a file, as `blindai serve --save-root` leaves it."""
    path = tmp_path_factory.mktemp("root") / "root.pem"
    path.write_text(server.ready["root_pem"])
    return path


@pytest.fixture(params=["sync", "async"])
def client(request, server, root):
    """A connected client; the asynchronous one is driven from here, so that tests read the same."""
    if request.param == "sync":
        with blindai.connect(server.address, simulation=root) as connected:
            yield connected
        return
    with asyncio.Runner() as runner:
        connected = runner.run(blindai.aconnect(server.address, simulation=root))
        yield _Driven(connected, runner)
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
