"""The attested transport by itself, for clients that are built on httpx2.

    httpx2.Client(transport=blindai.attested_transport("host:9924", policy="policy.toml"))

Give such a client no `mounts=`: httpx2 would send the requests they match around this transport.
"""

from __future__ import annotations

from blindai.client.demands import DEFAULT_ATTEMPTS, PathLike, PolicyLike, SimulationLike, demands
from blindai.client.floors import FloorsLike
from blindai.transport.aio import AsyncAttestedTransport
from blindai.transport.session import DEFAULT_ATTESTATION_TIMEOUT_SECONDS
from blindai.transport.sync import AttestedTransport


def attested_transport(  # noqa: PLR0913  those of `connect`
    address: str,
    *,
    policy: PolicyLike | None = None,
    certificate: PathLike | None = None,
    simulation: SimulationLike = False,
    attestation_timeout_seconds: float = DEFAULT_ATTESTATION_TIMEOUT_SECONDS,
    proxy: str | None = None,
    floors: FloorsLike = True,
    attempts: int = DEFAULT_ATTEMPTS,
) -> AttestedTransport:
    """Return an httpx2 transport that attests every connection; arguments are those of `connect`.

    Its `refused` lists the replicas that were passed over.
    """
    wanted = demands(
        address,
        policy=policy,
        certificate=certificate,
        simulation=simulation,
        floors=floors,
        attestation_timeout_seconds=attestation_timeout_seconds,
        proxy=proxy,
        attempts=attempts,
    )
    return AttestedTransport(wanted, proxy=proxy)


def async_attested_transport(  # noqa: PLR0913  those of `connect`
    address: str,
    *,
    policy: PolicyLike | None = None,
    certificate: PathLike | None = None,
    simulation: SimulationLike = False,
    attestation_timeout_seconds: float = DEFAULT_ATTESTATION_TIMEOUT_SECONDS,
    proxy: str | None = None,
    floors: FloorsLike = True,
    attempts: int = DEFAULT_ATTEMPTS,
) -> AsyncAttestedTransport:
    """Return an httpx2 async transport that attests every connection; arguments are those of `connect`."""
    wanted = demands(
        address,
        policy=policy,
        certificate=certificate,
        simulation=simulation,
        floors=floors,
        attestation_timeout_seconds=attestation_timeout_seconds,
        proxy=proxy,
        attempts=attempts,
    )
    return AsyncAttestedTransport(wanted, proxy=proxy)
