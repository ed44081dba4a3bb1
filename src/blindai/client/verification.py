"""Verify, and do nothing else: a server that answers now, or a bundle of what one answered once.

Both are judged by the same code, under the same demands, with the same verdict at the same time. A live
server proves that it answers now; a bundle proves what its evidence says, at the time that is asked about.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from blindai.attestation.policy import Policy
from blindai.attestation.trust import Trust
from blindai.attestation.types import Floor
from blindai.attestation.verdict import Verdict
from blindai.channel import handshake, refusal
from blindai.channel.bundle import MAX_BUNDLE_BYTES, Bundle
from blindai.client import http
from blindai.client.demands import (
    PathLike,
    PolicyLike,
    SimulationLike,
    demands,
    kept_floors,
    policy_and_trust,
)
from blindai.client.floors import FloorsLike
from blindai.client.moment import Moment, unix_seconds
from blindai.errors import AttestationError, BlindAIError, Reason, UnreachableError, UsageError
from blindai.transport.origin import parse_origin
from blindai.transport.session import DEFAULT_ATTESTATION_TIMEOUT_SECONDS, Demands
from blindai.transport.sync import AttestedTransport

BUNDLE_SUFFIX = ".json"
_ON_BUNDLES = f"a bundle is a file whose name ends in {BUNDLE_SUFFIX}"
_OUT_OF_TIME = frozenset(
    {
        Reason.CERTIFICATE_EXPIRED,
        Reason.CERTIFICATE_NOT_YET_VALID,
        Reason.COLLATERAL_EXPIRED,
        Reason.COLLATERAL_NOT_YET_VALID,
        Reason.CRL_EXPIRED,
        Reason.EVIDENCE_NOT_YET_VALID,
        Reason.EVIDENCE_STALE,
        Reason.KEYSET_EXPIRED,
        Reason.KEYSET_NOT_YET_VALID,
    }
)
_NAME_THE_ROOT = (
    "name the root: simulation=FINGERPRINT (Python), --simulation-root FINGERPRINT (command line); "
    "`blindai serve --simulation` prints it, and so does the verdict's trust_anchor line"
)

Source = str | os.PathLike[str] | Bundle


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
    simulation: SimulationLike = False,
    at: Moment | None = None,
    floors: FloorsLike | None = None,
    attestation_timeout_seconds: float = DEFAULT_ATTESTATION_TIMEOUT_SECONDS,
) -> Verdict:
    """Verify a server or a bundle and return the verdict, which is an accepted one.

    source: an address as `connect` takes it; or a bundle: a `Bundle`, a path object, or a string that ends
        in `.json`. What files exist does not matter: a host whose name ends so is given with its port.
    policy, certificate, simulation: as for `connect`. A bundle of a simulation needs its root named.
    at: when a bundle is judged: Unix seconds, a datetime with a zone, or a text as the command line's --at
        takes it ("2026-10-01T12:00:00Z"); now by default. Not for an address.
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
    simulation: SimulationLike,
    at: Moment | None,
    floors: FloorsLike | None,
    attestation_timeout_seconds: float,
) -> Judged:
    """As `verify`, for callers who also want what was received: a refusal is returned, not raised."""
    _check_source(source)
    if isinstance(source, str) and not source.endswith(BUNDLE_SUFFIX):
        if at is not None:
            raise UsageError(
                "a server is judged now: a time (--at, at=) is for a bundle", hint="save one, then verify it"
            )
        with _told_of_bundles(source):
            parse_origin(source)
        wanted = demands(
            source,
            policy=policy,
            certificate=certificate,
            simulation=simulation,
            floors=True if floors is None else floors,
            attestation_timeout_seconds=attestation_timeout_seconds,
        )
        with _told_of_bundles(source):
            return _judge_server(wanted)
    if simulation is True:
        raise UsageError(
            "simulation=True trusts whatever root is stapled: for a server on this machine, not for a file",
            hint=_NAME_THE_ROOT,
        )
    now = int(time.time()) if at is None else unix_seconds(at)
    accepted, trust = policy_and_trust(policy=policy, certificate=certificate, simulation=simulation)
    kept = kept_floors(False if floors is None else floors, trust)
    return _judge_bundle(source, accepted, trust, {} if kept is None else kept.load(), now)


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
        hint_at_files(error, trust, "a bundle")
        return _refused(error, bundle)
    return Judged(attested.verdict, bundle)


def hint_at_files(error: AttestationError, trust: Trust, what: str) -> None:
    """What to do differs where the evidence comes from a file: it does not become fresh by itself."""
    reasons = {error.reason, *(error.verdict.reasons if error.verdict else ())}
    if reasons & _OUT_OF_TIME:
        _also(error, f"{what} is good for its own time: --at TIME (at=)")
    if error.reason is Reason.ROOT_UNKNOWN and not trust.simulated:
        # What is said of a connection would lead to --simulation, which no file takes.
        error.hint, error.__notes__ = "", []
        _also(error, f"if this is a simulation, {_NAME_THE_ROOT}")


def _check_source(source: Source) -> None:
    if not isinstance(source, (str, os.PathLike, Bundle)):
        raise UsageError(
            f"a source is an address, the path of a bundle, or a Bundle; this is of type "
            f"{type(source).__name__}",
            hint="a bundle's bytes: blindai.Bundle.parse(data)" if isinstance(source, bytes) else "",
        )


@contextmanager
def _told_of_bundles(source: str) -> Iterator[None]:
    """Say how a file is told from a server, where an address that fails looks like one."""
    try:
        yield
    except (UnreachableError, UsageError) as error:
        if ("/" in source and "://" not in source) or os.path.isfile(source):  # noqa: PTH113  takes any text, however long
            _also(error, _ON_BUNDLES)
        raise


def _also(error: BlindAIError, hint: str) -> None:
    error.hint = f"{error.hint}; {hint}" if error.hint else hint
    error.add_note(f"hint: {hint}")


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
