"""The command line: a line for each sample, a summary, and an exit code."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from blindai.errors import UsageError
from blindai.testing.samples.runner import Result, find, run

EXIT_CONTRADICTION = 1
EXIT_USAGE = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Judge every sample under a folder and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m blindai.testing.samples",
        description="Judge recorded evidence, then compare with what its author expected.",
        epilog="exit codes: 0 as expected, 1 a contradiction, 2 no samples there",
    )
    parser.add_argument("folder", metavar="DIR", type=Path, help="where the samples are, at any depth")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of lines")
    arguments = parser.parse_args(argv)
    try:
        folders = find(arguments.folder)
    except UsageError as error:
        sys.stderr.write(f"error: {error}\nhint: {error.hint}\n")
        return EXIT_USAGE
    results = []
    for folder in folders:
        results.append(run(folder, root=arguments.folder))
        if not arguments.json:
            sys.stdout.write(f"{results[-1]}\n")
    counts = _counts(results)
    if arguments.json:
        answer = {"samples": [result.to_json() for result in results], "summary": counts}
        sys.stdout.write(f"{json.dumps(answer, indent=2)}\n")
    else:
        sys.stdout.write(f"{', '.join(f'{count} {what}' for what, count in counts.items())}\n")
    return EXIT_CONTRADICTION if counts["contradictions"] else 0


def _counts(results: Sequence[Result]) -> dict[str, int]:
    verdicts = Counter(result.judgement.verdict for result in results)
    contradictions = sum(bool(result.contradiction) for result in results)
    return {"samples": len(results), **dict(sorted(verdicts.items())), "contradictions": contradictions}


if __name__ == "__main__":
    sys.exit(main())
