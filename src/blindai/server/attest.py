"""Makes attestation answers: one quote at a time, a bounded number of waiters (design 4.3, 4.4)."""

from __future__ import annotations

import asyncio
import logging
import time

from blindai.attestation import binding
from blindai.attestation.types import Collateral, Evidence
from blindai.channel import answer
from blindai.channel.challenge import ChallengeTree
from blindai.errors import RequestCode, RequestError
from blindai.server.identity import Identity
from blindai.server.threads import BoundedThreads, QueueFull
from blindai.tee.attester import Attester

_log = logging.getLogger("blindai.server")


class Attestations:
    """Asks the attester on a thread of its own.

    Quotes serialise on the host, so there is one thread; a device that hangs keeps it, and callers get
    their error after `timeout_seconds` or, once the queue is full, at once.
    """

    def __init__(self, attester: Attester, *, timeout_seconds: float, max_waiting: int) -> None:
        self._attester = attester
        self._timeout_seconds = timeout_seconds
        self._thread = BoundedThreads("blindai-quote", threads=1, max_waiting=max_waiting)
        self._newest: float | None = None

    def evidence_age_seconds(self) -> float | None:
        """Return how old the newest evidence is, None before the first."""
        return None if self._newest is None else time.monotonic() - self._newest

    def collateral_expires(self) -> float | None:
        """Return when the collateral ends (Unix seconds), if the attester knows."""
        return self._attester.collateral_expires

    async def answer(self, identity: Identity, nonce: bytes) -> bytes:
        """Return the answer to a client's `nonce` (32 bytes) on a connection of `identity`.

        Raises RequestError (attestation-unavailable).
        """
        # One nonce a quote for now. A tree of one leaf needs no padding.
        tree = ChallengeTree([nonce], padding=[])
        data = binding.report_data(keyset_sha256=identity.keyset_sha256, challenge_root=tree.root, others=())

        def ask() -> tuple[Evidence, Collateral]:
            return self._attester.evidence(data), self._attester.collateral()

        try:
            async with asyncio.timeout(self._timeout_seconds):
                evidence, collateral = await self._thread.run(ask)
        except QueueFull:
            raise _unavailable("too many clients wait for evidence") from None
        except TimeoutError:
            _log.error("the TEE gave no evidence within %s seconds", self._timeout_seconds)
            raise _unavailable("the TEE does not answer") from None
        except Exception as exc:
            # The boundary to hardware and its drivers, which fail in ways of their own.
            _log.error("the TEE gave no evidence: %s", type(exc).__name__)  # noqa: TRY400 - no contents
            raise _unavailable("the TEE gave no evidence") from exc
        self._newest = time.monotonic()
        return answer.encode(
            keyset_raw=identity.keyset_raw,
            proof=tree.proof(0),
            evidence=[evidence],
            collateral=collateral,
        )

    @property
    def running(self) -> bool:
        """Whether the TEE is being asked now."""
        return self._thread.running

    def close(self) -> None:
        self._thread.close()


def _unavailable(why: str) -> RequestError:
    return RequestError(RequestCode.ATTESTATION_UNAVAILABLE, f"no evidence at the moment, try again: {why}")
