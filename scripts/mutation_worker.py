"""Runs tests for `mutate.py`: one forked child for each run, so that starting Python is paid for once.

Libraries are imported before the fork, our own code never: each child imports the mutant. Started as
`mutation_worker.py COPY`; then reads a request and writes an outcome, one JSON line each.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

LIBRARIES = (
    "cryptography.x509", "cryptography.hazmat.primitives.asymmetric.ec", "dcap_qvl", "h11", "hypothesis",
    "numpy", "pytest_asyncio.plugin",
)  # fmt: skip
OPTIONS = (
    "-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist",
    "-W", "ignore::pytest.PytestAssertRewriteWarning",  # of the plugins imported above
)  # fmt: skip
NOT_THE_COPY = 97  # exit status: the tests imported another blindai


class _FirstFailure:
    """A pytest plugin that remembers which test failed first."""

    name = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and not self.name:
            self.name = report.nodeid


def run(copy: Path, stages: list[list[str]], timeout: float, *, keep_bytecode: bool) -> dict[str, Any]:
    """Run the stages of tests until one fails; return the outcome, the test that failed, and seconds."""
    started = time.monotonic()
    outcome, by = "survived", ""
    for tests in stages:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            _child(copy, tests, writing, keep_bytecode=keep_bytecode)
        os.close(writing)
        outcome, by = _await(child, reading, started + timeout)
        if outcome != "survived":
            break
    return {"outcome": outcome, "by": by, "seconds": round(time.monotonic() - started, 2)}


def _child(copy: Path, tests: list[str], writing: int, *, keep_bytecode: bool) -> None:
    status = NOT_THE_COPY
    try:
        os.setsid()
        nowhere = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(nowhere, descriptor)
        # A compiled file is trusted by time and size: mutants written within a second would be confused.
        sys.dont_write_bytecode = not keep_bytecode
        failure = _FirstFailure()
        status = int(pytest.main([*OPTIONS, *tests], plugins=[failure]))
        ours = sys.modules.get("blindai")
        if ours is not None and not str(ours.__file__).startswith(f"{copy}{os.sep}"):
            status = NOT_THE_COPY
        os.write(writing, failure.name.encode()[:4096])
    finally:
        os._exit(status)


def _await(child: int, reading: int, deadline: float) -> tuple[str, str]:
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        if time.monotonic() > deadline:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            os.close(reading)
            return "timeout", ""
        time.sleep(0.01)
    with os.fdopen(reading, "rb") as pipe:
        by = pipe.read().decode()
    code = os.waitstatus_to_exitcode(status)
    if code == NOT_THE_COPY:
        return "error: the tests did not import the copy", by
    if code == pytest.ExitCode.NO_TESTS_COLLECTED:
        return "error: no tests", by
    return ("survived", by) if code == 0 else ("killed", by or f"exit status {code}")


def main() -> None:
    copy = Path(sys.argv[1])
    os.chdir(copy)
    sys.path[:0] = [str(copy / "src")]
    for name in LIBRARIES:
        importlib.import_module(name)
    if "blindai" in sys.modules:
        sys.exit("a library imported blindai before the fork")
    for line in sys.stdin:
        request = json.loads(line)
        outcome = run(copy, request["stages"], request["timeout"], keep_bytecode=request["keep_bytecode"])
        print(json.dumps(outcome), flush=True)


if __name__ == "__main__":
    main()
