"""`make bench`: what attestation, TLS and HTTP cost beside the same model in this process.

Ratios within one run, sides alternated; the raw figures go to bench/results/. Not a timed test.
The server runs on core 0 and the client on core 1 where the machine lets us choose.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import platform
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import numpy as np
import onnxruntime

import blindai

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from bench import connecting  # noqa: E402
from bench.models import resnet50  # noqa: E402
from tests.models import mlp  # noqa: E402

ROUNDS = 12


def main() -> None:
    warnings.simplefilter("ignore", blindai.SimulationWarning)
    models = {
        "tiny (MLP 4-3)": (mlp(), np.zeros((1, 4), np.float32), 100),
        "ResNet-50 shape (602112 bytes in)": (resnet50(), np.zeros((1, 3, 224, 224), np.float32), 2),
    }
    results = {
        "when": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": machine(),
    }
    with tempfile.TemporaryDirectory() as folder, server(Path(folder)) as ready:
        pin(1)
        root = Path(folder, "root.pem")
        policy = Path(folder, "policy.toml")
        root.write_text(ready["root_pem"])
        policy.write_text(ready["policy"])
        address = f"localhost:{ready['port']}"
        demands = {"policy": policy, "simulation": root}
        with blindai.connect(address, **demands) as client:
            results["predict"] = [predict(client, *case) for case in models.items()]
        results["connect"] = connecting.measure(address, ready["port"], demands)
    report(results)


def predict(client, name, case):
    """The same inference in this process and through the attested connection, alternated."""
    data, tensor, repeats = case
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: tensor}
    client.upload_model(data, name="bench")
    sides = {
        "in_process": lambda: session.run(None, feed),
        "attested": lambda: client.predict("bench", feed),
    }
    return {"what": name, **alternate(sides, repeats)}


def alternate(sides, repeats):
    """Milliseconds per side: the median of all calls, and of each round."""
    for call in sides.values():
        call()
    rounds = {side: [] for side in sides}
    for _ in range(ROUNDS):
        for side, call in sides.items():
            times = []
            for _ in range(repeats):
                started = time.perf_counter()
                call()
                times.append((time.perf_counter() - started) * 1e3)
            rounds[side].append(statistics.median(times))
    base = next(iter(sides))
    medians = {side: statistics.median(values) for side, values in rounds.items()}
    return {
        "p50_ms": medians,
        "ratio": {side: median / medians[base] for side, median in medians.items()},
        "rounds_ms": rounds,
    }


@contextlib.contextmanager
def server(folder):
    """A real server process on core 0."""
    command = [sys.executable, "-m", "blindai", "serve", "--simulation", "--port", "0", "--json"]
    if hasattr(os, "sched_setaffinity"):
        command = [sys.executable, "-c", _PINNED, *command]
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            yield json.loads(process.stdout.readline())
        finally:
            process.terminate()
            process.wait()
            process.stdout.close()


_PINNED = "import os, sys; os.sched_setaffinity(0, {0}); os.execv(sys.argv[1], sys.argv[1:])"


def pin(core):
    if hasattr(os, "sched_setaffinity") and (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(0, {core})


def machine():
    return {
        "python": platform.python_version(),
        "openssl": ssl.OPENSSL_VERSION,
        "onnxruntime": onnxruntime.__version__,
        "processor": _processor(),
        "cores": os.cpu_count(),
    }


def _processor():
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def report(results):
    target = HERE / "results" / f"{results['when'][:10]}.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(results, indent=1) + "\n")
    for row in (*results["predict"], *results["connect"]):
        print(row["what"])
        for side, milliseconds in row["p50_ms"].items():
            print(f"  {side:28} {milliseconds:9.3f} ms   x {row['ratio'][side]:.3f}")
    print(f"raw figures: {target.relative_to(HERE.parent)}")


if __name__ == "__main__":
    main()
