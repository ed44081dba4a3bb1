"""The machine that a server runs on: how evidence is asked for, and where collateral comes from."""

from __future__ import annotations

from dataclasses import dataclass

from blindai.attestation.trust import ProductionTrust
from blindai.server.evidence.stapling.simulated import SimulatedSource
from blindai.server.evidence.stapling.source import CollateralSource
from blindai.server.settings import Settings
from blindai.tee.attester import Attester
from blindai.tee.detect import detect, no_attester
from blindai.tee.measurement import policy_toml, simulated_measurements
from blindai.tee.simulated import SimulatedSnp, SimulatedTdx


@dataclass(frozen=True)
class Machine:
    """`interface` is what evidence is asked through, in words. The last three are of a simulated TEE only."""

    attester: Attester
    source: CollateralSource
    interface: str
    root_pem: str | None = None
    root_sha256: str | None = None
    policy: str | None = None


def this_machine(settings: Settings, *, source_sha256: str, now: int) -> Machine:
    """Return the simulated machine, if the settings ask for one, or the TEE that was found.

    Raises UsageError, with what was looked for, if evidence cannot be had here.
    """
    if settings.simulation:
        return simulated_machine(settings.simulated_tee, source_sha256=source_sha256, now=now)
    found = detect(thorough=False)
    if found.attester is None:
        raise no_attester(found)
    # What fetches from vendors takes a tenth of a second to import, and a simulation fetches nothing.
    from blindai.server.evidence.stapling.choose import source_for  # noqa: PLC0415

    return Machine(
        found.attester, source_for(found.attester, settings, trust=ProductionTrust()), found.interface
    )


def simulated_machine(tee: str, *, source_sha256: str, now: int) -> Machine:
    """Return a machine that simulates this TEE, under a root that is made here and thrown away with it."""
    simulated: SimulatedTdx | SimulatedSnp
    if tee == "sev-snp":
        simulated = SimulatedSnp(now=now, source_sha256=source_sha256)
    else:
        simulated = SimulatedTdx(now=now, measurements=simulated_measurements(source_sha256))
    return Machine(
        simulated,
        SimulatedSource(simulated),
        "a simulation",
        root_pem=simulated.root_pem,
        root_sha256=simulated.root_sha256,
        policy=policy_toml(simulated.measurements),
    )
