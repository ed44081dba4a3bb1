"""A simulated Intel machine, its PCS, and an operator with an empty cache."""

from __future__ import annotations

import anyio
import pytest

from blindai.transport.collateral import intel
from tests.transport.collateral import services


@pytest.fixture(scope="session")
def platform(tdx):
    """What the simulated machine's collateral is published by."""
    return intel.platform_of(tdx.evidence(bytes(64)).value)


@pytest.fixture
def pcs(tdx, platform):
    """A PCS that knows the simulated machine, and is its certificates host too."""
    with services.running(services.pcs_routes(tdx.collateral()["intel"], platform)) as service:
        yield service


@pytest.fixture(scope="session")
def ca_file(tdx, tmp_path_factory):
    """One certificate: loading the system's takes longer than most tests."""
    path = tmp_path_factory.mktemp("tls") / "ca.pem"
    path.write_text(tdx.root_pem)
    return str(path)


@pytest.fixture
def operator(tmp_path, ca_file):
    """Who fetches, with a cache that does not exist yet."""
    return services.Operator(tmp_path / "cache" / "collateral", ca_file)


@pytest.fixture
def server(tmp_path, ca_file, tdx):
    """A server that staples, with a cache that does not exist yet."""
    return services.Server(tmp_path / "cache" / "collateral", ca_file, tdx)


@pytest.fixture
def slept(monkeypatch):
    """The pauses that were made, in seconds: they are noted, and not waited for."""
    pauses = []

    async def sleep(seconds):
        pauses.append(seconds)

    monkeypatch.setattr(anyio, "sleep", sleep)
    return pauses
