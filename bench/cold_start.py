"""From nothing to the first answer of a 400 MB model: out of the sealed store, and out of a plain file.

Run as a program it is one side: a fresh process that says when it is ready, loads, and tells what it took.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

os.environ["ORT_DISABLE_TELEMETRY"] = "1"
HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

import numpy as np  # noqa: E402

from bench import records  # noqa: E402
from bench.processes import Inference, forget, peak_bytes, read_from_disk_bytes, serving  # noqa: E402
from bench.turns import Limit, Section, in_turns, spread  # noqa: E402
from blindai.runtime.engine import LoadedModel  # noqa: E402
from blindai.runtime.model_bytes import ModelBytes  # noqa: E402
from blindai.runtime.onnx import OnnxEngine, OnnxModel  # noqa: E402
from blindai.server.catalogue.keeping import SealedKeeping  # noqa: E402
from blindai.store.keys import open_source  # noqa: E402
from blindai.store.store import Store  # noqa: E402
from blindai.wire.dtypes import FP32  # noqa: E402
from blindai.wire.tensors import Tensor  # noqa: E402
from tests.runtime.weights import of_megabytes  # noqa: E402

Told = dict[str, float]

LIMIT = 1.5
MEGABYTES = 400
DIMENSION = 1024
_PLAIN, _SEALED = _SIDES = ("plain file", "sealed store")
_X = np.zeros((1, DIMENSION), np.float32)


@dataclass(frozen=True)
class Files:
    """The same model twice. `key` is that of the store."""

    plain: Path
    store: Path
    key: Path

    def settle(self, *, cached: bool) -> None:
        """Have all of them in the page cache, or none."""
        for path in (self.plain, *self.store.iterdir()):
            if not cached:
                forget(path)
            else:
                with path.open("rb", buffering=0) as file:
                    while file.read(2**20):
                        pass


def measure(folder: Path, rounds: int) -> list[Section]:
    files = Files(folder / "big.onnx", folder / "store", folder / "key")
    files.plain.write_bytes(model := of_megabytes(MEGABYTES, dimension=DIMENSION))
    _fill(files.store, files.key, model)
    del model
    return [
        *_compared("load 400 MB and infer once", functools.partial(_loaded, files), rounds),
        *_compared("start a server, to its first answer", functools.partial(_served, files), rounds),
    ]


def _fill(path: Path, key: Path, model: bytes) -> None:
    """Make a store with this one model, for everybody."""
    with Store.open(path, _sealing_key(key)) as store, store.stage("") as staging:
        staging.write(model)
        staged = staging.finish()
        record = records.public(
            "", "big", sha256=staged.sha256, size_bytes=staged.size_bytes, dimension=DIMENSION
        )
        store.commit(staged, record)


def _sealing_key(path: Path) -> bytes:
    return open_source(f"file:{path}", simulation=True).sealing_key()


def _compared(what: str, side: Callable[[str, bool], Told], rounds: int) -> list[Section]:
    """Measure both sides with their files in the page cache, and not."""
    sections = []
    for cached, where in ((True, "files in the page cache"), (False, "files not in the page cache")):
        told: dict[str, list[Told]] = {name: [] for name in _SIDES}

        def seconds(name: str, cached: bool = cached, told: dict[str, list[Told]] = told) -> float:
            told[name].append(side(name, cached))
            return told[name][-1].pop("seconds")

        samples = in_turns({name: functools.partial(seconds, name) for name in _SIDES}, rounds)
        section = Section(f"{what}, {where}", "s", samples, base=_PLAIN)
        ratio = section.ratio(_SEALED, _PLAIN)[0]
        section.limits.append(Limit(f"{what}, {where}: {_SEALED} / {_PLAIN}", ratio, LIMIT, "x"))
        for key in told[_PLAIN][0]:
            section.more[key] = {name: spread([row[key] for row in rows])[0] for name, rows in told.items()}
        sections.append(section)
    return sections


def _loaded(files: Files, name: str, cached: bool) -> Told:  # noqa: FBT001
    """Load it and run it once, in a process of its own."""
    arguments = ["plain", files.plain] if name == _PLAIN else ["sealed", files.store, files.key]
    command = [sys.executable, __file__, *map(str, arguments)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        child.stdout.readline()
        files.settle(cached=cached)
        child.stdin.write("now\n")
        child.stdin.flush()
        return json.loads(child.stdout.readline())


def _served(files: Files, name: str, cached: bool) -> Told:  # noqa: FBT001
    """From the start of a server's process to its first answer."""
    sealed = ["--store", str(files.store), "--store-key", f"file:{files.key}", "--set", "store.preload=true"]
    arguments = [str(files.plain)] if name == _PLAIN else sealed
    inference = Inference.of("big", "x", _X)
    files.settle(cached=cached)
    began = time.perf_counter()
    with serving(files.plain.parent, *arguments) as server:
        connection = server.connection()
        inference.send(connection)
        seconds = time.perf_counter() - began
        connection.close()
        return {
            "seconds": seconds,
            "cpu_seconds": server.cpu_seconds(),
            "peak_bytes": server.peak_bytes,
            "disk_bytes": read_from_disk_bytes(server.process.pid),
        }


# One side, in its own process


class _Noting:
    """The engine, which notes when it got the whole model."""

    def __init__(self) -> None:
        self.engine = OnnxEngine()
        self.began = 0.0

    def load(self, model: bytes | ModelBytes) -> OnnxModel:
        self.began = time.perf_counter()
        return self.engine.load(model)


def _one_side(kind: str, *paths: str) -> None:
    engine = _Noting()
    key = _sealing_key(Path(paths[1])) if kind == "sealed" else b""
    print("ready", flush=True)
    sys.stdin.readline()
    disk, cpu, began = read_from_disk_bytes(), time.process_time(), time.perf_counter()
    model = _from_store(Path(paths[0]), key, engine) if kind == "sealed" else _from_file(paths[0], engine)
    loaded = time.perf_counter()
    model.run((Tensor("x", FP32, _X),), ("y",))
    ended = time.perf_counter()
    told = {
        "seconds": ended - began,
        "read_seconds": engine.began - began,
        "engine_seconds": loaded - engine.began,
        "cpu_seconds": time.process_time() - cpu,
        "peak_bytes": peak_bytes(),
        "disk_bytes": read_from_disk_bytes() - disk,
    }
    print(json.dumps(told), flush=True)


def _from_store(path: Path, key: bytes, engine: _Noting) -> LoadedModel:
    with Store.open(path, key) as store:
        return SealedKeeping(store).load(store.models()[0], engine)


def _from_file(path: str, engine: _Noting) -> OnnxModel:
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123  as bare as can be
        content = ModelBytes.allocate(os.fstat(file.fileno()).st_size)
        filled = 0
        while count := file.readinto(content.view[filled:]):
            filled += count
    return engine.load(content)


if __name__ == "__main__":
    _one_side(*sys.argv[1:])
