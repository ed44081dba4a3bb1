"""The collateral of a simulated machine: its vendor is in this process, and can always be asked."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Protocol

from blindai.attestation.types import Evidence
from blindai.server.evidence.stapling.source import Gathered


class SimulatedMachine(Protocol):
    """A simulated attester, as far as its vendor is concerned."""

    @property
    def collateral_expires(self) -> int | None:
        """When the first piece ends, in Unix seconds."""

    def collateral(self) -> dict[str, Any]:
        """Return what is published now, keyed by vendor."""

    def renew(self, now: int) -> None:
        """Publish everything again, as of `now`. Keys stay: older evidence still verifies."""


class SimulatedSource:
    """A `CollateralSource` without a network."""

    def __init__(self, machine: SimulatedMachine) -> None:
        self._machine = machine

    def subject(self, evidence: Evidence) -> Hashable:
        return None

    def gather(self, sample: Evidence, *, now: int, anew: bool) -> Gathered:
        if anew:
            self._machine.renew(now)
        return Gathered(self._machine.collateral(), self._machine.collateral_expires)
