"""What every evidence producer is."""

from __future__ import annotations

from typing import Protocol

from blindai.attestation.types import Evidence


class Attester(Protocol):
    """Asks one TEE for evidence. Calls block (a quote takes 10 ms to seconds) and are made one at a time."""

    @property
    def tee(self) -> str:
        """The TEE's name in policies: "tdx", ..."""

    @property
    def simulated(self) -> bool:
        """Whether the evidence chains to a throw-away root instead of a vendor's."""

    def evidence(self, report_data: bytes) -> Evidence:
        """Return evidence that carries these 64 bytes. Raises TeeError."""


class Certified(Protocol):
    """An attester whose host may hand over certificates along with a report: SEV-SNP's."""

    @property
    def certificates(self) -> bytes:
        """The certificate table that came with the newest report, as it came; b"" if none did.

        The host wrote it: hints, which the verifier judges.
        """
