"""Shared by the server's tests: one server per test process for all that need nothing special."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from blindai.store.store import Store
from tests import models
from tests.server.house import House, house
from tests.server.owners import CALLERS, KEY, NARROW
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


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the store of a test is."""
    return tmp_path / "store"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    with Store.open(path, KEY) as opened:
        yield opened


@pytest.fixture
def sealed(store: Store) -> Iterator[House]:
    """A server in this process, with the callers of `owners` and a store."""
    with house(store, callers=CALLERS, **NARROW) as made:
        yield made


@pytest.fixture(params=["memory", "sealed"])
def owned(request: pytest.FixtureRequest) -> Iterator[House]:
    """The same, with models in memory and in a store."""
    if request.param == "sealed":
        yield request.getfixturevalue("sealed")
        return
    with house(callers=CALLERS, **NARROW) as made:
        yield made


@pytest.fixture
async def owning(owned: House) -> House:
    """The same, with a private model of alice's."""
    assert (await owned.upload("m", models.identity(), who="alice")).status == 201
    return owned
