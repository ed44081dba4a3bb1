"""The shape of the argument parser; usage errors leave with our own exit code."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from blindai.cli import output

EXIT_USAGE = 1

if TYPE_CHECKING:
    Verbs = argparse._SubParsersAction["Parser"]  # noqa: SLF001  argparse names the type nowhere else
else:
    Verbs = object


class Parser(argparse.ArgumentParser):
    """argparse leaves with 2 on a usage error, which here means unreachable.

    And it takes the beginning of an option for the option: a secret could end up where a file name is meant.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{"allow_abbrev": False, **options})

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        output.talk(f"error: {message}\nhint: {self.prog} --help")
        self.exit(EXIT_USAGE)
