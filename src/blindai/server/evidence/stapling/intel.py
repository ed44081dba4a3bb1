"""Intel's collateral for the machine's quotes, from the PCS or from a PCCS."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Hashable, Iterator
from pathlib import Path

from blindai.attestation.trust import Trust
from blindai.attestation.types import Evidence
from blindai.errors import UsageError
from blindai.server.evidence.stapling import services
from blindai.server.evidence.stapling.source import Gathered
from blindai.server.keys import secret_file
from blindai.server.settings import Settings
from blindai.transport.collateral import intel
from blindai.transport.collateral.adoption import Keeping

_MAX_KEY_BYTES = 4096


class IntelSource:
    """A `CollateralSource`. Collateral is published by family of machines, not by machine."""

    def __init__(self, service: intel.Service, keeping: Keeping, trust: Trust) -> None:
        self._service = service
        self._gatherer = services.Gatherer("intel", keeping, trust)

    @classmethod
    def of(cls, settings: Settings, *, trust: Trust) -> IntelSource:
        return cls(service(settings), services.keeping(settings), trust)

    def subject(self, evidence: Evidence) -> Hashable:
        return intel.platform_of(evidence.value)

    def gather(self, sample: Evidence, *, now: int, anew: bool) -> Gathered:
        platform = intel.platform_of(sample.value)
        return self._gatherer.gather(
            lambda collector: intel.fetch(platform, self._service, collector), sample, now=now, anew=anew
        )


def service(settings: Settings) -> intel.Service:
    """Return the service that the settings name, with its key. Raises UsageError, by the keys' names."""
    url, path = settings.collateral_intel_url, settings.collateral_intel_api_key_file
    with _named("intel_url"):
        service = intel.Service.at(url)
    if path is None:
        return service
    with _named("intel_api_key_file"):
        return intel.Service.at(url, api_key=_key(Path(path)))


@contextlib.contextmanager
def _named(key: str) -> Iterator[None]:
    try:
        yield
    except UsageError as exc:
        raise UsageError(f"[collateral] {key}: {exc}", hint=exc.hint) from exc.__cause__


def _key(path: Path) -> str:
    try:
        with path.open("rb") as file:
            secret_file.check(path, os.fstat(file.fileno()))
            data = file.read(_MAX_KEY_BYTES + 1)
    except OSError as exc:
        raise UsageError(f"cannot read {path}: {exc.strerror}") from exc
    if len(data) > _MAX_KEY_BYTES:
        raise UsageError(f"{path} is too large for a key")
    try:
        return data.decode("ascii").strip()
    except UnicodeDecodeError:
        raise UsageError(f"{path} does not hold a key") from None
