"""What metrics and access log cost: one request in this process, and servers with and without, in turns."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from bench.processes import Inference, Server, serving, upload
from bench.turns import Limit, Section, in_turns, timed
from blindai.server.watch import logs
from blindai.server.watch.finished import Finished
from blindai.server.watch.metrics import Gauges, Metrics
from blindai.server.watch.telemetry import Usage
from blindai.server.watch.watch import Watch
from tests.models import mlp

LIMIT = 1.02
CALLS = 25  # few: what slows the machine for a moment slows all sides of a round
GENERATIONS = 2  # of servers: two processes of the same program differ by a percent, for their lives
_ROUTE = "/v2/models/{model}/infer"
_METRICS = ("--metrics", "127.0.0.1:0")
_JSON = ("--log-format", "json")
SERVERS = {
    "off": (),
    "off, again": (),  # how far apart two equal servers are: smaller differences mean nothing
    "metrics": _METRICS,
    "JSON lines": _JSON,
    "metrics and JSON lines": (*_METRICS, *_JSON),
}


def measure(folder: Path, rounds: int) -> list[Section]:
    watch = _in_process(folder, rounds)
    wall, used = _servers(folder, rounds)
    for side in ("metrics", "JSON lines", "metrics and JSON lines"):
        more_ms = (watch.median(side) - watch.median("usage only")) / 1e3
        reckoned = 1 + more_ms / used.median("off")
        wall.limits.append(Limit(f"{side}, time", wall.ratio(side, "off")[0], LIMIT, "x"))
        used.limits.append(Limit(f"{side}, reckoned from the in-process figures", reckoned, LIMIT, "x"))
    return [watch, wall, used]


def _in_process(folder: Path, rounds: int) -> Section:
    request = Finished(
        "0123456789abcdef", "POST", _ROUTE, 200, "", 0.0006, 0.0001, 200, 120, "ab" * 8, "owner"
    )
    empty = Gauges(*[lambda: None] * len(dataclasses.fields(Gauges)))
    metrics = Metrics([_ROUTE], empty)
    log = (folder / "access.log").open("w")
    with log, contextlib.redirect_stderr(io.StringIO()):
        with contextlib.redirect_stderr(log):
            logs.configure("json", "info")
        access = logs.AccessLog("json", [_ROUTE])
        watches = {
            "usage only": Watch(usage=Usage()),
            "metrics": Watch(metrics=metrics, usage=Usage()),
            "JSON lines": Watch(access=access, usage=Usage()),
            "metrics and JSON lines": Watch(metrics=metrics, access=access, usage=Usage()),
        }
        us = 1e-6
        sides = {
            name: timed(lambda watch=watch: watch.finished(request), 1000, us)
            for name, watch in watches.items()
        }
        samples = in_turns(sides, rounds)
        rendering = timed(metrics.render, 20, 1e-3)()
    section = Section("watch one request finish, in-process", "us", samples)
    section.more["rendering all metrics, ms"] = rendering
    return section


def _servers(folder: Path, rounds: int) -> tuple[Section, Section]:
    inference = Inference.of("tiny", "x", np.zeros((1, 4), np.float32))
    walls: dict[str, list[float]] = {}
    cpus: dict[str, list[float]] = {name: [] for name in SERVERS}
    for _ in range(GENERATIONS):
        with contextlib.ExitStack() as closing:
            sides = {
                name: closing.enter_context(_side(folder, arguments, inference, cpus[name]))
                for name, arguments in SERVERS.items()
            }
            for name, values in in_turns(sides, rounds).items():
                walls.setdefault(name, []).extend(values)
    wall = Section("tiny predict over a kept connection: time", "ms", walls, base="off")
    used = Section(
        "tiny predict over a kept connection: processor time of the server", "ms", cpus, base="off"
    )
    return wall, used


@contextlib.contextmanager
def _side(
    folder: Path, arguments: tuple[str, ...], inference: Inference, cpu: list[float]
) -> Iterator[Callable[[], float]]:
    with serving(folder, *arguments, pinned=True) as server:
        connection = server.connection()
        upload(connection, "tiny", mlp())
        for _ in range(CALLS):
            inference.send(connection)
        yield lambda: _timed_calls(server, lambda: inference.send(connection), cpu)
        connection.close()


def _timed_calls(server: Server, call: Callable[[], object], cpu: list[float]) -> float:
    used, began = server.cpu_seconds(), time.perf_counter()
    for _ in range(CALLS):
        call()
    wall = (time.perf_counter() - began) / CALLS * 1e3
    cpu.append((server.cpu_seconds() - used) / CALLS * 1e3)
    return wall
