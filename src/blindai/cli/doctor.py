"""`blindai doctor`: could a server start here, and what is missing?"""

from __future__ import annotations

import argparse
import math
import platform
from collections.abc import Iterator
from typing import TYPE_CHECKING

from blindai.cli import output
from blindai.cli.parser import Verbs
from blindai.errors import UsageError

if TYPE_CHECKING:
    from blindai.server.doctor import Report

EXIT_NOT_READY = 7
_MAX_TIMEOUT_SECONDS = 3600.0
_TITLES = {"tee": "TEE", "tls": "Python and TLS"}


def add(verbs: Verbs) -> None:
    parser = verbs.add_parser(
        "doctor",
        help="look at what this machine has for a server, and say what is missing",
        description="Look at what a server would find on this machine: which TEE works, asked for evidence "
        "through each interface; the kernel; what a process can be locked down with; OpenSSL, the clock, the "
        "environment, limits and packages. Nothing stays changed, and nothing is asked of a network. "
        "Exit code: 0 if a TEE works and nothing keeps a server from starting here, "
        f"{EXIT_NOT_READY} if no TEE works here (only --simulation starts) or something else failed.",
        epilog="example: blindai doctor --json",
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument(
        "--timeout",
        type=float,
        default=15.0,
        metavar="SECONDS",
        help="how long each interface to a TEE has to give evidence (default 15)",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    timeout = arguments.timeout
    if not (math.isfinite(timeout) and 0 < timeout <= _MAX_TIMEOUT_SECONDS):
        raise UsageError(f"--timeout takes up to {_MAX_TIMEOUT_SECONDS:g} seconds, and more than 0")
    if platform.system() != "Linux":
        raise UsageError("a server runs on Linux only, and this is about one")
    from blindai.server.doctor import Surroundings, examine  # noqa: PLC0415 - of no use to the other verbs

    report = examine(Surroundings(timeout_seconds=timeout))
    if arguments.json:
        output.json_data(report.to_json())
    else:
        output.data("\n".join(_lines(report)))
    return 0 if report.ready else EXIT_NOT_READY


def _lines(report: Report) -> Iterator[str]:
    for section in report.sections:
        yield _TITLES.get(section.name, section.name)
        width = max(len(check.name) for check in section.checks)
        for check in section.checks:
            yield f"  {check.status:7}  {check.name:{width}}  {check.found}"
            if check.hint:
                yield f"  {'':7}  {'':{width}}  hint: {check.hint}"
        yield ""
    yield report.summary()
