"""A gigabyte on its way up: into the sealed store, and into memory, over TLS on this machine.

Run as a program it is the client: a process of its own, so that its memory can be told.
"""

from __future__ import annotations

import functools
import json
import subprocess
import sys
import time
import warnings
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

import blindai  # noqa: E402
from bench.processes import peak_bytes, serving  # noqa: E402
from bench.turns import Section, in_turns, spread  # noqa: E402

MEGABYTES = 1000


def measure(folder: Path, rounds: int) -> list[Section]:
    from tests.runtime.weights import of_megabytes  # noqa: PLC0415  the client's memory is measured

    path = folder / "gigabyte.onnx"
    path.write_bytes(of_megabytes(MEGABYTES))
    sealed = ["--store", str(folder / "upload-store"), "--store-key", f"file:{folder / 'upload-key'}"]
    commands = {"into memory": [], "into the sealed store": sealed}
    told: dict[str, list[dict[str, float]]] = {side: [] for side in commands}

    def side(name: str) -> float:
        with serving(folder, *commands[name]) as server:
            root = folder / "upload-root.pem"
            root.write_text(server.ready["root_pem"])
            command = [sys.executable, __file__, server.address, str(root), str(path)]
            output = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout
            used = {"server_peak_bytes": server.peak_bytes, "server_cpu_seconds": server.cpu_seconds()}
            told[name].append({**json.loads(output), **used})
        return told[name][-1]["seconds"]

    samples = in_turns({name: functools.partial(side, name) for name in commands}, rounds)
    section = Section(f"upload {MEGABYTES} MB, to the server's answer", "s", samples, base="into memory")
    for key in next(iter(told.values()))[0]:
        section.more[key] = {side: spread([each[key] for each in rows])[0] for side, rows in told.items()}
    return [section]


def _client(address: str, root: str, path: str) -> None:
    warnings.simplefilter("ignore", blindai.SimulationWarning)
    marks: list[float] = []
    with blindai.connect(address, simulation=root, timeout_seconds=300) as client:
        began = time.perf_counter()
        client.upload_model(path, name="big", progress=lambda *_: marks.append(time.perf_counter()))
        ended = time.perf_counter()
    told = {
        "seconds": ended - began,
        "hashing_seconds": marks[0] - began,
        "sending_seconds": marks[-1] - marks[0],
        "loading_seconds": ended - marks[-1],
        "sent_mb_per_second": Path(path).stat().st_size / 1e6 / (marks[-1] - marks[0]),
        "client_peak_bytes": peak_bytes(),
    }
    print(json.dumps(told))


if __name__ == "__main__":
    _client(*sys.argv[1:])
