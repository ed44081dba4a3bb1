"""Changes our own checks one at a time and asks the tests to notice: who checks that a check is checked.

    .venv/bin/python scripts/mutate.py --out build/mutants
    .venv/bin/python scripts/mutate.py --out build/mutants --files 'channel/*.py' --sample 50 --seed 3

Works on copies of src/ and tests/, never on the tree itself. Each outcome is one line of results.jsonl in
--out: a run that was interrupted continues there, and a survivor is tried again when a test has changed.
`mutants_explained.toml` says of the survivors that remain why no test can tell them from the original.
Exits with 1 if another survivor remains, or an explanation explains nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mutants import mutants
from mutation_results import Job, Results, report

ROOT = Path(__file__).parents[1]
PACKAGE = "src/blindai"
FILES = ("attestation/**/*.py", "channel/**/*.py")
EXPLAINED = Path(__file__).with_name("mutants_explained.toml")

# What notices most is run first, alone: most mutants end there. Then everything in TESTS.
TESTS = ("tests/attestation", "tests/channel")
FIRST = {
    "attestation/appraisal.py": (
        "attestation/test_appraisal_edges.py",
        "attestation/test_policy_judgement.py",
    ),
    "attestation/binding.py": ("attestation/test_binding.py", "attestation/test_types_edges.py"),
    "attestation/explanations.py": ("attestation/test_explanations.py",),
    "attestation/amd/endorsement.py": (
        "attestation/test_snp_certificates_edges.py",
        "attestation/test_genuine_snp.py",
        "attestation/test_reasons.py",
    ),
    "attestation/amd/product.py": (
        "attestation/test_snp_report_edges.py",
        "attestation/test_genuine_snp.py",
    ),
    "attestation/amd/report.py": (
        "attestation/test_snp_report_edges.py",
        "attestation/test_genuine_snp.py",
    ),
    "attestation/amd/snp.py": ("attestation/test_genuine_snp.py", "attestation/test_reasons.py"),
    "attestation/amd/snp_judgement.py": (
        "attestation/test_policy_snp.py",
        "attestation/test_snp_claims_edges.py",
    ),
    "attestation/amd/snp_policy.py": (
        "attestation/test_policy_snp.py",
        "attestation/test_entries_edges.py",
        "attestation/test_snp_claims_edges.py",
    ),
    "attestation/aws/document.py": (
        "attestation/test_nitro_document_edges.py",
        "attestation/test_genuine_nitro.py",
    ),
    "attestation/aws/nitro.py": (
        "attestation/test_genuine_nitro.py",
        "attestation/test_nitro_document_edges.py",
    ),
    "attestation/aws/nitro_policy.py": ("attestation/test_policy_nitro.py",),
    "attestation/chain.py": (
        "attestation/test_chain.py",
        "attestation/test_chain_edges.py",
        "attestation/test_collateral_attacks.py",
    ),
    "attestation/intel/collateral.py": (
        "attestation/test_intel_collateral_edges.py",
        "attestation/test_collateral_attacks.py",
        "attestation/test_collateral_texts.py",
    ),
    "attestation/intel/dcap.py": ("attestation/test_reasons.py",),
    "attestation/intel/evidence.py": ("attestation/test_genuine_tdx.py", "attestation/test_reasons.py"),
    "attestation/intel/quote.py": (
        "attestation/test_quote_layout.py",
        "attestation/test_sgx_quote_edges.py",
    ),
    "attestation/intel/sgx_policy.py": (
        "attestation/test_policy_sgx.py",
        "attestation/test_intel_claims_edges.py",
    ),
    "attestation/intel/sgx.py": (
        "attestation/test_genuine_sgx.py",
        "attestation/test_intel_claims_edges.py",
    ),
    "attestation/intel/tcb_policy.py": (
        "attestation/test_intel_claims_edges.py",
        "attestation/test_policy_sgx.py",
    ),
    "attestation/intel/tdx_policy.py": (
        "attestation/test_policy_tdx.py",
        "attestation/test_intel_claims_edges.py",
        "attestation/test_policy_judgement.py",
    ),
    "attestation/intel/tdx.py": ("attestation/test_collateral_attacks.py", "attestation/test_reasons.py"),
    "attestation/policy.py": (
        "attestation/test_policy_edges.py",
        "attestation/test_judgement_edges.py",
        "attestation/test_policy_grammar.py",
    ),
    "attestation/relaxation.py": ("attestation/test_types_edges.py", "attestation/test_relaxations.py"),
    "attestation/times.py": ("attestation/test_types_edges.py",),
    "attestation/toml_table.py": (
        "attestation/test_policy_edges.py",
        "attestation/test_toml_table_edges.py",
        "attestation/test_policy_grammar.py",
    ),
    "attestation/trust.py": ("attestation/test_trust.py", "attestation/test_verifier_edges.py"),
    "attestation/types.py": ("attestation/test_types_edges.py",),
    "attestation/vendors.py": ("attestation/test_verifier_edges.py", "attestation/test_policy_grammar.py"),
    "attestation/verdict.py": ("attestation/test_verdict_edges.py", "attestation/test_explanations.py"),
    "attestation/verifier.py": ("attestation/test_attested.py", "attestation/test_verifier_edges.py"),
    "channel/answer.py": ("channel/test_answer.py", "channel/test_handshake_edges.py"),
    "channel/bundle.py": ("channel/test_limits_edges.py", "channel/test_peer.py", "channel/test_bundle.py"),
    "channel/challenge.py": ("channel/test_challenge_edges.py", "channel/test_challenge.py"),
    "channel/handshake.py": ("channel/test_fetch_answer.py", "channel/test_handshake_edges.py"),
    "channel/keyset.py": ("channel/test_limits_edges.py", "channel/test_keyset.py"),
    "channel/operator.py": (
        "channel/test_operator.py",
        "channel/test_operator_leaf.py",
        "channel/test_operator_edges.py",
        "channel/test_limits_edges.py",
    ),
    "channel/refusal.py": ("channel/test_limits_edges.py", "channel/test_bundle.py"),
}
LAST = ("test_conclude_fuzz.py", "test_bit_flips.py")


class Worker:
    """One copy of the tree and the process that runs tests in it."""

    def __init__(self, copy: Path) -> None:
        self.copy = copy
        evidence = os.environ.get("BLINDAI_EVIDENCE") or ROOT.parent / "shared" / "evidence"
        environment = {
            **os.environ,
            "PYTHONPATH": str(copy / "src"),  # stands before the editable installation
            "BLINDAI_EVIDENCE": str(evidence),
            "OPENBLAS_NUM_THREADS": "1",
        }
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("mutation_worker.py")), str(copy)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, stages: list[list[str]], timeout: float, *, keep_bytecode: bool = False) -> dict[str, Any]:
        sending, receiving = self._process.stdin, self._process.stdout
        if sending is None or receiving is None:
            raise RuntimeError("the worker has no pipes")
        request = {"stages": stages, "timeout": timeout, "keep_bytecode": keep_bytecode}
        sending.write(json.dumps(request) + "\n")
        sending.flush()
        outcome: dict[str, Any] = json.loads(receiving.readline())
        if outcome["outcome"].startswith("error"):
            raise RuntimeError(outcome["outcome"])
        return outcome

    def judge(self, job: Job, stages: list[list[str]], timeout: float) -> dict[str, Any]:
        """Run the tests against the mutant, and put the file back."""
        path = self.copy / PACKAGE / job.file
        for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
            compiled.unlink()
        path.write_bytes(job.mutant.of(job.source))
        try:
            return self.run(stages, timeout)
        finally:
            path.write_bytes(job.source)

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


def jobs_of(root: Path, patterns: Sequence[str]) -> list[Job]:
    package = root / PACKAGE
    files = sorted({path for pattern in patterns for path in package.glob(pattern) if path.suffix == ".py"})
    jobs = []
    for path in files:
        name, source = path.relative_to(package).as_posix(), path.read_bytes()
        for mutant in mutants(source):
            change = f"{name}\0{mutant.start}\0{mutant.end}\0".encode() + mutant.text + b"\0" + source
            jobs.append(Job(name, mutant, source, hashlib.sha256(change).hexdigest()))
    return jobs


def stages_of(root: Path, file: str, killers: Counter[str]) -> list[list[str]]:
    """Return the test files to run: those that noticed most so far, then all others."""
    every = [path.relative_to(root).as_posix() for top in TESTS for path in (root / top).rglob("test_*.py")]
    every.sort(key=lambda name: (name.endswith(LAST), name))
    stem = Path(file).stem
    named = [f"tests/{name}" for name in FIRST.get(file, ())]
    likely = [*(name for name, _ in killers.most_common(2)), *named]
    likely += [name for name in every if stem in Path(name).stem]
    first = [name for name in dict.fromkeys(likely) if name in every][:3]
    rest = [name for name in every if name not in first]
    return [stage for stage in (first, rest) if stage]


@contextlib.contextmanager
def copies(root: Path, count: int, results: Results) -> Iterator[tuple[list[Worker], float]]:
    """Yield workers and the time limit of a run; fail if the tests do not pass as they are."""
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder, contextlib.ExitStack() as stack:
        first = Path(folder).resolve() / "0"
        for name in ("src", "tests"):
            shutil.copytree(root / name, first / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(root / "pyproject.toml", first)
        workers = [Worker(first)]
        stack.callback(workers[0].close)
        say("running the tests on the code as it is")
        baseline = workers[0].run([list(TESTS)], 900, keep_bytecode=True)
        if baseline["outcome"] != "survived":
            raise SystemExit(f"the tests fail without a mutant: {baseline['by']}")
        say(f"they pass, in {baseline['seconds']} s; results go to {results.path}")
        for number in range(1, count):
            shutil.copytree(first, first.with_name(str(number)))
            workers.append(Worker(first.with_name(str(number))))
            stack.callback(workers[-1].close)
        yield workers, 4 * baseline["seconds"] + 20


def run_all(root: Path, jobs: Sequence[Job], results: Results, *, count: int) -> None:
    """Judge every job, in `count` processes at a time."""
    waiting, total = list(reversed(jobs)), len(jobs)
    failures: list[BaseException] = []

    def drive(worker: Worker, limit: float) -> None:
        try:
            while not failures:
                try:
                    job = waiting.pop()
                except IndexError:
                    return
                stages = stages_of(root, job.file, results.killers.get(job.file, Counter()))
                outcome = worker.judge(job, stages, limit)
                results.add(job, outcome)
                show_progress(job, outcome, total - len(waiting), total)
        except BaseException as failure:  # noqa: BLE001  raised again in the main thread
            failures.append(failure)

    with copies(root, count, results) as (workers, limit):
        threads = [threading.Thread(target=drive, args=(worker, limit)) for worker in workers]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                thread.join()
        except KeyboardInterrupt as interruption:
            failures.append(interruption)  # the threads end after their mutant
            for thread in threads:
                thread.join()
    if failures:
        raise failures[0]


def show_progress(job: Job, outcome: dict[str, Any], done: int, total: int) -> None:
    if outcome["outcome"] != "killed":
        say(f"{done}/{total} {outcome['outcome']}: {job.file}:{job.mutant.line} {job.mutant.what}")
    elif done % 25 == 0 or done == total:
        say(f"{done}/{total}")


def tests_digest(root: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(path for top in TESTS for path in (root / top).rglob("*.py")):
        digest.update(path.as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the results; continued if there")
    parser.add_argument("--files", nargs="+", default=FILES, metavar="GLOB", help=f"below {PACKAGE}")
    parser.add_argument("--sample", type=int, metavar="N", help="only N mutants, drawn by --seed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--root", type=Path, default=ROOT, help="another checkout")
    arguments = parser.parse_args()
    jobs = jobs_of(arguments.root, arguments.files)
    if not jobs:
        parser.error("no mutants in these files")
    if arguments.sample:
        generator = random.Random(arguments.seed)  # noqa: S311  nothing secret
        drawn = generator.sample(range(len(jobs)), min(arguments.sample, len(jobs)))
        jobs = [jobs[number] for number in sorted(drawn)]
    arguments.out.mkdir(parents=True, exist_ok=True)
    results = Results(arguments.out / "results.jsonl", tests_digest(arguments.root))
    results.load()
    missing = [job for job in jobs if job.key not in results.known]
    say(f"{len(jobs)} mutants, {len(missing)} not yet judged; seed {arguments.seed}")
    if missing:
        run_all(arguments.root, missing, results, count=arguments.workers)
    return 0 if report(jobs, results, explained_at=EXPLAINED, sampled=bool(arguments.sample)) else 1


if __name__ == "__main__":
    sys.exit(main())
