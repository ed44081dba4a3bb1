"""Where there is nothing to staple: a Nitro document brings its certificates along."""

from __future__ import annotations

from collections.abc import Hashable

from blindai.attestation.types import Evidence
from blindai.server.evidence.stapling.source import Gathered


class NothingToStaple:
    """A `CollateralSource`. Nothing ends: a leaf lives three hours, and each document brings its own."""

    def subject(self, evidence: Evidence) -> Hashable:
        return None

    def gather(self, sample: Evidence, *, now: int, anew: bool) -> Gathered:
        return Gathered({}, expires=None)
