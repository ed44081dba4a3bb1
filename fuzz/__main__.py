"""Fuzzes every target, two at a time, and prints what was run: executions, seed, coverage, findings.

    .venv/bin/python -m fuzz --executions 200000 --seed 1
    .venv/bin/python -m fuzz --target keyset --executions 1000000 --seed 7 --corpus corpus/
    .venv/bin/python -m fuzz --reproduce findings/verify-crash-0123...

No input may end in anything but a verdict or one of BlindAI's own errors, within a second of work and 1 GiB.
Samples carry fresh keys in every run; with --corpus, inputs are kept, and the same seed repeats the run.
Needs Atheris, which has wheels for Linux on x86-64 only; --reproduce needs nothing.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from fuzz.targets import TARGETS
from fuzz.worker import reproduce

FINDING = re.compile(r"(?P<target>[a-z0-9-]+?)-(crash|timeout|oom|leak|slow-unit)-[0-9a-f]+")
# The watchdog behind the limit of one second of work: for code that never comes back.
LIBFUZZER = (
    "-timeout=30",
    "-rss_limit_mb=1024",
    "-len_control=0",
    "-mutate_depth=2",
    "-print_final_stats=1",
    "-report_slow_units=30",
)


@dataclass(frozen=True)
class Outcome:
    """What libFuzzer said about one target. `log` is its whole output."""

    target: str
    asked: int
    executions: int
    seconds: float
    coverage: int
    features: int
    corpus: int
    status: int
    log: str

    @property
    def held(self) -> bool:
        return self.status == 0 and self.executions >= self.asked


def run(target: str, executions: int, seed: int, corpus: Path, findings: Path) -> Outcome:
    """Fuzz one target in a process of its own."""
    folder = corpus / target
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "fuzz.worker", target, str(folder)]
    command += [*LIBFUZZER, f"-runs={executions}", f"-seed={seed}", f"-artifact_prefix={findings}/{target}-"]
    # Odd seeds also keep what comes closer to a value that is compared with: it finds magic numbers and fills
    # the corpus with near misses, so that the samples themselves come up less.
    command.append(f"-use_value_profile={seed % 2}")
    started = time.monotonic()
    done = subprocess.run(
        command,
        env={**os.environ, "PYTHONHASHSEED": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    log = done.stdout.decode("utf-8", errors="replace")
    states = re.findall(r"^#(\d+)\s.*?cov: (\d+) ft: (\d+) corp: (\d+)/", log, re.MULTILINE)
    last = [int(number) for number in states[-1]] if states else [0, 0, 0, 0]
    counted = re.search(r"^stat::number_of_executed_units:\s*(\d+)", log, re.MULTILINE)
    return Outcome(
        target=target,
        asked=executions,
        executions=int(counted[1]) if counted else last[0],
        seconds=time.monotonic() - started,
        coverage=last[1],
        features=last[2],
        corpus=last[3],
        status=done.returncode,
        log=log,
    )


def fuzz(
    targets: Sequence[str], executions: int, seed: int, *, corpus: Path, findings: Path, jobs: int
) -> bool:
    """Share the executions out, run, print; return whether everything held."""
    shares = sum(TARGETS[name].share for name in targets)
    wanted = {name: -(-executions * TARGETS[name].share // shares) for name in targets}
    findings.mkdir(parents=True, exist_ok=True)
    print(f"seed {seed}, {executions} executions over {len(targets)} targets, {jobs} at a time", flush=True)
    heading = (
        f"{'target':18}{'executions':>11}{'seconds':>9}{'per s':>8}{'edges':>7}{'features':>9}{'corpus':>8}"
    )
    print(heading, flush=True)
    with ThreadPoolExecutor(jobs) as pool:
        # The slowest first, so that the end is not one process waiting for another.
        order = sorted(targets, key=lambda name: TARGETS[name].share)
        waiting = [pool.submit(run, name, wanted[name], seed, corpus, findings) for name in order]
        outcomes = []
        for future in waiting:
            outcomes.append(future.result())
            print(row(outcomes[-1]), flush=True)
    total = sum(outcome.executions for outcome in outcomes)
    broken = [outcome for outcome in outcomes if not outcome.held]
    print(f"{'total':18}{total:11}   seed {seed}: {'FAILED' if broken else 'every input ended as it may'}")
    for outcome in broken:
        print(f"\n{outcome.target}: ended with status {outcome.status}\n{ending(outcome.log)}")
    return not broken


def row(outcome: Outcome) -> str:
    rate = outcome.executions / outcome.seconds
    return (
        f"{outcome.target:18}{outcome.executions:11}{outcome.seconds:9.1f}{rate:8.0f}{outcome.coverage:7}"
        f"{outcome.features:9}{outcome.corpus:8}{'' if outcome.held else '  FAILED'}"
    )


def ending(log: str) -> str:
    """Return the lines that say what happened, without the progress of libFuzzer."""
    lines = [line for line in log.splitlines() if not re.match(r"#\d+\s|INFO: |stat::|\s+#\d+ 0x", line)]
    return "\n".join(line[:400] for line in lines[-40:])


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m fuzz", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--executions", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=1, help="1 or more")
    parser.add_argument("--target", action="append", choices=TARGETS, help="only this one; may be repeated")
    parser.add_argument("--corpus", type=Path, help="keep inputs here, and begin with those that are there")
    parser.add_argument(
        "--findings", type=Path, default=Path("findings"), help="where a bad input is written"
    )
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument(
        "--reproduce", type=Path, metavar="FILE", help="run one finding; its name tells the target"
    )
    arguments = parser.parse_args()
    if arguments.reproduce:
        named = FINDING.match(arguments.reproduce.name)
        target = arguments.target[0] if arguments.target else named["target"] if named else None
        if target not in TARGETS:
            parser.error("the file's name does not begin with a target: give --target")
        reproduce(target, arguments.reproduce.read_bytes())
        print(f"{target}: ended as it may")
        return 0
    if importlib.util.find_spec("atheris") is None:
        parser.exit(2, "Atheris is not installed: `make dev` on Linux, x86-64\n")
    if arguments.seed < 1:
        parser.error("--seed is 1 or more: libFuzzer takes 0 for the clock")
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        os.environ["TMPDIR"] = folder  # of the workers: none of them may leave a file behind
        held = fuzz(
            arguments.target or list(TARGETS),
            arguments.executions,
            arguments.seed,
            corpus=arguments.corpus or Path(folder),
            findings=arguments.findings,
            jobs=arguments.jobs,
        )
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
