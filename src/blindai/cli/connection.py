"""The options by which a command says which server it talks to and what it demands of it."""

from __future__ import annotations

import argparse
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from blindai.cli import output
from blindai.client.sync import Client, connect
from blindai.transport.session import SimulationWarning

API_KEY_VARIABLE = "BLINDAI_API_KEY"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("address", metavar="HOST", help="host, host:port (default port 9924) or https URL")
    demands = parser.add_argument_group("what the server must be (a policy, a simulation, or both)")
    demands.add_argument("--policy", metavar="FILE", help="policy file; `blindai measure` prints one")
    demands.add_argument(
        "--simulation",
        action="store_true",
        help="accept a simulated server on this machine: no hardware protects what is sent",
    )
    demands.add_argument(
        "--simulation-root",
        metavar="ROOT",
        help="accept the simulation with this root: PEM file or SHA-256, as `blindai serve` printed it",
    )
    demands.add_argument(
        "--certificate", metavar="FILE", help="the operator's certificate (PEM), which the server must show"
    )
    parser.add_argument(
        "--timeout",
        type=float,
        default=60.0,
        metavar="SECONDS",
        help="longest wait for an answer (default 60)",
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


@contextmanager
def connected(arguments: argparse.Namespace, *, api_key: bool = True) -> Iterator[Client]:
    """Connect as the options say, and say aloud when the server is a simulation."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SimulationWarning)
        client = connect(
            arguments.address,
            policy=arguments.policy,
            certificate=arguments.certificate,
            simulation=arguments.simulation
            if arguments.simulation_root is None
            else arguments.simulation_root,
            api_key=(os.environ.get(API_KEY_VARIABLE) or None) if api_key else None,
            timeout_seconds=arguments.timeout,
        )
        with client:
            if client.verdict.simulated:
                output.talk("warning: SIMULATION: no hardware protects what is sent to this server")
            yield client
