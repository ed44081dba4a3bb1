"""What all connections of one transport share: the demands, the keys already attested, the floors."""

from __future__ import annotations

import secrets
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from cryptography import x509

from blindai.attestation.appraisal import CLOCK_SKEW_SECONDS
from blindai.attestation.policy import Policy
from blindai.attestation.trust import StapledSimulationTrust, Trust
from blindai.attestation.types import Floor
from blindai.attestation.verifier import Attested
from blindai.channel import challenge, handshake, refusal
from blindai.channel.bundle import Bundle, Peer
from blindai.errors import AttestationError, EvidenceRejected, Reason, UnreachableError
from blindai.transport.origin import Origin, is_loopback
from blindai.transport.refused import RefusedReplicas

DEFAULT_ATTESTATION_TIMEOUT_SECONDS = 30.0
MAX_KNOWN_KEYS = 256
ENDING_SECONDS = 2
FLIGHTS = 64  # a stalled replica holds up those of its own share of keys only


class SimulationWarning(UserWarning):
    """The server is a simulation: no hardware protects what is sent to it."""


class Floors(Protocol):
    """Where roll-back floors outlive a session. The transport knows no file and no place."""

    def load(self) -> Mapping[str, Floor]:
        """Return the floors by platform."""

    def raise_to(self, platform: str, floor: Floor) -> None:
        """Keep what was seen; no number ever sinks."""


@dataclass(frozen=True)
class Demands:
    """What every connection must satisfy; immutable for the life of a transport."""

    origin: Origin
    policy: Policy
    trust: Trust
    timeout_seconds: float = DEFAULT_ATTESTATION_TIMEOUT_SECONDS
    clock: Callable[[], float] = field(default=time.time, repr=False)
    floors: Floors | None = field(default=None, repr=False)
    attempts: int = 1
    """How many replicas are dialled, at most, for one connection."""


class Session:
    """Proofs by certificate, and floors, in memory, for one origin, one policy and one trust. Thread-safe."""

    def __init__(self, demands: Demands) -> None:
        self.demands = demands
        self.latest: tuple[Attested, Peer] | None = None
        self.refused = RefusedReplicas()
        self.bundle: Bundle | None = None
        """The newest that was received, accepted or not."""
        self._lock = threading.Lock()
        # By certificate, not only by key: the operator vouched for the certificate.
        self._known: dict[x509.Certificate, tuple[Attested, Bundle]] = {}
        self._floors: dict[str, Floor] = {}

    @property
    def attested(self) -> tuple[Attested, Peer]:
        """The newest proof and the peer it was used for, or UnreachableError before the first connection."""
        if self.latest is None:
            raise UnreachableError("no connection has been attested yet")
        return self.latest

    def now(self) -> int:
        return int(self.demands.clock())

    def known(self, peer: Peer) -> Attested | None:
        """Return the unexpired proof for the certificate that the peer showed, if there is one."""
        with self._lock:
            known = self._known.get(peer.certificate)
        if known is None or self.ending(known[0]):
            return None
        return self._admit(known[0], peer)

    def remembered_refusal(self, peer: Peer) -> AttestationError | None:
        """Return why the certificate that the peer showed was refused a moment ago, if it was."""
        return self.refused.remembered(peer, self.now())

    def bundle_for(self, keyset_sha256: bytes) -> Bundle | None:
        """Return what showed this keyset to be acceptable; None if nothing did, or long ago."""
        with self._lock:
            known = tuple(self._known.values())
        return next(
            (bundle for attested, bundle in reversed(known) if attested.keyset_sha256 == keyset_sha256), None
        )

    def ending(self, attested: Attested) -> bool:
        """Whether no request should begin under this proof any more.

        A little before it has expired: between the pool's choice of a connection and the first byte other
        threads run, and a request that nothing is wrong with would be refused by `require_fresh`.
        """
        return self.expired(attested) or self.now() >= attested.not_after - ENDING_SECONDS

    def expired(self, attested: Attested) -> bool:
        now = self.now()
        # A clock that was set back must not lengthen a proof.
        set_back = now < attested.verdict.at - CLOCK_SKEW_SECONDS
        return set_back or now >= attested.not_after

    def require_fresh(self, attested: Attested) -> None:
        """Raise EvidenceRejected if the proof ended before a request began to leave."""
        if self.expired(attested):
            with self.refusals():
                raise EvidenceRejected(
                    Reason.KEYSET_EXPIRED,
                    "the proof for this connection has ended; nothing was sent",
                    hint="send the request again: the server will be attested anew",
                )

    def refusals(self) -> AbstractContextManager[None]:
        """Within this, every AttestationError gets a verdict."""
        return refusal.with_verdict(self.demands.policy, self.now())

    def too_slow(self) -> UnreachableError:
        return UnreachableError(
            f"the server gave no complete evidence within {self.demands.timeout_seconds:g} s",
            hint="raise attestation_timeout_seconds if its hardware is this slow",
        )

    def nonce(self) -> bytes:
        return secrets.token_bytes(challenge.NONCE_BYTES)

    def conclude(self, bundle: Bundle) -> Attested:
        """Judge what was received and remember the key, or raise AttestationError."""
        self.bundle = bundle  # before it is judged: a refused one is worth keeping, too
        attested = handshake.conclude(
            bundle,
            policy=self.demands.policy,
            trust=self.demands.trust,
            floors=self._seen(),
            now=self.now(),
        )
        with self._lock:
            floor = self._floors.get(attested.platform, Floor())
            self._floors[attested.platform] = floor.raised_to(attested.freshness)
        if self.demands.floors is not None:
            self.demands.floors.raise_to(attested.platform, attested.freshness)
        with self._lock:
            while len(self._known) >= MAX_KNOWN_KEYS:
                del self._known[next(iter(self._known))]
            self._known[bundle.peer.certificate] = attested, bundle
        return self._admit(attested, bundle.peer)

    def _seen(self) -> Mapping[str, Floor]:
        """What this session and the ones before it saw: memory counts where nothing can be kept."""
        kept = {} if self.demands.floors is None else self.demands.floors.load()
        with self._lock:
            seen = dict(self._floors)
        return {name: seen.get(name, Floor()).raised_to(kept.get(name, Floor())) for name in {*seen, *kept}}

    def check_address(self, extra_info: Callable[[str], Any]) -> None:
        """Refuse a stapled simulation root from anywhere but this machine, before anything is sent."""
        if not isinstance(self.demands.trust, StapledSimulationTrust):
            return
        server_address = extra_info("server_addr")
        host = server_address[0] if isinstance(server_address, tuple) else ""
        if not is_loopback(str(host)):
            raise EvidenceRejected(
                Reason.SIMULATION_MISMATCH,
                "simulation=True trusts whatever root the server staples: loopback addresses only",
                hint="name the root, which `blindai serve --save-root root.pem` writes: "
                "simulation='root.pem' (Python), --simulation-root root.pem (command line)",
            )

    def _admit(self, attested: Attested, peer: Peer) -> Attested:
        self.latest = attested, peer
        if attested.verdict.simulated:
            warnings.warn(
                f"{self.demands.origin.url} is a SIMULATION: no hardware protects what you send",
                SimulationWarning,
                stacklevel=2,
            )
        return attested
