"""A server on a lent TEE: everything of `blindai serve` except where the interface ends.

Real producers say that their evidence is no simulation. That of fakes is one, and a keyset that denied it
would be refused: unless a test wants just that, it is said here.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import Any, cast

from blindai.attestation.trust import SimulationTrust
from blindai.attestation.types import Evidence
from blindai.errors import BlindAIError
from blindai.server.evidence.machine import Machine
from blindai.server.evidence.stapling.amd import AmdSource
from blindai.server.evidence.stapling.choose import source_for
from blindai.server.evidence.stapling.services import keeping
from blindai.server.evidence.stapling.source import CollateralSource
from blindai.server.lifecycle import FindMachine, run
from blindai.server.settings import Settings
from blindai.tee.attester import Attester, Certified
from blindai.tee.detect import detect, no_attester
from blindai.transport.collateral import endorsement
from blindai.transport.collateral.amd import Kds
from tests.server.hardware.lending import borrowed


class Admitted:
    """An attester that says what its evidence is: a simulation's."""

    simulated = True

    def __init__(self, attester: Any) -> None:
        self._attester = attester

    @property
    def tee(self) -> str:
        tee: str = self._attester.tee
        return tee

    @property
    def certificates(self) -> bytes:
        certificates: bytes = self._attester.certificates
        return certificates

    def evidence(self, report_data: bytes) -> Evidence:
        evidence: Evidence = self._attester.evidence(report_data)
        return evidence


def found_at(
    descriptor: int, interface: str, *, root_sha256: str, admitted: bool, thim: str | None, hurried: bool
) -> FindMachine:
    """Return what finds a machine as `this_machine` does, through the lent interface alone.

    Its vendor has the root with this fingerprint. `thim` is where Azure's host would answer, which has one
    address; `hurried` asks a KDS without the pauses that AMD's wants.
    """

    trust = SimulationTrust([root_sha256])

    def find(settings: Settings, *, source_sha256: str, now: int) -> Machine:
        del source_sha256, now
        detection = detect([borrowed(interface, descriptor)], thorough=False)
        if detection.attester is None:
            raise no_attester(detection)
        attester: Attester = Admitted(detection.attester) if admitted else detection.attester
        source: CollateralSource = source_for(attester, settings, trust=trust)
        if (thim or hurried) and isinstance(source, AmdSource):
            kds = Kds.at(settings.collateral_amd_url, interval_seconds=0)
            services = endorsement.Services(kds, thim)
            host = cast("Certified", attester)
            source = AmdSource(lambda: host.certificates, services, keeping(settings), trust)
        return Machine(attester, source, detection.interface)

    return find


def main() -> int:
    """Serve with the settings of the first argument, and print what is announced as a line of JSON."""
    given = json.loads(sys.argv[1])
    try:
        return run(
            Settings(**given["settings"]),
            find_machine=found_at(given["descriptor"], **given["found"]),
            announce=lambda ready: print(json.dumps(dataclasses.asdict(ready)), flush=True),  # noqa: T201
        )
    except BlindAIError as exc:
        sys.exit(f"{type(exc).__name__}: {exc}\nhint: {exc.hint}")


if __name__ == "__main__":
    sys.exit(main())
