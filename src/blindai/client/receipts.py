"""Receipts in a file, years later: judged without any network, with this client's own policy, pinned roots
and idea of the time.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

from blindai.channel import proven, refusal
from blindai.channel.proof import MAX_PROOF_BYTES, Proof
from blindai.channel.proven import Body, Proven
from blindai.client.demands import PathLike, PolicyLike, SimulationLike, policy_and_trust
from blindai.client.moment import Moment, unix_seconds
from blindai.client.verification import hint_at_files
from blindai.errors import AttestationError, UsageError

ProofSource = Proof | bytes | str | os.PathLike[str]
BodySource = Body | os.PathLike[str]
"""A body: its bytes, pieces of them, or a path object of a file that holds them."""

_READ_BYTES = 2**20


def verify_receipt(  # noqa: PLR0913  keywords, each of them one demand
    source: ProofSource,
    *,
    policy: PolicyLike | None = None,
    certificate: PathLike | None = None,
    simulation: SimulationLike = False,
    at: Moment | None = None,
    request_body: BodySource | None = None,
    response_body: BodySource | None = None,
    require_bodies: bool = False,
) -> Proven:
    """Verify a proof that somebody saved, and return what it proves. No network is used.

    source: the path of a proof file, the bytes of one, or a `Proof`.
    policy, certificate, simulation: as for `connect`; the proof of a simulation needs its root named.
    at: the time at which it is judged: Unix seconds, a datetime with a zone, or a text such as
        "2026-10-01T12:00:00Z"; now by default. A server's keys live for a day or two, so that an older proof
        needs it: it is you who says that the proof existed then. The receipt's own time is the server's word.
    request_body, response_body: the exact bytes that were sent and received, for comparison; those inside
        the proof are compared too. What is not there is not compared, as `Proven.request_compared` and
        `Proven.response_compared` say.
    require_bodies: refuse a proof of which the request or the response was not compared.

    Raises AttestationError, whose `verdict` lists what failed; UsageError for arguments that make no sense.
    """
    if simulation is True:
        raise UsageError(
            "simulation=True trusts whatever root is stapled: for a server on this machine, not for a file",
            hint="name the root: simulation=FINGERPRINT (Python), --simulation-root FINGERPRINT (command "
            "line); `blindai serve --simulation` prints it",
        )
    now = int(time.time()) if at is None else unix_seconds(at)
    accepted, trust = policy_and_trust(policy=policy, certificate=certificate, simulation=simulation)
    try:
        with refusal.with_verdict(accepted, now):
            return proven.conclude(
                read_proof(source),
                policy=accepted,
                trust=trust,
                floors={},
                now=now,
                request_body=_body(request_body),
                response_body=_body(response_body),
                require_bodies=require_bodies,
            )
    except AttestationError as error:
        hint_at_files(error, trust, "a proof")
        raise


def read_proof(source: ProofSource) -> Proof:
    """Read a proof and verify nothing, or raise EvidenceMalformed; UsageError if there is no such file."""
    if isinstance(source, Proof):
        return source
    if isinstance(source, bytes):
        return Proof.parse(source)
    if not isinstance(source, (str, os.PathLike)):
        raise UsageError(f"a proof is a path, bytes, or a Proof; this is of type {type(source).__name__}")
    try:
        with Path(source).open("rb") as file:
            raw = file.read(MAX_PROOF_BYTES + 1)  # one more than allowed, so that it is refused
    except OSError as exc:
        raise UsageError(f"cannot read the proof: {os.fspath(source)}: {exc.strerror}") from exc
    return Proof.parse(raw)


def _body(source: BodySource | None) -> Body | None:
    if isinstance(source, str):  # text is no body, and a path could be meant
        raise UsageError("a body is its bytes, or a path object", hint="a file: Path('request.bin')")
    return _pieces(Path(source)) if isinstance(source, os.PathLike) else source


def _pieces(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            while piece := file.read(_READ_BYTES):
                yield piece
    except OSError as exc:
        raise UsageError(f"cannot read the body: {path}: {exc.strerror}") from exc
