"""The options by which a command says which server it talks to and what it demands of it."""

from __future__ import annotations

import argparse
import os
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from blindai.cli import output
from blindai.client.demands import DEFAULT_ATTEMPTS
from blindai.client.floors import FloorsLike, FloorsWarning
from blindai.client.sync import Client, connect
from blindai.errors import UnreachableError, UsageError
from blindai.transport.refused import ReplicaRefusedWarning
from blindai.transport.session import DEFAULT_ATTESTATION_TIMEOUT_SECONDS, SimulationWarning

_SAID = (FloorsWarning, ReplicaRefusedWarning)
API_KEY_VARIABLE = "BLINDAI_API_KEY"
_MAX_KEY_FILE_BYTES = 64 * 1024

ADDRESS_HELP = "host, host:port (default port 9924) or https URL"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the server's address and the demands on it."""
    parser.add_argument("address", metavar="HOST", help=ADDRESS_HELP)
    add_demands(parser)
    parser.add_argument(
        "--attempts",
        type=int,
        default=DEFAULT_ATTEMPTS,
        metavar="N",
        help="how many of the replicas behind HOST to try until one is accepted; a refused one gets nothing "
        f"(default {DEFAULT_ATTEMPTS})",
    )
    parser.add_argument(
        "--attestation-timeout",
        type=float,
        default=DEFAULT_ATTESTATION_TIMEOUT_SECONDS,
        metavar="SECONDS",
        help="longest wait for evidence, of all replicas together "
        f"(default {DEFAULT_ATTESTATION_TIMEOUT_SECONDS:g})",
    )
    parser.add_argument(
        "--api-key-file",
        metavar="FILE",
        help=f"the file with your API key or token (default: the one in ${API_KEY_VARIABLE}, if any)",
    )
    # Not there, and yet named: argparse would take it for an abbreviation, and a secret for a file's name.
    parser.add_argument("--api-key", action=_Secret, help=argparse.SUPPRESS)


class _Secret(argparse.Action):
    """Refuse a secret on the command line, which other users see and the shell remembers."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> None:
        parser.error(
            f"a key on the command line is seen by others: put it into ${API_KEY_VARIABLE} or a file of "
            "yours (--api-key-file), and make a new one if this was one"
        )


def add_demands(parser: argparse.ArgumentParser) -> None:
    """Add what is demanded, wherever the evidence comes from, and how to say the result."""
    demands = parser.add_argument_group("what the server must be (a policy, a simulation, or both)")
    demands.add_argument("--policy", metavar="FILE", help="policy file; `blindai measure` prints one")
    demands.add_argument(
        "--simulation",
        action="store_true",
        help="accept a simulated server on this machine: no hardware protects what is sent",
    )
    demands.add_argument(
        "--simulation-root",
        action="append",
        metavar="ROOT",
        help="accept the simulation with this root, also in a bundle: PEM file or SHA-256, "
        "as `blindai serve` printed it; may be repeated",
    )
    demands.add_argument(
        "--certificate", metavar="FILE", help="the operator's certificate (PEM), which the server must show"
    )
    floors = parser.add_mutually_exclusive_group()
    floors.add_argument(
        "--floors",
        metavar="FILE",
        help="keep the newest collateral seen in this file, so that nothing older is accepted again "
        "(default: blindai/floors.json in $XDG_STATE_HOME or ~/.local/state)",
    )
    floors.add_argument("--no-floors", action="store_true", help="keep that in memory only")
    parser.add_argument(
        "--timeout",
        type=float,
        default=60.0,
        metavar="SECONDS",
        help="longest wait for an answer (default 60)",
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


@contextmanager
def connected(arguments: argparse.Namespace) -> Iterator[Client]:
    """Connect as the options say, and say aloud when the server is a simulation."""
    check_demands(arguments)
    with said_aloud(), _flags_named():
        client = connect(
            arguments.address,
            policy=arguments.policy,
            certificate=arguments.certificate,
            simulation=simulation(arguments),
            floors=True if (chosen := floors(arguments)) is None else chosen,
            api_key=_api_key(arguments),
            timeout_seconds=arguments.timeout,
            attestation_timeout_seconds=arguments.attestation_timeout,
            attempts=arguments.attempts,
        )
        with client:
            if client.verdict.simulated:
                output.talk(SIMULATED)
            yield client


@contextmanager
def _flags_named() -> Iterator[None]:
    """Name the flag of these verbs; `--timeout`, which the others have for it, is that of answers here."""
    try:
        yield
    except UnreachableError as error:
        error.hint = error.hint.replace("attestation_timeout_seconds", "--attestation-timeout")
        raise


def _api_key(arguments: argparse.Namespace) -> str | None:
    """Return the key from where other users of this machine do not see it: command lines they do see."""
    if arguments.api_key_file is None:
        return os.environ.get(API_KEY_VARIABLE) or None
    path = Path(arguments.api_key_file)
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(_MAX_KEY_FILE_BYTES)
    except OSError as exc:
        raise UsageError(f"cannot read the API key: {path}: {exc.strerror}") from exc
    if os.name == "posix" and stat.S_ISREG(mode) and mode & (stat.S_IRWXG | stat.S_IRWXO):
        output.talk(f"warning: other users of this machine may read the API key: chmod 600 {path}")
    # Not quoted where it is no text: it may hold a key all the same.
    return text.decode("utf-8", "replace").strip()


SIMULATED = "warning: SIMULATION: no hardware protects what is sent to this server"


def check_demands(arguments: argparse.Namespace, *, bundle: bool = False) -> None:
    """Say what is missing in the words of the command line; the library says the same in Python's."""
    if bundle and arguments.simulation and arguments.simulation_root is None:
        raise UsageError(
            "--simulation trusts whatever root is stapled: for a server on this machine, not for a file",
            hint="a bundle of a simulation: --simulation-root ROOT; `blindai serve` printed it, and so did "
            "`verify --save`",
        )
    if arguments.policy is None and simulation(arguments) is False:
        raise UsageError(
            "a policy is required: without one, anybody's enclave would do",
            hint="on a build you trust: blindai measure > policy.toml, then --policy policy.toml; "
            + (
                "a bundle of a simulation: --simulation-root ROOT"
                if bundle
                else "a simulated server on this machine: --simulation"
            ),
        )


def simulation(arguments: argparse.Namespace) -> bool | list[str]:
    """Return what `simulation=` is: an empty root is an error later, and never "any root"."""
    chosen: bool | list[str] = (
        arguments.simulation if arguments.simulation_root is None else arguments.simulation_root
    )
    return chosen


def floors(arguments: argparse.Namespace) -> FloorsLike | None:
    """Return what `floors=` is, or None if the options do not say."""
    chosen: str | None = arguments.floors
    return False if arguments.no_floors else chosen


@contextmanager
def said_aloud() -> Iterator[None]:
    """Say warnings as the command line speaks; that of simulations is said with the verdict."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SimulationWarning)
        for kind in _SAID:
            warnings.simplefilter("always", kind)
        show = warnings.showwarning

        def say(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            if issubclass(category, _SAID):
                output.talk(f"warning: {message}")
            else:
                show(message, category, filename, lineno, file, line)

        warnings.showwarning = say
        yield
