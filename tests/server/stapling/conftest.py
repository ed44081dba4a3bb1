"""Machines with a vendor in this process, and where their collateral is kept."""

from __future__ import annotations

import pytest

from blindai.testing import FakeTdx
from blindai.transport.collateral import intel
from tests.transport.collateral import services


@pytest.fixture
def machine():
    """A TDX machine. What its vendor publishes grows newer in the course of a test."""
    return FakeTdx()


@pytest.fixture
def platform(machine):
    return intel.platform_of(machine.evidence(bytes(64)).value)


@pytest.fixture
def pcs(machine, platform):
    """A PCCS that knows the machine."""
    with services.running(pccs_routes(machine, platform)) as service:
        yield service


@pytest.fixture
def ca_file(machine, tmp_path):
    """One certificate: loading the system's takes longer than most tests."""
    path = tmp_path / "ca.pem"
    path.write_text(machine.root_pem)
    return str(path)


def pccs_routes(machine, platform):
    """Return a PCCS's answers: those of a PCS, and its own copy of the root CRL."""
    routes = services.pcs_routes(machine.collateral()["intel"], platform)
    routes["/sgx/certification/v4/rootcacrl"] = routes.pop("/IntelSGXRootCA.der")
    return routes
