"""From what a user writes in `connect(...)` to what every connection must satisfy."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from cryptography import x509

from blindai.attestation.policy import Policy
from blindai.attestation.trust import (
    ProductionTrust,
    SimulationTrust,
    StapledSimulationTrust,
    Trust,
    fingerprint,
)
from blindai.channel import operator
from blindai.client import floors as floors_file
from blindai.client.floors import FloorsLike
from blindai.client.http import MAX_TIMEOUT_SECONDS
from blindai.errors import PolicyError, UsageError
from blindai.transport.origin import parse_origin
from blindai.transport.session import DEFAULT_ATTESTATION_TIMEOUT_SECONDS, Demands

PolicyLike = Policy | str | os.PathLike[str]
PathLike = str | os.PathLike[str]
SimulationLike = bool | PathLike | Sequence[PathLike]
"""Whether a simulation is accepted, and which: any (True, on this machine), or those of one or more roots."""
DEFAULT_ATTEMPTS = 8
MAX_ATTEMPTS = 16
NO_POLICY = (
    "the code's authors publish one, or `blindai policy init --from HOST --out FILE` begins one; "
    "of these sources: blindai measure > FILE"
)


def demands(  # noqa: PLR0913  those of `connect`
    address: str,
    *,
    policy: PolicyLike | None,
    certificate: PathLike | None,
    simulation: SimulationLike,
    floors: FloorsLike = True,
    attestation_timeout_seconds: float = DEFAULT_ATTESTATION_TIMEOUT_SECONDS,
    proxy: str | None = None,
    attempts: int = 1,
) -> Demands:
    """Gather the demands of a connection, or raise UsageError. Nothing is sent."""
    accepted, trust = policy_and_trust(policy=policy, certificate=certificate, simulation=simulation)
    if not 0 < attestation_timeout_seconds <= MAX_TIMEOUT_SECONDS:
        raise UsageError(f"a timeout is more than 0 and at most {MAX_TIMEOUT_SECONDS:.0f} seconds")
    if type(attempts) is not int or not 1 <= attempts <= MAX_ATTEMPTS:
        raise UsageError(f"attempts is a whole number from 1 to {MAX_ATTEMPTS}")
    if proxy is not None and isinstance(trust, StapledSimulationTrust):
        raise UsageError("simulation=True (--simulation) is for a server on this machine, not behind a proxy")
    return Demands(
        origin=parse_origin(address),
        policy=accepted,
        trust=trust,
        timeout_seconds=attestation_timeout_seconds,
        floors=kept_floors(floors, trust),
        attempts=attempts,
    )


def policy_and_trust(
    *, policy: PolicyLike | None, certificate: PathLike | None, simulation: SimulationLike
) -> tuple[Policy, Trust]:
    """Return what is demanded of any evidence, live or from a file, or raise UsageError."""
    if policy is None and simulation is False:
        raise UsageError(
            "a policy is required: without one, anybody's enclave would do",
            hint="on a build you trust: blindai measure > policy.toml, then policy='policy.toml' (Python), "
            "--policy policy.toml (command line); for a simulated server on this machine: simulation=True "
            "(Python), --simulation (command line)",
        )
    return _with_operator(_policy(policy), certificate), _trust(simulation)


def policy_text(path: PathLike) -> str:
    """Return the text of a policy file, or raise UsageError."""
    try:
        return _read(path, "the policy", hint=NO_POLICY).decode("utf-8")
    except UnicodeDecodeError as exc:
        raise PolicyError(f"the policy is not UTF-8: {os.fspath(path)}") from exc


def kept_floors(floors: FloorsLike, trust: Trust) -> floors_file.FileFloors | None:
    """Return where floors are kept. Never those of a simulation: its root is thrown away with it."""
    return None if trust.simulated else floors_file.chosen(floors)


def _policy(policy: PolicyLike | None) -> Policy:
    if policy is None:
        return Policy.for_simulation()
    if isinstance(policy, Policy):
        return policy
    if isinstance(policy, str) and "\n" in policy:
        raise UsageError("policy= is a file", hint="for a text: blindai.Policy.from_toml(text)")
    return _loaded(policy_text(policy))


# By its text: whoever connects often reads the same file, and what a text demands does not change.
@functools.lru_cache(maxsize=8)
def _loaded(text: str) -> Policy:
    return Policy.from_toml(text)


def _trust(simulation: SimulationLike) -> Trust:
    if simulation is False:
        return ProductionTrust()
    if simulation is True:
        return StapledSimulationTrust()
    roots = simulation if isinstance(simulation, list | tuple) else [simulation]
    return SimulationTrust(digits for root in roots for digits in _fingerprints(root))


def _fingerprints(root: object) -> Iterator[str]:
    """Yield the digits that a text says, or those of every certificate in the file that it names."""
    if not isinstance(root, str | os.PathLike):
        raise UsageError(f"a simulation root is a text or a path, not {type(root).__name__}", hint=_ROOTS)
    text = os.fspath(root)
    digits = text.lower().removeprefix("sha256:").replace(":", "")
    if len(digits) == 64 and set(digits) <= set("0123456789abcdef"):
        yield digits
        return
    if not os.path.exists(text):  # noqa: PTH110  takes any text, however long
        raise UsageError(
            f"the simulation root is neither a file nor 64 hexadecimal digits: {text}",
            hint="`blindai serve --simulation` prints the digits; its --save-root FILE saves the file",
        )
    # All of them: who joins the roots of several servers in a file means each.
    yield from map(fingerprint, _certificates(text, "the simulation root"))


_ROOTS = "simulation= is True, a PEM file, 64 hexadecimal digits, or a list of such files and digits"


def _with_operator(policy: Policy, certificate: PathLike | None) -> Policy:
    """`certificate=` and `[operator]` both pin the operator's key; given both, both must hold."""
    if certificate is None:
        return policy
    pinned = operator.spki_sha256(_certificates(certificate, "the operator's certificate")[0])
    if policy.operator_spki_sha256 and pinned not in policy.operator_spki_sha256:
        raise UsageError("certificate= (--certificate) is of another operator than the policy's [operator]")
    return replace(policy, operator_spki_sha256=frozenset({pinned}))


def _certificates(path: PathLike, what: str) -> list[x509.Certificate]:
    data = _read(path, what)
    try:
        return x509.load_pem_x509_certificates(data)
    except ValueError as exc:
        raise UsageError(f"{what} is not a PEM certificate: {os.fspath(path)}") from exc


def _read(path: PathLike, what: str, *, hint: str = "") -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as exc:
        raise UsageError(f"cannot read {what}: {os.fspath(path)}: {exc.strerror}", hint=hint) from exc
