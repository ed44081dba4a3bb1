"""Which source of collateral goes with which TEE, and whether the settings for it can work."""

from __future__ import annotations

from typing import cast

from blindai.attestation.trust import Trust
from blindai.errors import UsageError
from blindai.server.evidence.stapling import amd, intel, services
from blindai.server.evidence.stapling.amd import AmdSource
from blindai.server.evidence.stapling.intel import IntelSource
from blindai.server.evidence.stapling.nothing import NothingToStaple
from blindai.server.evidence.stapling.source import CollateralSource
from blindai.server.settings import Settings
from blindai.tee.attester import Attester, Certified


def source_for(attester: Attester, settings: Settings, *, trust: Trust) -> CollateralSource:
    """Return where the collateral of a TEE comes from. UsageError: the settings cannot work.

    `trust` says whose signatures make it genuine: the vendors', for any machine outside of tests.
    """
    match attester.tee:
        case "tdx" | "sgx":
            return IntelSource.of(settings, trust=trust)
        case "sev-snp":
            return AmdSource.of(settings, lambda: cast("Certified", attester).certificates, trust=trust)
        case "nitro":
            return NothingToStaple()
        case other:
            raise UsageError(f"there is no collateral for a TEE of kind {other}")


def check(settings: Settings) -> None:
    """Raise UsageError if a source with these settings cannot work, as far as files and rules show."""
    services.check(settings)
    intel.service(settings)
    amd.service(settings)
