"""Shared by the client's tests: one real server for the module, and clients of both colours."""

from __future__ import annotations

import pytest

from tests.client.driving import driven
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
    with driven(request.param, server.address, simulation=root) as connected:
        yield connected
