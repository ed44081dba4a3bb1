"""Verify, and do nothing else: a server that answers now, or a bundle of what one answered once.

Both are judged by the same code, under the same demands, with the same verdict at the same time. A live
server proves that it answers now; a bundle proves what its evidence says, at the time that is asked about.
"""

from __future__ import annotations

import datetime
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from blindai.attestation.policy import Policy
from blindai.attestation.trust import Trust
from blindai.attestation.types import Floor
from blindai.attestation.verdict import Verdict
from blindai.channel import handshake, refusal
from blindai.channel.bundle import MAX_BUNDLE_BYTES, Bundle
from blindai.client import http
from blindai.client.demands import PathLike, PolicyLike, demands, kept_floors, policy_and_trust
from blindai.client.floors import FloorsLike
from blindai.errors import AttestationError, UsageError
from blindai.transport.session import DEFAULT_ATTESTATION_TIMEOUT_SECONDS, Demands
from blindai.transport.sync import AttestedTransport

BUNDLE_SUFFIX = ".json"
_YEAR_10000 = 253_402_300_800

Source = str | os.PathLike[str] | Bundle
Moment = int | float | datetime.datetime


@dataclass(frozen=True)
class Judged:
    """A verdict, the refusal that it ends in if it is none, and what was received, if something was."""

    verdict: Verdict
    bundle: Bundle | None
    refusal: AttestationError | None = None


def verify(
    source: Source,
    *,
    policy: PolicyLike | None = None,
    certificate: PathLike | None = None,
    simulation: bool | PathLike = False,
    at: Moment | None = None,
    floors: FloorsLike | None = None,
    attestation_timeout_seconds: float = DEFAULT_ATTESTATION_TIMEOUT_SECONDS,
) -> Verdict:
    """Verify a server or a bundle and return the verdict, which is an accepted one.

    source: an address as `connect` takes it; or a bundle: a `Bundle`, a path object, or a string that ends
        in `.json`. What files exist does not matter: a host whose name ends so is given with its port.
    policy, certificate, simulation: as for `connect`. A bundle of a simulation needs its root named.
    at: when a bundle is judged: Unix seconds or a datetime with a zone; now by default. Not for an address.
    floors: as for `connect`. A bundle is compared with none by default, being older than what was seen
        since, and raises none.

    An address is dialled, attested and left: no request is sent. For a bundle no network is used.

    Raises AttestationError, whose `verdict` lists what failed, if the source is not what the policy
    demands; UnreachableError if there is nobody; UsageError for arguments that do not make sense.
    """
    judged = judge(
        source,
        policy=policy,
        certificate=certificate,
        simulation=simulation,
        at=at,
        floors=floors,
        attestation_timeout_seconds=attestation_timeout_seconds,
    )
    if judged.refusal is not None:
        raise judged.refusal
    return judged.verdict


def judge(
    source: Source,
    *,
    policy: PolicyLike | None,
    certificate: PathLike | None,
    simulation: bool | PathLike,
    at: Moment | None,
    floors: FloorsLike | None,
    attestation_timeout_seconds: float,
) -> Judged:
    """As `verify`, for callers who also want what was received: a refusal is returned, not raised."""
    if isinstance(source, str) and not source.endswith(BUNDLE_SUFFIX):
        if at is not None:
            raise UsageError("a server is judged now: at= is for a bundle", hint="save one, then verify it")
        wanted = demands(
            source,
            policy=policy,
            certificate=certificate,
            simulation=simulation,
            floors=True if floors is None else floors,
            attestation_timeout_seconds=attestation_timeout_seconds,
        )
        return _judge_server(wanted)
    if simulation is True:
        raise UsageError(
            "simulation=True trusts whatever root is stapled: for a server on this machine, not for a file",
            hint="name the root: simulation=FINGERPRINT (Python), --simulation-root FINGERPRINT (command "
            "line); `blindai serve --simulation` prints it, and so does the verdict's trust_anchor line",
        )
    accepted, trust = policy_and_trust(policy=policy, certificate=certificate, simulation=simulation)
    kept = kept_floors(False if floors is None else floors, trust)
    return _judge_bundle(source, accepted, trust, {} if kept is None else kept.load(), _unix_seconds(at))


def _judge_server(wanted: Demands) -> Judged:
    transport = AttestedTransport(wanted)
    timeout = min(wanted.timeout_seconds, http.CONNECT_TIMEOUT_SECONDS)
    try:
        with http.translated(wanted.origin):
            attested = transport.attest(connect_timeout_seconds=timeout)
    except AttestationError as error:
        return _refused(error, transport.session.bundle)
    finally:
        transport.close()
    return Judged(attested.verdict, transport.session.bundle)


def _judge_bundle(
    source: Source, policy: Policy, trust: Trust, floors: Mapping[str, Floor], now: int
) -> Judged:
    bundle = None
    try:
        with refusal.with_verdict(policy, now):
            bundle = source if isinstance(source, Bundle) else Bundle.parse(_read(source))
            attested = handshake.conclude(bundle, policy=policy, trust=trust, floors=floors, now=now)
    except AttestationError as error:
        return _refused(error, bundle)
    return Judged(attested.verdict, bundle)


def _refused(error: AttestationError, bundle: Bundle | None) -> Judged:
    if error.verdict is None:
        raise error  # every path explains its refusals; without a verdict there is nothing to return
    return Judged(error.verdict, bundle, error)


def _read(path: PathLike) -> bytes:
    try:
        with Path(path).open("rb") as file:
            return file.read(MAX_BUNDLE_BYTES + 1)  # one more than allowed, so that it is refused
    except OSError as exc:
        raise UsageError(
            f"cannot read the bundle: {os.fspath(path)}: {exc.strerror}",
            hint="a host whose name ends in .json is given with its port",
        ) from exc


def _unix_seconds(at: Moment | None) -> int:
    if at is None:
        return int(time.time())
    if isinstance(at, datetime.datetime):
        if at.tzinfo is None:
            raise UsageError("at= is a time without a zone", hint="e.g. datetime.now(datetime.UTC)")
        at = at.timestamp()
    if isinstance(at, bool) or not 0 <= at < _YEAR_10000:
        raise UsageError("at= is no time: Unix seconds, or a datetime with a zone")
    return int(at)
