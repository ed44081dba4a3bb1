"""The search for an acceptable replica: one connection of the pool, several dials, and when to stop.

Behind a balancer one address is many servers, and one of them may run other code, or be dying. Not a byte
of a request has left when a peer is refused, so that another may be dialled in its place:

1. every dial counts, also one that leads to a peer refused a moment ago, which is not asked again
2. refused connections stay open until the end: a balancer that counts connections would lead to the same
   replica for ever, as the one that has the fewest
3. one deadline holds for all of it; if nobody is accepted, the first refusal is raised

A connection that breaks before the proof is no refusal, and leads to another dial as well: a replica was
stopped in that moment, and no request is lost by it. A timeout does not: the time is spent.
"""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

import httpcore2
from cryptography import x509

from blindai.attestation.verifier import Attested
from blindai.channel.bundle import Peer
from blindai.channel.handshake import Busy
from blindai.errors import AttestationError, Reason, UnreachableError
from blindai.transport.session import Session

MIN_PAUSE_SECONDS = 0.1  # whatever a server says: nobody is asked in a tight loop

# What no other peer can cure. Whatever else is refused is about the peer, or cannot be told from it.
_OUR_OWN = Reason.POLICY_EXPIRED


class Search:
    """What came of the dials so far. Within it, a failure after a refusal is raised as the first refusal."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.deadline = time.monotonic() + session.demands.timeout_seconds
        self._dials_left = session.demands.attempts
        self._first: AttestationError | None = None
        self._busy: dict[x509.Certificate, Busy] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._first is not None and error is not self._first and isinstance(error, _FAILURES):
            raise self._first from self._first.__cause__

    def remaining(self) -> float:
        """Return the seconds left for all dials, or raise UnreachableError."""
        remaining = self.deadline - time.monotonic()
        if remaining <= 0:
            raise self._session.too_slow()
        return remaining

    def within(self, timeout_seconds: float | None) -> float:
        """Return the shorter of a step's own limit and what is left."""
        remaining = self.remaining()
        return remaining if timeout_seconds is None else min(timeout_seconds, remaining)

    def decided(self, peer: Peer) -> Attested | None:
        """Return the proof for `peer` if there is one; raise if it is known to give none now."""
        if attested := self._session.known(peer):
            return attested
        if busy := self._busy.get(peer.certificate):
            # It may be the only one, and would be kept busy by us: one more dial, and no more.
            self._dials_left = min(self._dials_left, 2)
            raise busy
        if refusal := self._session.remembered_refusal(peer):
            raise refusal
        return None

    def pause(self, peer: Peer, busy: Busy) -> float:
        """Return after how many seconds `peer` is asked again; raise `busy` if it is not, or too late."""
        seconds = max(busy.retry_after_seconds or 0, MIN_PAUSE_SECONDS)
        if busy.retry_after_seconds is None or seconds >= self.deadline - time.monotonic():
            self._busy[peer.certificate] = busy
            raise busy
        return seconds

    def goes_on(self, error: BaseException, peer: Peer | None) -> bool:
        """Note why a dial came to nothing; return whether there may be another (`within` has the time)."""
        if isinstance(error, AttestationError):
            if error.verdict is not None and _OUR_OWN in error.verdict.reasons:
                return False
            self._session.refused.note(error, peer, self._session.now())
            self._first = self._first or error
        elif not isinstance(error, UnreachableError | httpcore2.ConnectError):
            return False
        self._dials_left -= 1
        return self._dials_left > 0

    def accepted(self) -> None:
        """Say whom this connection passed over."""
        if self._first is not None:
            self._session.refused.warn(self._session.demands.origin.url)


_FAILURES = (AttestationError, UnreachableError, httpcore2.NetworkError, httpcore2.TimeoutException)
