"""AMD's collateral for the machine's reports: what the host hands over, and the rest from the KDS."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping

from blindai.attestation.types import Evidence
from blindai.errors import UsageError
from blindai.server.settings import Settings
from blindai.server.stapling import services
from blindai.server.stapling.source import Gathered
from blindai.tee import certificate_table
from blindai.transport.collateral import amd, endorsement
from blindai.transport.collateral.fallback import Keeping

AZURE_THIM = "azure-thim"


class AmdSource:
    """A `CollateralSource`. A VCEK is for one chip at one TCB version: new firmware needs a new one.

    `certificates` returns the table that came with the newest report, b"" if none did.
    """

    def __init__(
        self, certificates: Callable[[], bytes], asked: endorsement.Services, keeping: Keeping
    ) -> None:
        self._certificates = certificates
        self._services = asked
        self._keeping = keeping

    @classmethod
    def of(cls, settings: Settings, certificates: Callable[[], bytes]) -> AmdSource:
        return cls(certificates, service(settings), services.keeping(settings))

    def subject(self, evidence: Evidence) -> Hashable:
        return amd.signer_of(evidence.value)

    def gather(self, sample: Evidence, *, now: int, anew: bool) -> Gathered:
        signer = amd.signer_of(sample.value)
        given = self._given()
        return services.gathered(
            "amd",
            lambda collector: endorsement.fetch(signer, given, self._services, collector),
            self._keeping,
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
        raise UsageError(f"[collateral] amd_url: {exc}", hint=exc.hint) from exc
