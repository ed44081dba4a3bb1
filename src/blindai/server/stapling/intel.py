"""Intel's collateral for the machine's quotes, from the PCS or from a PCCS."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path

from blindai.attestation.types import Evidence
from blindai.errors import UsageError
from blindai.server.settings import Settings
from blindai.server.stapling import services
from blindai.server.stapling.source import Gathered
from blindai.transport.collateral import intel
from blindai.transport.collateral.fallback import Keeping

_MAX_KEY_BYTES = 4096


class IntelSource:
    """A `CollateralSource`. Collateral is published by family of machines, not by machine."""

    def __init__(self, service: intel.Service, keeping: Keeping) -> None:
        self._service = service
        self._keeping = keeping

    @classmethod
    def of(cls, settings: Settings) -> IntelSource:
        return cls(service(settings), services.keeping(settings))

    def subject(self, evidence: Evidence) -> Hashable:
        return intel.platform_of(evidence.value)

    def gather(self, sample: Evidence, *, now: int, anew: bool) -> Gathered:
        platform = intel.platform_of(sample.value)
        return services.gathered(
            "intel",
            lambda collector: intel.fetch(platform, self._service, collector),
            self._keeping,
            now=now,
            anew=anew,
        )


def service(settings: Settings) -> intel.Service:
    """Return the service that the settings name, with its key. Raises UsageError, by the keys' names."""
    key = _key(settings.collateral_intel_api_key_file)
    try:
        return intel.Service.at(settings.collateral_intel_url, api_key=key)
    except UsageError as exc:
        raise UsageError(f"[collateral] intel_url or intel_api_key_file: {exc}", hint=exc.hint) from exc


def _key(path: str | None) -> str | None:
    if path is None:
        return None
    try:
        with Path(path).open("rb") as file:
            data = file.read(_MAX_KEY_BYTES + 1)
        if len(data) > _MAX_KEY_BYTES:
            raise UsageError(f"[collateral] intel_api_key_file: {path} is too large for a key")
        return data.decode("ascii").strip()
    except OSError as exc:
        raise UsageError(f"[collateral] intel_api_key_file: cannot read {path}: {exc.strerror}") from exc
    except UnicodeDecodeError:
        raise UsageError(f"[collateral] intel_api_key_file: {path} does not hold a key") from None
