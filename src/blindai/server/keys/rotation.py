"""New keys before the old ones end, and an orderly end for connections under the old ones (design 4.5).

1. a new identity is made, and shown to the TEE: without evidence no client could accept it
2. it takes over for new connections
3. a connection stays with the identity of its handshake; the next answer on it says `Connection: close`
4. what is still open when its keyset ends is cut, and the keys are dropped
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable

from blindai.attestation.appraisal import CLOCK_SKEW_SECONDS
from blindai.attestation.times import shown
from blindai.channel.challenge import NONCE_BYTES
from blindai.errors import BlindAIError
from blindai.server.evidence.attest import Attestations
from blindai.server.keys.identity import Identities, Identity
from blindai.server.watch.crashes import described

_MOST_SECONDS_BETWEEN_LOOKS = 60.0

_log = logging.getLogger("blindai.server")

MakeIdentity = Callable[[int], Identity]
"""Makes fresh keys from a Unix time on."""


class Rotation:
    """Renews the identity after `period_seconds`, by the wall clock, which keysets are dated in.

    `cut` is called with what says whether a connection's identity has ended.
    """

    def __init__(
        self,
        identities: Identities,
        attestations: Attestations,
        make: MakeIdentity,
        *,
        period_seconds: float,
        cut: Callable[[Callable[[Identity], bool]], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.make = make
        self.period_seconds = period_seconds
        self._identities = identities
        self._attestations = attestations
        self._cut = cut
        self._clock = clock
        self._made_at = clock()
        self._wanted = False
        self._one_at_a_time = asyncio.Lock()

    async def run(self) -> None:
        """Renew for ever. In short steps: the machine may have slept, and clocks are set."""
        while True:
            until_end = self._identities.next_end(self._clock())
            await asyncio.sleep(min(_MOST_SECONDS_BETWEEN_LOOKS, self.period_seconds / 16, until_end))
            await self.tick()

    async def tick(self) -> None:
        """End what has ended, and renew what is due. Never raises."""
        now = self._clock()
        self._cut(lambda identity: identity.not_after <= now)
        self._identities.forget(now=int(now))
        if self._is_due(now):
            await self.attempt()

    async def rotate(self) -> None:
        """Make new keys take over now. Raises RequestError if the TEE gives no evidence for them."""
        async with self._one_at_a_time:
            now = int(self._clock())
            make = self.make
            identity = make(now)
            await self._attestations.answer(identity, secrets.token_bytes(NONCE_BYTES), ours=True)
            self._identities.renew(identity)
            self._made_at = now
            if make is self.make:  # else a reload came between, whose keys are still to be made
                self._wanted = False
        _log.info("new keys and a new keyset; connections made before keep theirs")
        if identity.not_after < now + self.period_seconds:
            ends = shown(identity.not_after)
            _log.warning("they end %s, with the operator's certificate: renew it and send SIGHUP", ends)

    async def attempt(self) -> None:
        """Rotate, now or as soon as the TEE gives evidence. Never raises."""
        self._wanted = True
        try:
            await self.rotate()
        except BlindAIError as exc:  # no evidence for them, or an operator's certificate that has ended
            _log.error("no new keys: %s; trying again", str(exc))  # noqa: TRY400 - a sentence of ours
        except Exception as exc:  # noqa: BLE001 - whatever it is, without new keys no client comes back
            # File descriptors may have run out for a moment; some of the life is left to try again.
            _log.error("no new keys: %s; trying again", described(exc))  # noqa: TRY400 - no contents

    def _is_due(self, now: float) -> bool:
        # Set back, the clock would make the keyset seem not to have begun.
        return (
            self._wanted
            or now >= self._made_at + self.period_seconds
            or now < self._made_at - CLOCK_SKEW_SECONDS
        )
