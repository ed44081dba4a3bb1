"""Tests of whole servers: `make test-system` runs them, `make test` does not even collect them."""

from __future__ import annotations

import os
import random

import pytest

WANTED = os.environ.get("BLINDAI_SYSTEM") == "1"

# Minutes of kills, floods and full disks are not for every run of the tests, and a hundred lines that say
# "skipped" would hide those that matter.
collect_ignore_glob = [] if WANTED else ["test_*.py"]

if WANTED:
    # In the environment, so that all processes of a parallel run have the same one.
    os.environ.setdefault("BLINDAI_SEED", str(random.SystemRandom().randrange(2**32)))


def pytest_report_header() -> list[str]:
    if not WANTED:
        return ["tests/system: only with BLINDAI_SYSTEM=1, as in make test-system"]
    kills = os.environ.get("BLINDAI_KILLS", "the default")
    return [f"BLINDAI_SEED={os.environ['BLINDAI_SEED']} BLINDAI_KILLS={kills}"]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what the tests measured, though they passed."""
    for report in terminalreporter.getreports("passed"):
        if report.when == "call" and "tests/system/" in report.nodeid and report.capstdout:
            name = report.nodeid.rpartition("::")[2]
            for line in report.capstdout.splitlines():
                terminalreporter.write_line(f"{name}: {line}")
