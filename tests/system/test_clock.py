"""A wall clock that is years ahead or behind, or jumps: nothing is lost, and servers can still be verified.

The real server and the real client run; what they are told is the time comes from a file: how far the wall
clock is off, and how many more seconds than went by the server has run.
"""

from __future__ import annotations

import json
import ssl
import subprocess
import time
from pathlib import Path

import pytest

from tests.serving import RunningServer, server_environment
from tests.system.deployment import PYTHON, Deployment
from tests.system.weights import Weights

HOUR = 3600
TEN_YEARS = 10 * 365 * 24 * HOUR
MODELS = {"first": Weights("first", 1000), "second": Weights("second", 300_000)}

_PROGRAM = """
import sys, time
from pathlib import Path
wall, served, file = time.time, time.monotonic, Path(sys.argv[1])
time.time = lambda: wall() + float(file.read_text().split()[0])
time.monotonic = lambda: served() + float(file.read_text().split()[1])
from blindai.cli.main import main
sys.exit(main(sys.argv[2:]))
"""


class Undated(RunningServer):
    """Talks to a server by whose clock its certificate may be years ahead of ours, or behind."""

    def tls_context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context


class Clock:
    """The clocks of the processes that are started with it."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.set(0)

    def set(self, wall_seconds: int, *, served_seconds: int = 0) -> None:
        draft = self._file.with_suffix(".new")
        draft.write_text(f"{wall_seconds} {served_seconds}")
        draft.replace(self._file)

    def command(self, arguments: list[str]) -> list[str]:
        return [*PYTHON, "-c", _PROGRAM, str(self._file), *arguments]

    def verified(self, server: RunningServer) -> subprocess.CompletedProcess[str]:
        """List the models with the real client, which verifies the server first, at the same time of day."""
        arguments = ["models", "list", server.address, "--simulation", "--no-floors", "--json"]
        return subprocess.run(
            self.command(arguments),
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
            env=server_environment(),
        )


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    return Clock(tmp_path / "clock")


def test_no_clock_empties_the_store(tmp_path: Path, clock: Clock):
    """A server that deletes what nobody uses for a day keeps all, ten years ahead and ten years behind."""
    deployment = Deployment(tmp_path / "deployment", settings={"store": {"delete_unused_days": 1}})
    command = clock.command(deployment.command()[len(PYTHON) + 2 :])
    with deployment.serving(command) as server:
        for name, weights in MODELS.items():
            assert server.upload(name, weights.content).status == 201
    for offset in (TEN_YEARS, -TEN_YEARS, TEN_YEARS, 0):
        clock.set(offset)
        # Its upkeep, which deletes, runs when it ends; the next one has to find everything all the same.
        with deployment.serving(command) as running:
            server = Undated(**vars(running))
            listed = server.request("POST", "/v2/repository/index").json()
            assert {entry["name"] for entry in listed} == set(MODELS)
            assert MODELS["first"].answered_by(server.infer("first", MODELS["first"].question()))
            done = clock.verified(server)
            assert done.returncode == 0, done.stderr
            assert {entry["name"] for entry in json.loads(done.stdout)} == set(MODELS)
    with deployment.serving() as server:
        for name, weights in MODELS.items():
            assert weights.answered_by(server.infer(name, weights.question()))


@pytest.mark.parametrize("hours", [20, -20])
def test_a_clock_that_jumps_while_a_server_runs(tmp_path: Path, clock: Clock, hours: int):
    """After a jump, new connections get a keyset that is valid by the new time; no model is lost."""
    deployment = Deployment(tmp_path / "deployment", settings={"timeouts": {"keyset_life_seconds": 16}})
    command = clock.command(deployment.command()[len(PYTHON) + 2 :])
    with deployment.serving(command) as running:
        server = Undated(**vars(running))
        assert server.upload("first", MODELS["first"].content).status == 201
        clock.set(hours * HOUR)
        # A client is refused until the server has looked at the clock, which it does every second here.
        deadline = time.monotonic() + 30
        while (done := clock.verified(server)).returncode and time.monotonic() < deadline:
            time.sleep(0.2)
        assert done.returncode == 0, done.stderr
        assert [entry["name"] for entry in json.loads(done.stdout)] == ["first"]
        assert MODELS["first"].answered_by(server.infer("first", MODELS["first"].question()))


@pytest.mark.parametrize("wall", [TEN_YEARS, -TEN_YEARS, 0])
def test_only_time_that_was_served_makes_a_model_unused(tmp_path: Path, clock: Clock, wall: int):
    """After a day of serving, whatever the wall clock says, what nobody used goes and what was used stays."""
    deployment = Deployment(tmp_path / "deployment", settings={"store": {"delete_unused_days": 1}})
    command = clock.command(deployment.command()[len(PYTHON) + 2 :])
    with deployment.serving(command) as server:
        for name, weights in MODELS.items():
            assert server.upload(name, weights.content).status == 201
        clock.set(0, served_seconds=23 * HOUR)
    assert listed(deployment) == set(MODELS)
    clock.set(0)
    with deployment.serving(command) as server:
        clock.set(wall, served_seconds=2 * HOUR)
        assert MODELS["first"].answered_by(server.infer("first", MODELS["first"].question()))
    assert listed(deployment) == {"first"}


def listed(deployment: Deployment) -> set[str]:
    with deployment.serving() as server:
        return {entry["name"] for entry in server.request("POST", "/v2/repository/index").json()}
