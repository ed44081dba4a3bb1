"""`blindai telemetry`: what would a server report to somebody else?"""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from blindai.cli import output, server_settings
from blindai.cli.parser import Verbs

if TYPE_CHECKING:
    from blindai.server.settings import Settings


def add(verbs: Verbs) -> None:
    parser = verbs.add_parser(
        "telemetry",
        help="show what a server would report to somebody else",
        description="Show what a server would report to somebody else.",
    )
    actions = parser.add_subparsers(title="actions", dest="action", required=True, metavar="ACTION")
    _add_show(actions)


def _add_show(actions: Verbs) -> None:
    parser = actions.add_parser(
        "show",
        help="print the exact message that a server with these settings sends, or why none is sent",
        description="Print the exact message that a server with these settings sends, with its counters at "
        "zero, and where it goes, or why nothing is sent. Nothing is sent by this command. Without an "
        "endpoint in the settings there is no telemetry; BLINDAI_DISABLE_TELEMETRY and DO_NOT_TRACK switch "
        'it off whatever the settings say: every value does but the empty one, "0" and "false".',
        epilog="example: blindai telemetry show --config blindai.toml",
    )
    parser.add_argument(
        "--config", metavar="FILE", help="the server's settings (default: the environment's alone)"
    )
    parser.add_argument("--json", action="store_true", help="print it as JSON, the message as a string")
    parser.set_defaults(run=show)


def show(arguments: argparse.Namespace) -> None:
    settings = server_settings.load(arguments.config, {}).settings
    from blindai.server.watch import telemetry  # noqa: PLC0415 - see `server_settings`

    endpoint = settings.telemetry_endpoint
    switch = telemetry.disabled(os.environ)
    if endpoint:
        telemetry.check_endpoint(endpoint)
    if not endpoint:
        _show_nothing("no endpoint is configured", arguments)
    elif switch is not None:
        _show_nothing(f"{switch} is set", arguments)
    else:
        message = telemetry.message(telemetry.Usage(), mode=_mode(settings), uptime_seconds=0)
        _show_message(message.decode(), endpoint, settings.telemetry_interval_seconds, arguments)


def _show_nothing(why: str, arguments: argparse.Namespace) -> None:
    if arguments.json:
        output.json_data({"sent": False, "why": why})
    else:
        output.data(f"nothing is sent: {why}")


def _show_message(message: str, endpoint: str, interval: int, arguments: argparse.Namespace) -> None:
    if arguments.json:
        output.json_data(
            {"sent": True, "endpoint": endpoint, "interval_seconds": interval, "message": message}
        )
    else:
        output.data(message)
        output.talk(f"sent by POST to {endpoint} every {interval} s while the server runs, with its counters")


def _mode(settings: Settings) -> str:
    """The execution mode of a server with these settings on this machine."""
    from blindai.server.watch.telemetry import execution_mode  # noqa: PLC0415 - see `show`
    from blindai.tee.detect import detect  # noqa: PLC0415

    found = detect().found
    if not settings.simulation and not found:
        output.talk(
            "no TEE was found here, so the execution mode is shown as none: such a server does not start"
        )
    return execution_mode(found[0].tee if found else "none", simulated=settings.simulation)
