"""The attested transport by itself, for clients that are built on httpx2.

    httpx2.Client(transport=blindai.attested_transport("host:9924", policy="policy.toml"))

Give such a client no `mounts=`: httpx2 would send the requests they match around this transport.
"""

from __future__ import annotations

from blindai.client.demands import PathLike, PolicyLike, demands
from blindai.client.floors import FloorsLike
from blindai.transport.aio import AsyncAttestedTransport
from blindai.transport.sync import AttestedTransport


def attested_transport(
    address: str,
    *,
    policy: PolicyLike | None = None,
    certificate: PathLike | None = None,
    simulation: bool | PathLike = False,
    proxy: str | None = None,
    floors: FloorsLike = True,
) -> AttestedTransport:
    """Return an httpx2 transport that attests every connection; arguments are those of `connect`."""
    wanted = demands(
        address, policy=policy, certificate=certificate, simulation=simulation, proxy=proxy, floors=floors
    )
    return AttestedTransport(wanted, proxy=proxy)


def async_attested_transport(
    address: str,
    *,
    policy: PolicyLike | None = None,
    certificate: PathLike | None = None,
    simulation: bool | PathLike = False,
    proxy: str | None = None,
    floors: FloorsLike = True,
) -> AsyncAttestedTransport:
    """Return an httpx2 async transport that attests every connection; arguments are those of `connect`."""
    wanted = demands(
        address, policy=policy, certificate=certificate, simulation=simulation, proxy=proxy, floors=floors
    )
    return AsyncAttestedTransport(wanted, proxy=proxy)
