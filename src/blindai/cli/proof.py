"""`--receipt FILE`: keep the proof of what a command asked and was answered, refusals included."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from blindai.cli import output
from blindai.cli.parser import Parser
from blindai.errors import ServerRefused, UsageError

if TYPE_CHECKING:
    from blindai.client.answer_receipt import AnswerReceipt


def add_arguments(parser: Parser, what: str) -> None:
    """Add the option; `what` says what the proof is of."""
    parser.add_argument(
        "--receipt",
        metavar="FILE",
        help=f"ask for a signed receipt, and save the proof {what} to this file "
        "(then: blindai receipt verify FILE)",
    )


def wanted(arguments: argparse.Namespace) -> bool:
    return arguments.receipt is not None


@contextmanager
def of_refusals(arguments: argparse.Namespace, *, bodies: bool = False) -> Iterator[None]:
    """Save the proof of a refusal, too: that the server said no can matter more than that it said yes."""
    try:
        yield
    except ServerRefused as refusal:
        try:
            save(arguments, refusal.receipt, bodies=bodies)
        except UsageError as error:
            output.failure(error)  # the exit code is the refusal's
        raise


def save(arguments: argparse.Namespace, receipt: AnswerReceipt | None, *, bodies: bool = False) -> None:
    if receipt is None:
        return
    receipt.save(arguments.receipt, bodies=bodies)
    output.talk(f"proof saved to {arguments.receipt}")
