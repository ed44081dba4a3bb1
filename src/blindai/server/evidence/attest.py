"""Makes attestation answers: one quote at a time, and each for all who wait (design 4.3, 4.4).

While one quote is being made, the nonces of other clients gather; the next quote covers the root of their
tree, and each client gets its own path. A quote costs 10 ms to seconds and serialises on the host: this way
one serves thousands.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from blindai.attestation import binding
from blindai.attestation.types import Collateral, Evidence
from blindai.channel import answer
from blindai.channel.challenge import MAX_LEAVES, NONCE_BYTES, ChallengeTree, padding_needed
from blindai.channel.operator import MEMBER as OPERATOR
from blindai.errors import RequestCode, RequestError, TeeError, TeeFault
from blindai.server.keys.identity import Identity
from blindai.server.threads import BoundedThreads
from blindai.server.watch.crashes import described
from blindai.tee.attester import Attester

Parts = tuple[bytes, ...]

_SAMPLES = 4  # calls that may wait for the thread beside the quote in flight
_AFTER_A_FAILURE_SECONDS = 1.0  # a device that fails at once must not be asked in a loop
_MAX_AFTER_FAILURES_SECONDS = 8.0

_DOCTOR = "`blindai doctor` tries each interface and says what is missing"

_log = logging.getLogger("blindai.server")


@dataclass(frozen=True)
class QuoteLimits:
    """`interval_seconds` is the least time from one quote to the next; `max_waiting` counts clients."""

    timeout_seconds: float
    max_waiting: int
    interval_seconds: float = 0.0
    sample_seconds: float = 60.0  # at the start, where nobody waits


@dataclass(eq=False)
class _Waiter:
    identity: Identity
    nonce: bytes
    parts: asyncio.Future[Parts]


@dataclass(frozen=True)
class _Quote:
    evidence: Evidence
    parts: Sequence[Parts]


class Attestations:
    """Asks the attester on a thread of its own. `collateral` is what to staple now, None if nothing is there.

    `looked_at` is told of every piece of evidence, on the event loop. A device that hangs keeps the thread:
    who waits gets an error after `timeout_seconds`, and who comes later at once.
    """

    def __init__(
        self,
        attester: Attester,
        *,
        collateral: Callable[[], Collateral | None],
        limits: QuoteLimits,
        looked_at: Callable[[Evidence], None] = lambda _: None,
    ) -> None:
        self.quotes = 0
        self.failures = 0
        self.challenges = 0
        self._attester = attester
        self._collateral = collateral
        self._limits = limits
        self._looked_at = looked_at
        self._thread = BoundedThreads("blindai-quote", threads=1, max_waiting=_SAMPLES)
        self._waiting: dict[_Waiter, None] = {}  # in the order in which they came
        self._asked = 0  # clients without an answer, those of the quote in flight among them
        self._asking: asyncio.Task[None] | None = None
        self._quoting_since: float | None = None
        self._last_began = -float("inf")
        self._failures_in_a_row = 0
        self._newest: tuple[float, Evidence] | None = None

    async def answer(self, identity: Identity, nonce: bytes, *, ours: bool = False) -> Parts:
        """Return the answer to a client's `nonce` (32 bytes) on a connection of `identity`, in parts.

        Raises RequestError (attestation-unavailable). What is `ours` has a place beside those of the clients:
        a crowd must not keep the server from renewing its keys.
        """
        if self._asked >= self._limits.max_waiting and not ours:
            raise _unavailable("too many clients wait for evidence")
        if self.stuck:
            raise _unavailable("the TEE does not answer")
        waiter = _Waiter(identity, nonce, asyncio.get_running_loop().create_future())
        self._waiting[waiter] = None
        self._asked += 1
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask_while_wanted())
        try:
            async with asyncio.timeout(self._limits.timeout_seconds):
                parts = await waiter.parts
        except TimeoutError:
            raise _unavailable("the TEE does not answer") from None
        finally:
            self._asked -= 1
            self._waiting.pop(waiter, None)
        self.challenges += 1
        return parts

    async def sample(self) -> Evidence:
        """Return evidence for its looks: of now, or the newest if the device gives none. Raises TeeError.

        Of now, for the machine may have changed, and a host hands over new certificates along with a report.
        """
        if self._newest is None:
            return await self._sampled(self._limits.sample_seconds)
        if not self.stuck:
            with contextlib.suppress(TeeError):
                return await self._sampled(self._limits.timeout_seconds)
        return self._newest[1]

    async def _sampled(self, timeout_seconds: float) -> Evidence:
        try:
            async with asyncio.timeout(timeout_seconds):
                evidence = await self._about_nothing()
        except TeeError as exc:
            hint = "; ".join(filter(None, (exc.hint, _DOCTOR)))
            raise TeeError(exc.fault, exc.what, hint=hint) from exc
        except TimeoutError as exc:
            raise TeeError(TeeFault.TIMEOUT, "the TEE does not answer", hint=_DOCTOR) from exc
        except Exception as exc:  # the boundary to hardware and its drivers
            raise TeeError(TeeFault.FAILED, "the TEE gave no evidence", hint=_DOCTOR) from exc
        self._newest = time.monotonic(), evidence
        return evidence

    async def _about_nothing(self) -> Evidence:
        # Zeros are no hash of anything: nobody can take this for an answer of ours.
        return await self._thread.run(lambda: self._attester.evidence(bytes(64)))

    async def _ask_while_wanted(self) -> None:
        try:
            while self._waiting or self._failures_in_a_row:
                await self._pause()
                # Those of one keyset share a quote; whoever has waited longest says of which.
                first = next(iter(self._waiting), None)
                if first is not None:
                    same = (waiter for waiter in self._waiting if waiter.identity is first.identity)
                    await self._quote([waiter for waiter, _ in zip(same, range(MAX_LEAVES), strict=False)])
                elif self._failures_in_a_row:
                    # Balancers send nobody to a server that is not ready: it has to find out by itself.
                    await self._try_again()
        finally:
            self._asking = None

    async def _pause(self) -> None:
        """Wait until the device may be asked again. Nonces go on gathering."""
        pause = self._limits.interval_seconds
        if self._failures_in_a_row:
            doubled = _AFTER_A_FAILURE_SECONDS * 2 ** (self._failures_in_a_row - 1)
            pause = max(pause, min(doubled, _MAX_AFTER_FAILURES_SECONDS))
        # Zero seconds, too: whatever came in the same turn of the loop goes into the first quote.
        await asyncio.sleep(max(0.0, self._last_began + pause - time.monotonic()))

    async def _quote(self, batch: Sequence[_Waiter]) -> None:
        for waiter in batch:
            del self._waiting[waiter]
        identity, nonces = batch[0].identity, [waiter.nonce for waiter in batch]
        self._last_began = self._quoting_since = time.monotonic()
        try:
            quote = await self._thread.run(lambda: self._made(identity, nonces))
        except Exception as exc:  # noqa: BLE001 - hardware and its drivers fail in ways of their own
            self._failed(batch, exc)
            return
        finally:
            self._quoting_since = None
        self.quotes += 1
        self._came(quote.evidence)
        if self._collateral() is None:  # the machine has changed: what was stapled is for the one before
            self._failed(batch, _NoCollateral())
            return
        for waiter, parts in zip(batch, quote.parts, strict=True):
            if not waiter.parts.done():
                waiter.parts.set_result(parts)

    async def _try_again(self) -> None:
        """Ask about nothing, for nobody."""
        self._last_began = self._quoting_since = time.monotonic()
        try:
            evidence = await self._about_nothing()
        except Exception as exc:  # noqa: BLE001 - as above
            self._failed((), exc)
            return
        finally:
            self._quoting_since = None
        self._came(evidence)

    def _came(self, evidence: Evidence) -> None:
        """Note that the device works, and show what it gave to whoever keeps collateral for it."""
        self._failures_in_a_row = 0
        self._newest = time.monotonic(), evidence
        try:
            self._looked_at(evidence)
        except Exception as exc:  # noqa: BLE001 - others wait for their answers, whatever it is
            _log.error("evidence could not be looked at: %s", described(exc))  # noqa: TRY400

    def _made(self, identity: Identity, nonces: Sequence[bytes]) -> _Quote:
        """Make one quote and all answers to it. Runs on the thread: thousands of hashes take milliseconds."""
        stapled = self._collateral()
        if stapled is None:
            raise _NoCollateral
        needed = padding_needed(len(nonces))
        places = secrets.SystemRandom().sample(range(len(nonces) + needed), len(nonces))
        padding = [secrets.token_bytes(NONCE_BYTES) for _ in range(needed)]
        tree = ChallengeTree(nonces, padding=padding, places=places)
        data = binding.report_data(keyset_sha256=identity.keyset_sha256, challenge_root=tree.root, others=())
        evidence = self._attester.evidence(data)
        if identity.operator_pem is not None:
            stapled = {**stapled, OPERATOR: {"certificate": identity.operator_pem}}
        shared = answer.Shared(keyset_raw=identity.keyset_raw, evidence=[evidence], collateral=stapled)
        return _Quote(evidence, [shared.parts(tree.proof(place)) for place in places])

    def _failed(self, batch: Sequence[_Waiter], exc: Exception) -> None:
        why = "the vendor's collateral is not there yet"
        if not isinstance(exc, _NoCollateral):
            why = "the TEE gave no evidence"
            self.failures += 1
            self._failures_in_a_row = min(self._failures_in_a_row + 1, 8)
            # Of errors that are not ours, the text may hold anything.
            what = str(exc) if isinstance(exc, TeeError) else described(exc)
            _log.error("the TEE gave no evidence: %s", what)
        for waiter in batch:
            if not waiter.parts.done():
                waiter.parts.set_exception(_unavailable(why))

    @property
    def stuck(self) -> bool:
        """Whether the device has not answered for longer than anybody waits."""
        since = self._quoting_since
        return since is not None and time.monotonic() - since > self._limits.timeout_seconds

    @property
    def failing(self) -> bool:
        """Whether the newest quote failed, or hangs."""
        return self._failures_in_a_row > 0 or self.stuck

    def evidence_age_seconds(self) -> float | None:
        """Return how old the newest evidence is, None before the first."""
        return None if self._newest is None else time.monotonic() - self._newest[0]

    @property
    def running(self) -> bool:
        """Whether the TEE is being asked now."""
        return self._thread.running

    def close(self) -> None:
        self._thread.close()


class _NoCollateral(Exception):  # noqa: N818 - a condition, not a fault
    """There is nothing to staple: without it no client could judge the evidence."""


def _unavailable(why: str) -> RequestError:
    return RequestError(RequestCode.ATTESTATION_UNAVAILABLE, f"no evidence at the moment, try again: {why}")
