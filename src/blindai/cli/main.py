"""The entry point: parse, run, and turn each kind of failure into its exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from blindai import __version__
from blindai.cli import output
from blindai.cli.parser import EXIT_USAGE, Parser
from blindai.errors import (
    AttestationError,
    BlindAIError,
    EvidenceRejected,
    ResponseError,
    ServerRefused,
    UnreachableError,
    UsageError,
)

# The first match counts.
EXIT_CODES: tuple[tuple[type[BlindAIError], int], ...] = (
    (UsageError, EXIT_USAGE),
    (UnreachableError, 2),
    (EvidenceRejected, 3),
    (AttestationError, 4),
    (ServerRefused, 5),
    (ResponseError, 5),
    (BlindAIError, EXIT_USAGE),
)
EXIT_INTERRUPTED = 130


def build_parser() -> Parser:
    """Return the whole command line; the documentation is generated from it."""
    # Here, so that a verb family is loaded with the command line and not with `blindai`.
    from blindai.cli import (  # noqa: PLC0415
        collateral,
        doctor,
        keys,
        measure,
        models,
        policy,
        predict,
        receipt,
        serve,
        store,
        telemetry,
        verify,
    )

    parser = Parser(
        prog="blindai",
        description="Confidential AI inference: verify the hardware, then send the data.",
        epilog="exit codes: 0 accepted or done, 1 usage, 2 unreachable, 3 rejected by policy, "
        "4 malformed or forged evidence, 5 refused by the server, "
        "6 policies differ (policy diff --exit-code), 7 no server on hardware could start here (doctor)",
    )
    parser.add_argument("--version", action="version", version=f"blindai {__version__}")
    verbs = parser.add_subparsers(title="verbs", dest="verb", required=True, metavar="VERB")
    for family in (
        serve,
        doctor,
        verify,
        predict,
        models,
        keys,
        receipt,
        store,
        measure,
        collateral,
        policy,
        telemetry,
    ):
        family.add(verbs)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    arguments = build_parser().parse_args(argv)
    try:
        return int(arguments.run(arguments) or 0)
    except BlindAIError as error:
        output.failure(error)
        return next(code for kind, code in EXIT_CODES if isinstance(error, kind))
    except BrokenPipeError:
        # The reader of stdout has gone (`| head`); there is nobody to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
