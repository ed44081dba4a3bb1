"""AMD's collateral for the machine's reports: what the host hands over, and the rest from the KDS."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping

from blindai.attestation.trust import Trust
from blindai.attestation.types import Evidence
from blindai.errors import UsageError
from blindai.server.evidence.stapling import services
from blindai.server.evidence.stapling.source import Gathered
from blindai.server.settings import Settings
from blindai.tee import certificate_table
from blindai.transport.collateral import amd, endorsement
from blindai.transport.collateral.adoption import Keeping

AZURE_THIM = "azure-thim"


class AmdSource:
    """A `CollateralSource`. A VCEK is for one chip at one TCB version: new firmware needs a new one.

    `certificates` returns the table that came with the newest report, b"" if none did.
    """

    def __init__(
        self,
        certificates: Callable[[], bytes],
        asked: endorsement.Services,
        keeping: Keeping,
        trust: Trust,
    ) -> None:
        self._certificates = certificates
        self._services = asked
        self._gatherer = services.Gatherer("amd", keeping, trust)

    @classmethod
    def of(cls, settings: Settings, certificates: Callable[[], bytes], *, trust: Trust) -> AmdSource:
        return cls(certificates, service(settings), services.keeping(settings), trust)

    def subject(self, evidence: Evidence) -> Hashable:
        return amd.signer_of(evidence.value)

    def gather(self, sample: Evidence, *, now: int, anew: bool) -> Gathered:
        signer = amd.signer_of(sample.value)
        given = self._given()
        return self._gatherer.gather(
            lambda collector: endorsement.fetch(signer, given, self._services, collector),
            sample,
            now=now,
            anew=anew,
        )

    def _given(self) -> Mapping[str, str]:
        try:
            return certificate_table.parse(self._certificates()).members()
        except ValueError:
            return {}  # the host's nonsense: the KDS has what is needed


def service(settings: Settings) -> endorsement.Services:
    """Return whom the settings say to ask. Raises UsageError."""
    url = settings.collateral_amd_url
    if url == AZURE_THIM:
        return endorsement.Services(thim=endorsement.THIM_URL)
    try:
        return endorsement.Services(amd.Kds.at(url))
    except UsageError as exc:
        # The hint of the service's own is an example of Intel's.
        raise UsageError(
            f"[collateral] amd_url: {exc}", hint=f"e.g. {amd.KDS_URL}; on Azure: {AZURE_THIM}"
        ) from exc
