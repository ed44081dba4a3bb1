"""Where collateral comes from: a vendor's services, the host, or a simulated vendor."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Protocol

from blindai.attestation.types import Collateral, Evidence


@dataclass(frozen=True)
class Gathered:
    """Collateral by vendor, and when its first piece ends (Unix seconds; None if nothing in it ends).

    `problems` has one line for each piece that could not be fetched anew and is the one that was kept.
    """

    collateral: Collateral
    expires: int | None
    problems: tuple[str, ...] = ()


class CollateralSource(Protocol):
    """Calls block, for as long as the settings let a refresh take."""

    def subject(self, evidence: Evidence) -> Hashable:
        """Return what the collateral depends on in the evidence: when it changes, the old one is of no use.

        A family of machines, or one chip at one TCB version. Nothing is verified. Raises UsageError for
        evidence that says neither.
        """

    def gather(self, sample: Evidence, *, now: int, anew: bool) -> Gathered:
        """Return collateral for evidence like `sample`, at Unix time `now`.

        `anew` asks the vendors again, and goes on with what was kept where they do not answer; else what was
        kept is enough while it holds. Raises UnreachableError or UsageError if a piece is to be had nowhere.
        """
