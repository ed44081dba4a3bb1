"""Reading addresses, and what counts as this machine."""

from __future__ import annotations

import time

import httpx2
import pytest

from blindai.attestation.trust import StapledSimulationTrust
from blindai.errors import EvidenceRejected, Reason, UsageError
from blindai.transport.framing import check_request
from blindai.transport.origin import Origin, is_loopback, parse_origin
from blindai.transport.session import Demands, Session


@pytest.mark.parametrize(
    ("address", "origin"),
    [
        ("localhost", Origin("localhost", 9924)),
        ("Inference.Example.ORG:443", Origin("inference.example.org", 443)),
        ("https://inference.example.org", Origin("inference.example.org", 9924)),
        ("https://localhost:1/", Origin("localhost", 1)),
        ("[::1]:99", Origin("::1", 99)),
        ("[0:0:0:0:0:0:0:1]", Origin("::1", 9924)),
        ("example.org.", Origin("example.org", 9924)),
    ],
)
def test_addresses(address, origin):
    """Hosts are canonical and the port defaults to 9924."""
    assert parse_origin(address) == origin


@pytest.mark.parametrize(
    "address",
    [
        "http://localhost",
        "ftp://x",
        "",
        "a b",
        "host:0",
        "host:65536",
        "https://host/path",
        "u@host",
        "[::zz]",
    ],
)
def test_addresses_that_are_refused(address):
    """Anything else is a usage error, plain HTTP above all."""
    with pytest.raises(UsageError):
        parse_origin(address)


def test_the_url_of_an_ipv6_origin_is_recognised():
    """An origin accepts the requests that are made from its own URL, also with IPv6 brackets."""
    for origin in (Origin("::1", 99), Origin("localhost", 9924)):
        check_request(httpx2.Request("GET", f"{origin.url}/v2"), origin)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1"])
def test_loopback(address):
    """All of 127/8, ::1 and its IPv4-mapped form are this machine."""
    assert is_loopback(address)


@pytest.mark.parametrize("address", ["10.0.0.1", "::2", "localhost", "", "0.0.0.0", "::ffff:10.0.0.1"])
def test_not_loopback(address):
    """Everything else is not, names included: only a connected address counts."""
    assert not is_loopback(address)


@pytest.mark.parametrize("address", [("192.0.2.1", 9924), None, "/socket"])
def test_a_stapled_root_from_elsewhere_is_refused(address):
    """simulation=True is refused for an address that is not this machine, before anything is sent."""
    demands = Demands(Origin("x", 1), policy=None, trust=StapledSimulationTrust(), clock=time.time)
    with pytest.raises(EvidenceRejected) as refusal:
        Session(demands).check_address({"server_addr": address}.get)
    assert refusal.value.reason is Reason.SIMULATION_MISMATCH
    Session(demands).check_address({"server_addr": ("127.0.0.1", 9924)}.get)
