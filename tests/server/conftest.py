"""Shared by the server's tests: one server per test process for all that need nothing special."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import models
from tests.serving import RunningServer, running_server

MODELS = {
    "identity": models.identity(),
    "strings": models.identity("BYTES"),
    "bfloat": models.identity("BF16"),
    "adder": models.adder(),
    "mlp": models.mlp(),
    "two": models.two_outputs(),
    "failing": models.failing(),
    "slow": models.slow(),
}


@pytest.fixture(scope="session")
def server() -> Iterator[RunningServer]:
    """A server with `MODELS`. Tests that use it leave those models alone."""
    with running_server() as running:
        for name, model in MODELS.items():
            assert running.upload(name, model).status == 201
        yield running
