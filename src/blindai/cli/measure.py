"""`blindai measure`: the measurement of this installation, as a policy."""

from __future__ import annotations

import argparse

from blindai.cli import output
from blindai.cli.parser import Verbs
from blindai.tee import measurement


def add(verbs: Verbs) -> None:
    parser = verbs.add_parser(
        "measure",
        help="print this installation's measurement as a policy",
        description="Print the policy that accepts exactly the blindai sources installed here, run by "
        "`blindai serve --simulation`. Policies for hardware come with the images that run there.",
        epilog="example: blindai measure > policy.toml",
    )
    parser.add_argument("--json", action="store_true", help="print the digests as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    source = measurement.source_sha256()
    measured = measurement.simulated_measurements(source)
    if arguments.json:
        output.json_data(
            {
                "tee": "tdx",
                "simulated": True,
                "source_sha256": source,
                "mrtd": measured.mrtd.hex(),
                "rtmr1": measured.rtmr1.hex(),
                "rtmr2": measured.rtmr2.hex(),
            }
        )
    else:
        output.talk("this is the measurement of a SIMULATION of these sources, not of hardware")
        output.data(measurement.policy_toml(measured))
