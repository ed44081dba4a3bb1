"""haproxy as an operator would put it before replicas: TCP only, so that each client attests its own replica.

It checks health by `/v2/health/ready` and sees nothing else in clear.
"""

from __future__ import annotations

import contextlib
import csv
import io
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.serving import STOP_SECONDS

_POLL_SECONDS = 0.05
_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])

# No `on-marked-down shutdown-sessions`: a replica whose TEE gives no evidence for a while is not ready, and
# goes on serving whoever has attested it.
_CONFIG = """
global
  maxconn 500
  stats socket {admin} mode 600 level admin
defaults
  mode tcp
  timeout connect 2s
  timeout client 60s
  timeout server 60s
  retries 3
  option redispatch
frontend clients
  bind fd@{listener}
  default_backend replicas
backend replicas
  balance {balance}
  option httpchk GET /v2/health/ready
  default-server check inter 300ms fall 2 rise 1 check-ssl verify none check-alpn http/1.1
{servers}
"""


class Haproxy:
    """A running haproxy. `replicas` are names and ports; `port` is where clients connect."""

    def __init__(self, admin: Path, process: subprocess.Popen[str], port: int) -> None:
        self.port = port
        self.process = process
        self._admin = admin

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def move(self, replica: str, port: int) -> None:
        """Say that a replica has come back elsewhere: ports are the kernel's to choose."""
        self._ask(f"set server replicas/{replica} addr 127.0.0.1 port {port}")

    def drain(self, replica: str) -> None:
        """Send no new connection to a replica."""
        self._ask(f"set server replicas/{replica} state drain")

    def enable(self, replica: str) -> None:
        self._ask(f"set server replicas/{replica} state ready")

    def open_connections(self, replica: str) -> int:
        return int(self._row(replica)["scur"])

    def connections(self, replica: str) -> int:
        """Return how many connections a replica was given so far."""
        return int(self._row(replica)["stot"])

    def wait_until(self, replica: str, status: str) -> None:
        """Wait until health checks found a replica "UP" or "DOWN"."""
        deadline = time.monotonic() + STOP_SECONDS
        while not self._row(replica)["status"].startswith(status):
            assert time.monotonic() < deadline, f"{replica} is not {status}: {self._row(replica)['status']}"
            time.sleep(_POLL_SECONDS)

    def wait_until_empty(self, replica: str) -> None:
        """Wait until nobody is connected to a replica."""
        deadline = time.monotonic() + 2 * STOP_SECONDS
        while self.open_connections(replica):
            assert time.monotonic() < deadline, f"{self.open_connections(replica)} are connected to {replica}"
            time.sleep(_POLL_SECONDS)

    def _row(self, replica: str) -> dict[str, str]:
        text = self._ask("show stat").removeprefix("# ")
        rows = csv.DictReader(io.StringIO(text))
        return next(row for row in rows if (row["pxname"], row["svname"]) == ("replicas", replica))

    def _ask(self, command: str) -> str:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(STOP_SECONDS)
            connection.connect(str(self._admin))
            connection.sendall(command.encode() + b"\n")
            with connection.makefile() as file:
                return file.read()


@contextlib.contextmanager
def haproxy(replicas: Mapping[str, int], *, balance: str) -> Iterator[Haproxy]:
    """Run haproxy before replicas (name -> port) until the block ends."""
    with (
        # Not under pytest's folder: the path of a UNIX socket has a hundred bytes.
        tempfile.TemporaryDirectory(prefix="blindai-haproxy-") as name,
        # Opened here, and inherited: nobody else can take the port in between.
        socket.create_server(("127.0.0.1", 0)) as listener,
    ):
        folder = Path(name)
        config, admin, log = folder / "haproxy.cfg", folder / "admin", folder / "log"
        servers = "\n".join(f"  server {each} 127.0.0.1:{port}" for each, port in replicas.items())
        config.write_text(
            _CONFIG.format(admin=admin, listener=listener.fileno(), balance=balance, servers=servers)
        )
        with log.open("w") as said:
            process = subprocess.Popen(
                [program(), "-db", "-f", str(config)],
                pass_fds=[listener.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                text=True,
            )
        with process:
            try:
                _wait_for(process, admin, log)
                yield Haproxy(admin, process, listener.getsockname()[1])
            finally:
                process.kill()


def program() -> str:
    """Return where haproxy is. Without it the test is skipped; on CI it fails."""
    found = shutil.which("haproxy", path=_PATH)
    if found is None:
        why = "haproxy is not installed; scripts/system_packages.sh says why"
        if os.environ.get("CI") == "true":
            pytest.fail(why)
        pytest.skip(why)
    return found


def _wait_for(process: subprocess.Popen[str], admin: Path, log: Path) -> None:
    deadline = time.monotonic() + STOP_SECONDS
    while not admin.exists():
        assert process.poll() is None, f"haproxy did not start: {log.read_text()}"
        assert time.monotonic() < deadline, "haproxy opens no admin socket"
        time.sleep(_POLL_SECONDS)
