"""onnxruntime reports to its vendor unless told not to: the server, watched, writes and dials nothing."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import models
from tests.serving import RunningServer, running_server, tensor

WATCH_SECONDS = 4
INTERNET = ("tcp", "tcp6", "udp", "udp6", "raw", "raw6", "udplite", "udplite6")


def socket_inodes(pid: int) -> set[str]:
    """The sockets that the process holds now."""
    inodes = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = str(entry.readlink())
        except FileNotFoundError:  # closed meanwhile
            continue
        if target.startswith("socket:["):
            inodes.add(target.removeprefix("socket:[").removesuffix("]"))
    return inodes


def internet_sockets(pid: int) -> set[tuple[str, int]]:
    """(protocol, local port) of every internet socket that the process holds now."""
    held = socket_inodes(pid)
    found = set()
    for protocol in INTERNET:
        table = Path(f"/proc/{pid}/net/{protocol}")
        if not table.exists():
            continue
        for line in table.read_text().splitlines()[1:]:
            fields = line.split()
            if fields[9] in held:
                found.add((protocol, int(fields[1].rpartition(":")[2], 16)))
    return found


def use(server: RunningServer) -> None:
    server.upload("m", models.mlp())
    assert server.infer("m", [tensor("x", "FP32", [1, 4], [1, 2, 3, 4])]).status == 200
    server.request("DELETE", "/v2/repository/models/m")


def test_the_watch_sees_sockets():
    """The detector is not blind: sockets of this process, connected or not, are seen."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, socket.socket(socket.AF_INET6) as tcp:
        udp.connect(("127.0.0.1", 53))
        tcp.bind(("::1", 0))
        tcp.listen()
        seen = internet_sockets(os.getpid())
        assert {("udp", udp.getsockname()[1]), ("tcp6", tcp.getsockname()[1])} <= seen


def test_telemetry_would_be_seen(tmp_path: Path):
    """With its telemetry on, onnxruntime leaves files at home as soon as a model is loaded."""
    program = "import onnxruntime, sys; onnxruntime.InferenceSession(sys.stdin.buffer.read())"
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    # In a network namespace of its own: what it would send goes nowhere.
    command = ["unshare", "--net", sys.executable, "-c", program]
    result = subprocess.run(
        command, input=models.mlp(), env=environment, capture_output=True, check=False, timeout=60
    )
    if result.returncode != 0:
        pytest.skip("no network namespace can be made here, and telemetry is not switched on without one")
    assert list(tmp_path.rglob("*")) != []


def test_no_file_at_home_and_no_socket_but_its_own(tmp_path: Path):
    """While models load and run, the server holds no socket but its port's, and writes nothing."""
    folders = {name: str(tmp_path) for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_DATA_HOME")}
    # Unset, as on a machine whose operator never heard of it: the server sets it for itself.
    with running_server(environment={**folders, "ORT_DISABLE_TELEMETRY": ""}) as server:
        seen = set()
        deadline = time.monotonic() + WATCH_SECONDS
        while time.monotonic() < deadline:
            use(server)
            for _ in range(10):
                seen |= internet_sockets(server.pid)
                time.sleep(0.02)
        assert seen == {("tcp", server.port)}
    assert list(tmp_path.iterdir()) == []
