"""A server as its operator runs it: the real command line, on a store, a key and folders that outlast it.

Everything that a server could leave behind lies under one folder, so that a test can search all of it.
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from blindai.wire.api_key import key_id
from tests.serving import STOP_SECONDS, RunningServer, server_environment

PYTHON = (sys.executable, "-W", "error")
_POLL_SECONDS = 0.0005


@dataclass
class Deployment:
    """`key` is the file of the sealing key. Without `callers` (name -> API key) whoever connects may do all.

    An admin and owners are told apart by their names.
    """

    folder: Path
    callers: dict[str, str] = field(default_factory=dict)
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    starts: int = 0

    def __post_init__(self) -> None:
        self.store = self.folder / "store"
        self.key = self.folder / "keys" / "0.key"
        for name in ("logs", "temporary", "working", "keys"):
            (self.folder / name).mkdir(parents=True)

    @property
    def searched(self) -> tuple[Path, ...]:
        """Where nothing of a model may ever be found."""
        return (self.store, *(self.folder / name for name in ("logs", "temporary", "working")))

    def command(self) -> list[str]:
        config = self.folder / "blindai.toml"
        config.write_text(self._config(), encoding="utf-8")
        return [*PYTHON, "-m", "blindai", "serve", "--config", str(config), "--json"]

    def launch(self, command: list[str], **options: Any) -> tuple[subprocess.Popen[str], Path]:
        """Start a process with its log, its temporary files and its working directory in the folder."""
        self.starts += 1
        log = self.folder / "logs" / f"{self.starts}.log"
        with log.open("w") as log_file:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log_file,
                env=server_environment(TMPDIR=str(self.folder / "temporary")),
                cwd=self.folder / "working",
                text=True,
                **options,
            )
        return process, log

    @contextlib.contextmanager
    def serving(self, command: list[str] | None = None, **options: Any) -> Iterator[RunningServer]:
        """Run a server until the block ends. What was not killed in it has to end in order, with code 0."""
        process, log = self.launch(command or self.command(), **options)
        with ended(process):
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                code = process.wait(STOP_SECONDS)
                raise NotStarted(code, log.read_text())
            yield RunningServer(process, json.loads(line), self.folder, log)
            if process.poll() is None:
                process.terminate()
                assert process.wait(STOP_SECONDS) == 0, log.read_text()

    def credentials(self, who: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.callers[who]}"} if self.callers else {}

    def _config(self) -> str:
        tables: dict[str, dict[str, Any]] = {
            "server": {"simulation": True, "port": 0},
            "store": {"path": str(self.store), "key": f"file:{self.key}"},
        }
        for table, keys in self.settings.items():
            tables[table] = {**tables.get(table, {}), **keys}
        lines = []
        for table, keys in tables.items():
            # JSON's words for strings, numbers and truth are TOML's, too.
            lines += [f"[{table}]", *(f"{key} = {json.dumps(value)}" for key, value in keys.items())]
        for name, text in self.callers.items():
            role = "admin" if name == "admin" else "owner"
            lines += ["[[callers]]", f'name = "{name}"', f'role = "{role}"', f'key_sha256 = "{key_id(text)}"']
        return "\n".join(lines) + "\n"


class NotStarted(Exception):
    """A server that did not come up: its exit code, and what it said."""

    def __init__(self, code: int, said: str) -> None:
        super().__init__(f"exit code {code}: {said}")
        self.code = code
        self.said = said


@contextlib.contextmanager
def ended(process: subprocess.Popen[str]) -> Iterator[None]:
    """See to it that a process is gone when the block ends, however that is."""
    with process:
        try:
            yield
        finally:
            if process.poll() is None:
                kill(process)


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait(STOP_SECONDS)


def wait_until_open(process: subprocess.Popen[str], folder: Path, seconds: float) -> None:
    """Wait until the process has opened the folder of its store, has ended, or has had enough time.

    A process that lets nobody look at its files is only given the time.
    """
    deadline = time.monotonic() + seconds
    files = Path(f"/proc/{process.pid}/fd")
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError):
            if any(file.readlink() == folder for file in files.iterdir()):
                return
        time.sleep(_POLL_SECONDS)
