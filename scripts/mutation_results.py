"""Outcomes of mutants: kept on disk as they come, and summed up against the survivors that are explained."""

from __future__ import annotations

import contextlib
import json
import threading
import tomllib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mutants import Mutant


@dataclass(frozen=True)
class Job:
    """One mutant of one file; `key` names file, source and change."""

    file: str
    mutant: Mutant
    source: bytes
    key: str


@dataclass
class Results:
    """Outcomes by job, in memory and on disk."""

    path: Path
    tests_sha256: str
    known: dict[str, dict[str, Any]] = field(default_factory=dict)
    killers: dict[str, Counter[str]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def load(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            for line in self.path.read_text("utf-8").splitlines():
                with contextlib.suppress(ValueError):  # the line that an interruption cut
                    self._learn(json.loads(line))

    def add(self, job: Job, outcome: dict[str, Any]) -> None:
        mutant = job.mutant
        record = {
            "key": job.key,
            "file": job.file,
            "line": mutant.line,
            "what": mutant.what,
            "code": mutant.code,
            "tests": self.tests_sha256,
            **outcome,
        }
        with self._lock:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
            self._learn(record)

    def _learn(self, record: dict[str, Any]) -> None:
        if record["outcome"] == "survived" and record["tests"] != self.tests_sha256:
            self.known.pop(record["key"], None)
            return
        self.known[record["key"]] = record
        if record["outcome"] == "killed" and "::" in record["by"]:
            self.killers.setdefault(record["file"], Counter())[record["by"].partition("::")[0]] += 1


def report(jobs: Sequence[Job], results: Results, *, explained_at: Path, sampled: bool) -> bool:
    """Print the summary and what needs an answer; return whether nothing does."""
    explanations = tomllib.loads(explained_at.read_text("utf-8")).get("mutant", [])
    used: set[int] = set()
    tally: dict[str, Counter[str]] = {}
    open_survivors = []
    for job in jobs:
        record = results.known[job.key]
        outcome = record["outcome"]
        if outcome == "survived":
            reasons = [n for n, entry in enumerate(explanations) if explains(entry, job)]
            used.update(reasons)
            outcome = "explained" if reasons else outcome
            if not reasons:
                open_survivors.append(job)
        tally.setdefault(job.file, Counter())[outcome] += 1
    columns = ("killed", "timeout", "explained", "survived")
    print(f"{'file':36}" + "".join(f"{name:>10}" for name in columns))
    for name, counts in [*tally.items(), ("total", sum(tally.values(), Counter()))]:
        print(f"{name:36}" + "".join(f"{counts[column]:10}" for column in columns))
    for job in open_survivors:
        print(f"survived: {job.file}:{job.mutant.line}: {job.mutant.what}\n    {job.mutant.code}")
    stale = [
        entry
        for number, entry in enumerate(explanations)
        if number not in used and entry["file"] in tally and not sampled
    ]
    for entry in stale:
        print(f"explains no survivor: {entry['file']}: {entry['what']}\n    {entry['code']}")
    return not open_survivors and not stale


def explains(entry: dict[str, Any], job: Job) -> bool:
    what = entry["what"] if isinstance(entry["what"], list) else [entry["what"]]
    return entry["file"] == job.file and entry["code"] == job.mutant.code and job.mutant.what in what
