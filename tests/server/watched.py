"""Every place where a server could leave something: its log, its numbers, its files, its entry in /proc."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import json
import secrets
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from blindai.wire.api_key import new_key
from tests import models
from tests.canaries import Canaries, files, leaks, process
from tests.server import provoker
from tests.server.callers.issuer import ISSUER, edwards_key
from tests.server.provoker import Provoker
from tests.serving import STOP_SECONDS, RunningServer, server_command, server_environment, tensor

SHARED_FOLDERS = tuple(map(Path, ("/dev/shm", "/tmp", "/var/tmp")))  # noqa: S108 - only looked into
HOMES = ("HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR")


class Endpoint:
    """Receives telemetry, byte by byte."""

    def __init__(self, path: str) -> None:
        self.received: list[bytes] = []
        received = self.received

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                received.append(f"{self.requestline}\n{self.headers}\n".encode() + body)
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/{path}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def __enter__(self) -> Endpoint:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def wait_for_another(self) -> None:
        """Until a message comes that was made after this call."""
        count, deadline = len(self.received), time.monotonic() + 60
        while len(self.received) < count + 2:
            assert time.monotonic() < deadline, "no telemetry arrives"
            time.sleep(0.05)


@dataclass
class Watched:
    """One server, and every place where it could leave something."""

    folder: Path
    secrets: Canaries = field(default_factory=Canaries)
    controls: Canaries = field(default_factory=Canaries)
    places: list[tuple[str, bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.control = self.controls.text("control")
        self.keys = {name: new_key(secrets.token_bytes) for name in provoker.KEYS}
        for name, key in self.keys.items():
            self.secrets.known(f"API key of {name}", key.removeprefix("blindai_"))
        self.signing = edwards_key("first")
        (self.folder / "jwks.json").write_text(json.dumps({"keys": [self.signing.jwk]}))
        self.model = self.folder / "startup.onnx"
        self.model.write_bytes(models.identity())
        self.store = self.folder / self.control / "store"
        self.homes = {name: str(self.folder / name.lower()) for name in HOMES}
        self.cwd = self.folder / "cwd"
        for place in (self.store, self.cwd, *map(Path, self.homes.values())):
            place.mkdir(parents=True)
            (place / "control.txt").write_text(self.control)

    @property
    def leaked(self) -> dict[str, set[str]]:
        return leaks(self.secrets, self.places)

    def look(self, server: RunningServer) -> None:
        """Look around while the server runs."""
        self.places += [(f"running: {place}", content) for place, content in process(server.pid)]
        self.places.append(("metrics", scrape(server.ready["metrics"])))
        self._look_at_files("running")

    def look_again(self, server: RunningServer) -> None:
        """Look around after it has ended."""
        assert server.process.stdout is not None
        announced = json.dumps(dict(server.ready)) + server.process.stdout.read()
        self.places += [("stdout", announced.encode()), ("log", server.log.read_bytes())]
        self._look_at_files("ended")

    def _look_at_files(self, when: str) -> None:
        folders = (self.store, self.cwd, *map(Path, self.homes.values()))
        self.places += [(f"{when}: {path}", content) for path, content in files(*folders)]
        began = self.model.stat().st_mtime
        for folder in SHARED_FOLDERS:
            with tempfile.NamedTemporaryFile(dir=folder) as control:
                control.write(self.control.encode())
                control.flush()
                self.places += [(f"{when}: {folder}", content) for content in _newer(folder, began)]

    @contextlib.contextmanager
    def serving(self, **settings: Any) -> Iterator[RunningServer]:
        """Run a server in these folders. How it ends is for the block to see to."""
        chosen = {
            "callers": provoker.callers(self.keys),
            "jwt": {"jwks": str(self.folder / "jwks.json"), "issuer": ISSUER},
            "store_path": str(self.store),
            "store_key": f"file:{self.folder / 'sealing.key'}",
            "metrics_address": "127.0.0.1:0",
            **provoker.LIMITS,
            **settings,
        }
        environment = {
            **self.homes,
            "CONTROL": self.control,
            "DO_NOT_TRACK": "",
            "BLINDAI_DISABLE_TELEMETRY": "",
        }
        log = self.folder / f"{self.control}.log"
        with log.open("a") as log_file:
            process = subprocess.Popen(
                server_command({self.control: self.model}, **chosen),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log_file,
                env=server_environment(**environment),
                cwd=self.cwd,
                text=True,
            )
        with process:
            assert process.stdout is not None
            try:
                line = process.stdout.readline()
                assert line, log.read_text()
                yield RunningServer(process, json.loads(line), self.folder, log)
            finally:
                process.kill()
                process.wait(STOP_SECONDS)

    def provoker(self, server: RunningServer) -> Provoker:
        return Provoker(server, self.secrets, self.keys, self.signing)

    def use_control(self, it: Provoker) -> None:
        """The operator's own model is named in log and metrics."""
        assert it.infer(self.control, tensor("x", "FP32", [1], [1])).status == 200


def _newer(folder: Path, began: float) -> Iterator[bytes]:
    """Files of a folder that others use too, with their names."""
    for path in folder.iterdir():
        with contextlib.suppress(OSError):  # another's, or gone
            if path.is_file() and path.stat().st_mtime >= began:
                yield path.name.encode() + b"\n" + path.read_bytes()


def scrape(address: str) -> bytes:
    connection = http.client.HTTPConnection(address, timeout=30)
    try:
        connection.request("GET", "/metrics")
        return connection.getresponse().read()
    finally:
        connection.close()
