"""The replicas that a transport refused: why, for whoever asks, and so that none is asked again at once."""

from __future__ import annotations

import copy
import threading
import warnings
from dataclasses import dataclass, field

from cryptography import x509

from blindai.attestation.verdict import Verdict
from blindai.channel.bundle import Peer
from blindai.errors import AttestationError, Reason

MAX_REFUSED = 64
REMEMBERED_SECONDS = 60

_Key = x509.Certificate | Reason  # the reason, where no certificate could be read


class ReplicaRefusedWarning(UserWarning):
    """A replica behind the server's address was refused, and another one used in its place."""


@dataclass(frozen=True)
class RefusedReplica:
    """A replica that was not shown to be what is demanded. No request byte was sent to it."""

    at: int
    """Unix seconds."""
    reason: Reason
    message: str
    tls_spki_sha256: bytes
    """Of its TLS key; empty if it showed none."""
    verdict: Verdict | None = field(repr=False)


@dataclass
class _Entry:
    replica: RefusedReplica
    error: AttestationError
    warned: bool


class RefusedReplicas:
    """The newest refusal of each certificate, bounded. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: dict[_Key, _Entry] = {}

    def listed(self) -> tuple[RefusedReplica, ...]:
        with self._lock:
            return tuple(entry.replica for entry in self._entries.values())

    def remembered(self, peer: Peer, now: int) -> AttestationError | None:
        """Return why the certificate was refused within the last minute: nothing would be new so soon."""
        with self._lock:
            entry = self._entries.get(peer.certificate)
        # A clock that was set back must not lengthen a refusal.
        if entry is None or not 0 <= now - entry.replica.at < REMEMBERED_SECONDS:
            return None
        error = copy.copy(entry.error)  # one exception is not raised in two threads
        error.__notes__ = list(getattr(error, "__notes__", ()))
        return error

    def note(self, error: AttestationError, peer: Peer | None, now: int) -> None:
        """Keep why `peer` was refused; a refusal that was only remembered does not begin anew."""
        if peer is not None and self.remembered(peer, now) is not None:
            return
        key = error.reason if peer is None else peer.certificate
        spki = b"" if peer is None else peer.tls_spki_sha256
        message = str(error).removesuffix(f" [{error.reason}]")
        replica = RefusedReplica(now, error.reason, message, spki, error.verdict)
        with self._lock:
            before = self._entries.pop(key, None)
            while len(self._entries) >= MAX_REFUSED:
                del self._entries[next(iter(self._entries))]
            self._entries[key] = _Entry(
                replica, copy.copy(error), warned=before is not None and before.warned
            )

    def warn(self, url: str) -> None:
        """Say which replicas were passed over: once for each certificate."""
        with self._lock:
            unsaid = [entry for entry in self._entries.values() if not entry.warned]
            for entry in unsaid:
                entry.warned = True
        for entry in unsaid:
            replica = entry.replica
            warnings.warn(
                f"{url}: a replica was refused, and another one used: {replica.message} [{replica.reason}]; "
                f"its TLS key is {replica.tls_spki_sha256.hex()[:16] or 'not known'} (SHA-256); "
                "nothing of a request was sent to it",
                ReplicaRefusedWarning,
                stacklevel=2,
            )
