"""What every evidence producer is."""

from __future__ import annotations

from typing import Protocol

from blindai.attestation.types import Collateral, Evidence


class Attester(Protocol):
    """Asks one TEE for evidence. Calls block (a quote takes 10 ms to seconds) and are made one at a time."""

    @property
    def tee(self) -> str:
        """The TEE's name in policies: "tdx", ..."""

    @property
    def simulated(self) -> bool:
        """Whether the evidence chains to a throw-away root instead of a vendor's."""

    def evidence(self, report_data: bytes) -> Evidence:
        """Return evidence that carries these 64 bytes."""

    def collateral(self) -> Collateral:
        """Return what a client needs to judge the evidence offline, keyed by vendor."""

    @property
    def collateral_expires(self) -> int | None:
        """When the collateral ends (Unix seconds), None if that is not known."""
