"""One target under Atheris (libFuzzer with Python's coverage), in a process of its own; see `fuzz.__main__`.

`python -m fuzz.worker TARGET CORPUS [libFuzzer's options]`. A native library that aborts ends only this
process, and libFuzzer writes the input that did it.
"""

from __future__ import annotations

import importlib
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from fuzz.mutations import mutate
from fuzz.targets import TARGETS, Target

MEASURED = (
    "blindai.attestation",
    "blindai.channel",
    "blindai.runtime.model_stream",
    "blindai.server.callers",
    "blindai.server.http.receipts",
    "blindai.server.settings",
    "blindai.store",
    "blindai.tee.certificate_table",
    "blindai.tee.gramine",
    "blindai.tee.nsm",
    "blindai.wire",
)
MAX_CPU_SECONDS = 1.0


def judge(target: Target, function: Callable[[bytes], Any]) -> Callable[[bytes], None]:
    """Return a function that passes only what may happen: a value or our own error, in bounded work."""
    from blindai import errors  # noqa: PLC0415  not before it can be measured

    own = tuple(getattr(errors, name) for name in target.errors)
    allowed: tuple[type[Exception], ...] = (*own, *target.documented)

    def once(data: bytes) -> None:
        started = time.thread_time()  # of this thread: a busy machine must not fail the run
        try:
            function(data)
        except allowed as error:
            str(error)
        if time.thread_time() - started > MAX_CPU_SECONDS:
            raise TimeoutError(f"more than {MAX_CPU_SECONDS} s of work for {len(data)} bytes")

    return once


def accepted(function: Callable[[bytes], Any], sample: bytes) -> bool:
    try:
        function(sample)
    except Exception as error:  # noqa: BLE001  which one, the log says
        print(f"a sample is refused: {type(error).__name__}: {error}", file=sys.stderr)  # noqa: T201
        return False
    return True


def fuzz(name: str, corpus: Path, options: list[str]) -> None:
    atheris = importlib.import_module("atheris")
    target = TARGETS[name]
    with atheris.instrument_imports(include=list(MEASURED)):
        function, samples = target.load()
    if not any(accepted(function, sample) for sample in samples):
        sys.exit(f"{name} refuses all of its samples: nothing behind its first check would be fuzzed")
    for number, sample in enumerate(samples):
        (corpus / f"sample-{number}").write_bytes(sample[: target.max_bytes])

    def variant(data: bytes, max_size: int, seed: int) -> bytes:
        def change(piece: bytes) -> bytes:
            return bytes(atheris.Mutate(piece, min(max_size, len(piece) + 64)))

        return mutate(data, target.shape, Random(seed), change)[:max_size]  # noqa: S311  nothing secret

    largest = max([target.max_bytes // 4, *(2 * len(sample) for sample in samples)])
    limit = f"-max_len={min(largest, target.max_bytes)}"
    argv = ["fuzz", *options, limit, str(corpus)]
    atheris.Setup(argv, judge(target, function), custom_mutator=variant)
    atheris.Fuzz()


def reproduce(name: str, data: bytes) -> None:
    """Run one input without Atheris: what is wrong ends in a traceback."""
    target = TARGETS[name]
    function, _ = target.load()
    judge(target, function)(data)


if __name__ == "__main__":
    # Flipped certificates make `cryptography` mention serial numbers and the like.
    warnings.simplefilter("ignore")
    fuzz(sys.argv[1], Path(sys.argv[2]), sys.argv[3:])
