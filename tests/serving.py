"""Starts real servers for tests, each in a process of its own, and talks to them without BlindAI's client.

`running_server` is for every test that needs a server. The process gets its settings as JSON and prints
what it announces as one line of JSON.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
SOURCES = REPOSITORY / "src"
STOP_SECONDS = 20

_PROGRAM = """
import dataclasses, json, sys
from pathlib import Path
from blindai.errors import BlindAIError
from blindai.server.evidence.machine import this_machine
from blindai.server.lifecycle import run
from blindai.server.settings import CallerSettings, JwtSettings, ModelSettings, Settings

given = json.loads(sys.argv[1])
if given["without_uvloop"]:
    sys.modules["uvloop"] = None
chosen = given["settings"]
chosen["names"] = tuple(chosen.get("names", ()))
chosen["callers"] = tuple(CallerSettings(**caller) for caller in chosen.get("callers", ()))
if chosen.get("jwt"):
    chosen["jwt"] = JwtSettings(**chosen["jwt"])
chosen["models"] = tuple(
    ModelSettings(path=path, name=name) for name, path in given["models"].items()
) + tuple(ModelSettings(**model) for model in chosen.get("models", ()))
if given["device"]:
    from tests.devices import slowed
    find_machine = slowed(this_machine, **given["device"])
else:
    find_machine = this_machine
try:
    code = run(
        Settings(**chosen),
        find_machine=find_machine,
        announce=lambda ready: print(json.dumps(dataclasses.asdict(ready)), flush=True),
    )
except BlindAIError as exc:
    sys.exit(f"{type(exc).__name__}: {exc}\\nhint: {exc.hint}")
sys.exit(code)
"""


@dataclass(frozen=True)
class Reply:
    """An HTTP response, read to its end. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The stable word of an error."""
        return str(self.json()["code"])


@dataclass
class RunningServer:
    """A server process that has announced itself. `ready` is what it announced."""

    process: subprocess.Popen[str]
    ready: Mapping[str, Any]
    folder: Path
    log: Path = field(repr=False)

    @property
    def port(self) -> int:
        return int(self.ready["port"])

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def certificate_file(self) -> Path:
        """The server's certificate as PEM: what tritonclient and curl pin."""
        path = self.folder / "server.pem"
        path.write_text(self.ready["certificate_pem"])
        return path

    def tls_context(self) -> ssl.SSLContext:
        """A context that trusts this server's certificate and no other."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=self.ready["certificate_pem"])
        return context

    def connect(self, timeout_seconds: float = 30) -> ssl.SSLSocket:
        """A raw TLS connection; the caller closes it."""
        sock = socket.create_connection(("127.0.0.1", self.port), timeout=timeout_seconds)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            return self.tls_context().wrap_socket(sock, server_hostname="127.0.0.1")
        except BaseException:
            sock.close()
            raise

    @contextlib.contextmanager
    def http(self, timeout_seconds: float = 30) -> Iterator[http.client.HTTPSConnection]:
        """A connection of the standard library's client."""
        connection = http.client.HTTPSConnection(
            "127.0.0.1", self.port, context=self.tls_context(), timeout=timeout_seconds
        )
        try:
            yield connection
        finally:
            connection.close()

    def request(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Reply:
        """One request on a connection of its own."""
        with self.http() as connection:
            return exchange(connection, method, path, body, headers)

    def upload(self, name: str, model: bytes) -> Reply:
        return self.request("PUT", f"/v2/repository/models/{name}", model)

    def infer(self, name: str, inputs: Sequence[Mapping[str, Any]], **members: Any) -> Reply:
        """An inference in JSON."""
        body = json.dumps({"inputs": list(inputs), **members})
        return self.request("POST", f"/v2/models/{name}/infer", body)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Signal the process and return its exit code."""
        self.process.send_signal(number)
        return self.process.wait(STOP_SECONDS)


def exchange(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: Any = None,
    headers: Mapping[str, str] | None = None,
) -> Reply:
    """One request on `connection`, which stays open if the server lets it."""
    connection.request(method, path, body, dict(headers or {}))
    response = connection.getresponse()
    received = {name.lower(): value for name, value in response.getheaders()}
    return Reply(response.status, received, response.read())


def tensor(name: str, datatype: str, shape: Sequence[int], data: Any) -> dict[str, Any]:
    """An input in the JSON form of the protocol."""
    return {"name": name, "datatype": datatype, "shape": list(shape), "data": data}


def server_command(
    models: Mapping[str, Path] | None = None,
    *,
    without_uvloop: bool = False,
    device: Mapping[str, Any] | None = None,
    **settings: Any,
) -> list[str]:
    """The command that starts a simulated server on a free port; `settings` are fields of `Settings`.

    `device` are arguments of `tests.devices.slowed`: what the TEE's device does beside answering.
    """
    given = {
        "settings": {"simulation": True, "port": 0, "farewell_seconds": 0.0, **settings},
        "models": {name: str(path) for name, path in (models or {}).items()},
        "without_uvloop": without_uvloop,
        "device": dict(device or {}),
    }
    return [sys.executable, "-W", "error", "-c", _PROGRAM, json.dumps(given)]


def server_environment(**changes: str) -> dict[str, str]:
    """This process's environment, with the sources to import."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(SOURCES), str(REPOSITORY)]), **changes}


@contextlib.contextmanager
def running_server(
    models: Mapping[str, Path] | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    prefix: Sequence[str] = (),
    without_uvloop: bool = False,
    device: Mapping[str, Any] | None = None,
    **settings: Any,
) -> Iterator[RunningServer]:
    """Run a simulated server with `models` (name -> ONNX file) until the block ends.

    `prefix` goes before the command; `without_uvloop` makes it run on asyncio's own event loop. The server's
    standard error is in the file `log`. A server that has to be killed, or that ends with another code than
    0, is an error.
    """
    command = [*prefix, *server_command(models, without_uvloop=without_uvloop, device=device, **settings)]
    with running(command, server_environment(**(environment or {}))) as server:
        yield server


@contextlib.contextmanager
def running(command: Sequence[str], environment: Mapping[str, str], **more: Any) -> Iterator[RunningServer]:
    """Run a command that announces a server on one line of JSON, as `running_server`. `more` is Popen's."""
    with tempfile.TemporaryDirectory(prefix="blindai-test-") as name:
        folder = Path(name)
        log = folder / "server.log"
        with log.open("w") as log_file:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log_file,
                env=environment,
                text=True,
                **more,
            )
        with process:
            assert process.stdout is not None
            try:
                line = process.stdout.readline()
                if not line:
                    raise AssertionError(f"the server did not start:\n{log.read_text()}")
                yield RunningServer(process, json.loads(line), folder, log)
            finally:
                _end(process)
        assert process.returncode == 0, f"exit code {process.returncode}:\n{log.read_text()}"


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
