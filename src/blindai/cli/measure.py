"""`blindai measure`: the measurement of this installation, as a policy."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from blindai.cli import output
from blindai.cli.parser import Verbs
from blindai.tee import measurement
from blindai.tee.measurement import Launch, Measurements

_MEASURED: dict[str, Callable[[str], Measurements | Launch]] = {
    "tdx": measurement.simulated_measurements,
    "sev-snp": measurement.simulated_launch,
}


def add(verbs: Verbs) -> None:
    parser = verbs.add_parser(
        "measure",
        help="print this installation's measurement as a policy",
        description="Print the policy that accepts exactly the blindai sources installed here, run by "
        "`blindai serve --simulation`. Policies for hardware come with the images that run there.",
        epilog="example: blindai measure > policy.toml",
    )
    parser.add_argument("--tee", choices=list(_MEASURED), default="tdx", help="which TEE is simulated")
    parser.add_argument("--json", action="store_true", help="print the digests as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    source = measurement.source_sha256()
    measured = _MEASURED[arguments.tee](source)
    if arguments.json:
        output.json_data(
            {"tee": arguments.tee, "simulated": True, "source_sha256": source, **_members(measured)}
        )
    else:
        output.talk("this is the measurement of a SIMULATION of these sources, not of hardware")
        output.data(measurement.policy_toml(measured))


def _members(measured: Measurements | Launch) -> dict[str, Any]:
    if isinstance(measured, Launch):
        return {
            "measurement": measured.measurement.hex(),
            "product": measured.product,
            "min_tcb": dict(measured.tcb),
        }
    return {name: getattr(measured, name).hex() for name in ("mrtd", "rtmr1", "rtmr2")}
