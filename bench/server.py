"""`make bench-server`: what sealing, authorization, receipts, watching and uploads cost the server.

Ratios and differences within one run, sides in turns; the raw figures go to bench/results/. Not a timed test:
limits are told beside the figures. `python bench/server.py receipts metrics` runs these alone, and keeps
nothing.
"""

from __future__ import annotations

import datetime
import json
import os
import sys
import tempfile
import time
import warnings
from pathlib import Path

os.environ["ORT_DISABLE_TELEMETRY"] = "1"
HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

import blindai  # noqa: E402
from bench import admission, cold_start, uploading, watched, witnessing  # noqa: E402
from bench.run import machine, pin  # noqa: E402

# What is measured, with how many rounds, and whether on a core of its own.
SECTIONS = {
    "cold-start": (cold_start.measure, 3, False),
    "authorization": (admission.measure, 25, True),
    "receipts": (witnessing.measure, 25, True),
    "metrics": (watched.measure, 40, True),
    "uploads": (uploading.measure, 2, False),
}


def main() -> None:
    warnings.simplefilter("ignore", blindai.SimulationWarning)
    wanted = sys.argv[1:] or list(SECTIONS)
    if unknown := set(wanted) - SECTIONS.keys():
        sys.exit(f"there is no {', '.join(unknown)}; there are {', '.join(SECTIONS)}")
    results = {
        "when": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "load_before": os.getloadavg(),
        "sections": [],
    }
    everywhere = os.sched_getaffinity(0)
    limits = []
    for name in wanted:
        measure, rounds, pinned = SECTIONS[name]
        if pinned:
            pin(1)
        began = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            sections = measure(Path(folder), rounds)
        os.sched_setaffinity(0, everywhere)
        for section in sections:
            section.show()
            results["sections"].append(section.to_json())
            limits += section.limits
        print(f"[{name}: {time.perf_counter() - began:.0f} s]", flush=True)
    results["load_after"] = os.getloadavg()
    print(
        f"load of the machine: {results['load_before'][0]:.1f} before, {results['load_after'][0]:.1f} after"
    )
    for limit in limits:
        print(limit)
    if len(wanted) == len(SECTIONS):
        target = HERE / "results" / f"server-{results['when'][:10]}.json"
        target.parent.mkdir(exist_ok=True)
        target.write_text(json.dumps(results, indent=1) + "\n")
        print(f"raw figures: {target.relative_to(HERE.parent)}")


if __name__ == "__main__":
    main()
