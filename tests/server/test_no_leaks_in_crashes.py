"""A server that crashes, and one that runs: what the kernel itself says of their memory, and leaves of it."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests import models
from tests.canaries import Canaries, files, leaks
from tests.serving import RunningServer, server_command, server_environment, tensor

SYSTEM = os.environ.get("BLINDAI_SYSTEM") == "1"
ALL_CRASHES = [signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGQUIT]
CRASHES = ALL_CRASHES if SYSTEM else ALL_CRASHES[:2]  # each starts a server; the kernel treats all alike
CORES_HERE = Path("/proc/sys/kernel/core_pattern").read_text()[0] not in "|/"
ALLOWED_BYTES = resource.getrlimit(resource.RLIMIT_CORE)[1]
AS_NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all")


def crashed(command: Sequence[str], folder: Path, number: int, secrets: Canaries) -> dict[str, set[str]]:
    """Run a server of this command in `folder`, crash it amid requests, and return what it leaves there."""
    with (folder / "stderr").open("wb") as stderr:
        process = subprocess.Popen(
            ["prlimit", f"--core={ALLOWED_BYTES}:{ALLOWED_BYTES}", *command],
            stdout=subprocess.PIPE,
            stderr=stderr,
            cwd=folder,
            env=server_environment(TMPDIR=str(folder), HOME=str(folder)),
            text=True,
        )
    with process:
        assert process.stdout is not None
        server = RunningServer(process, json.loads(process.stdout.readline()), folder, folder / "stderr")
        asking = _ask(server, secrets)
        assert server.stop(number) == -number
        for thread in asking:
            thread.join()
        (folder / "stdout").write_text(process.stdout.read())
    return leaks(secrets, files(folder))


def _ask(server: RunningServer, secrets: Canaries) -> list[threading.Thread]:
    """Have some requests under way, in the engine and in the queue, each with secrets."""
    name = secrets.text("model name")
    assert server.upload(name, models.slow()).status == 201
    begun = threading.Barrier(5)

    def ask() -> None:
        long = tensor("iterations", "INT64", [1], [10**9 + secrets.integer("input") % 10**6])
        begun.wait()
        with contextlib.suppress(OSError):
            server.infer(name, [long], id=secrets.text("id"))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    begun.wait()
    for model in server.ready["models"]:
        assert server.request("GET", f"/v2/models/{model}").status == 200
    # Answered behind the others' first bytes: they are in the house.
    assert server.request("GET", f"/v2/models/{name}", headers={"X": secrets.text("header")}).status == 200
    return threads


@pytest.mark.parametrize("number", CRASHES)
def test_a_crash_leaves_nothing(number: int, tmp_path: Path):
    """No core, no traceback, no last words: neither what was asked nor whose model it was."""
    secrets = Canaries()
    assert crashed(server_command(log_level="debug"), tmp_path, number, secrets) == {}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["stderr", "stdout"]


@pytest.mark.skipif(not CORES_HERE or ALLOWED_BYTES == 0, reason="this machine writes no cores here")
def test_a_crash_without_hardening_would_leave_it(tmp_path: Path):
    """The search is not blind: a server that can be dumped leaves a core, with all of it."""
    secrets = Canaries()
    *python, program, settings = server_command()
    careless = "import blindai.server.hardening as it\nit.harden = lambda simulation: ()\n" + program
    found = crashed([*python, careless, settings], tmp_path, signal.SIGABRT, secrets)
    assert any("core" in Path(place).name for place in found), found


def test_what_crashes_print_is_searched(tmp_path: Path):
    """The search is not blind: the name of the operator's own model is found in log and announcement."""
    model = tmp_path / "model.onnx"
    model.write_bytes(models.identity())
    known = Canaries()
    command = server_command({known.text("control"): model}, log_level="debug")
    assert crashed(command, tmp_path, signal.SIGABRT, Canaries()) == {}
    assert set(leaks(known, files(tmp_path))) == {str(tmp_path / "stderr")}
