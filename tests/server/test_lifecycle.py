"""Starting, not starting, and ending in order."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from http.client import HTTPSConnection
from pathlib import Path

import pytest

from tests import models
from tests.serving import (
    STOP_SECONDS,
    RunningServer,
    exchange,
    running_server,
    server_command,
    server_environment,
    tensor,
)

UNSHARE = ("unshare", "--pid", "--fork", "--kill-child")
# Nothing here may depend on the drain's own end: with this, waiting for it fails the test.
NEVER = 600


@pytest.fixture(params=[False, True], ids=["uvloop", "asyncio"])
def without_uvloop(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


class Inference:
    """A slow inference that runs in the background."""

    def __init__(self, server: RunningServer, iterations: int) -> None:
        self._connection = HTTPSConnection("127.0.0.1", server.port, context=server.tls_context(), timeout=60)
        body = json.dumps({"inputs": [tensor("iterations", "INT64", [1], [iterations])]})
        self._connection.request("POST", "/v2/models/slow/infer", body)
        time.sleep(0.3)  # it is running by now; if not, the response still has to come

    def finish(self) -> tuple[int, str | None, bytes]:
        """The status, the Connection header and the body."""
        try:
            response = self._connection.getresponse()
            return response.status, response.headers["connection"], response.read()
        finally:
            self._connection.close()


@pytest.fixture
def slow_model(tmp_path: Path) -> dict[str, Path]:
    path = tmp_path / "slow.onnx"
    path.write_bytes(models.slow())
    return {"slow": path}


def refuses_connections(server: RunningServer) -> bool:
    try:
        socket.create_connection(("127.0.0.1", server.port), timeout=5).close()
    except ConnectionRefusedError:
        return True
    return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it(number):
    """SIGTERM and Ctrl-C end an idle server: exit code 0, the port is closed."""
    with running_server(drain_seconds=NEVER) as server:
        assert server.stop(number) == 0
        assert refuses_connections(server)
        assert server.log.read_text() == ""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_it_starts(number, tmp_path: Path):
    """A signal that comes while models are loaded ends it as well, with code 0 and without a traceback."""
    pipe = tmp_path / "slow.onnx"
    os.mkfifo(pipe)
    with subprocess.Popen(
        server_command({"slow": pipe}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=server_environment(),
        text=True,
    ) as process:
        with pipe.open("wb"):  # opens once the server opens the model
            time.sleep(0.3)  # by now it reads
            process.send_signal(number)
            output, errors = process.communicate(timeout=STOP_SECONDS)
        assert (process.returncode, output, errors) == (0, "", "")


def test_an_idle_connection_may_bring_one_more_request():
    """A request that was on its way when SIGTERM came is answered, and its client told to go elsewhere."""
    with running_server(farewell_seconds=NEVER, drain_seconds=NEVER) as server:
        with server.http() as connection:
            assert exchange(connection, "GET", "/v2").status == 200
            server.process.send_signal(signal.SIGTERM)
            while not refuses_connections(server):
                time.sleep(0.01)
            reply = exchange(connection, "GET", "/v2")
        assert (reply.status, reply.headers["connection"]) == (200, "close")
        assert server.process.wait(STOP_SECONDS) == 0


def test_idle_connections_do_not_hold_it_up():
    """Once the farewell is over, an idle connection is closed and the server ends."""
    with running_server(farewell_seconds=0.1, drain_seconds=NEVER) as server, server.connect() as sock:
        assert server.stop() == 0
        assert sock.recv(1) == b""


def test_running_requests_finish(slow_model, without_uvloop):
    """A request that is running when SIGTERM comes is answered; the port closes before that."""
    with running_server(slow_model, without_uvloop=without_uvloop, drain_seconds=NEVER) as server:
        inference = Inference(server, 2500)
        server.process.send_signal(signal.SIGTERM)
        server.process.send_signal(signal.SIGTERM)  # orchestrators repeat themselves
        deadline = time.monotonic() + STOP_SECONDS
        while not refuses_connections(server):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert server.process.poll() is None
        status, connection, body = inference.finish()
        assert (status, connection) == (200, "close")
        assert json.loads(body)["outputs"][0]["shape"] == [256, 256]
        assert server.process.wait(STOP_SECONDS) == 0


def test_a_large_response_is_sent_to_its_end(tmp_path, without_uvloop):
    """A response that its client reads slowly while the server ends arrives whole."""
    (tmp_path / "identity.onnx").write_bytes(models.identity())
    startup = {"identity": tmp_path / "identity.onnx"}
    with (
        running_server(
            startup, without_uvloop=without_uvloop, drain_seconds=NEVER, tls_close_seconds=0.2
        ) as server,
        server.http() as connection,
    ):
        size = 20_000_000
        member = {"name": "x", "datatype": "FP32", "shape": [size // 4]}
        member["parameters"] = {"binary_data_size": size}
        text = json.dumps({"inputs": [member], "parameters": {"binary_data_output": True}}).encode()
        headers = {"Inference-Header-Content-Length": str(len(text))}
        connection.request("POST", "/v2/models/identity/infer", text + bytes(size), headers)
        response = connection.getresponse()
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.7)  # the buffers are full by now, and most of the response is not in them
        length = int(response.headers["content-length"])
        assert len(response.read()) == length
        assert server.process.wait(STOP_SECONDS) == 0


def test_silent_peers_do_not_hold_it_up(without_uvloop):
    """Peers that answer nothing, not even the TLS close, cannot keep the server from ending."""
    with (
        running_server(without_uvloop=without_uvloop, drain_seconds=NEVER, tls_close_seconds=0.2) as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=20),  # no handshake
        server.connect(),  # no request
        server.connect() as after_a_request,
        server.connect() as within_a_request,
    ):
        after_a_request.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        assert after_a_request.recv(9) == b"HTTP/1.1 "
        within_a_request.sendall(b"GET /v2/heal")
        time.sleep(0.1)
        assert server.stop() == 0


def test_the_drain_has_a_bound(slow_model, without_uvloop):
    """A request that takes longer than the drain may take is cut off; the exit code is 0 all the same."""
    with running_server(
        slow_model, without_uvloop=without_uvloop, drain_seconds=0.3, tls_close_seconds=0.2
    ) as server:
        inference = Inference(server, 10_000_000)
        assert server.stop() == 0
        with pytest.raises(OSError):  # noqa: PT011 - reset or closed, in any of its ways
            inference.finish()
        assert "1 connection(s) were cut off" in server.log.read_text()


def test_ctrl_c_twice_ends_it_at_once(slow_model):
    """The second Ctrl-C does not wait for running requests; the exit code says that it was forced."""
    command = server_command(slow_model, drain_seconds=NEVER)
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=server_environment(), text=True
    ) as process:
        assert process.stdout is not None
        server = RunningServer(process, json.loads(process.stdout.readline()), Path(), Path())
        inference = Inference(server, 10_000_000)
        process.send_signal(signal.SIGINT)
        while not refuses_connections(server):
            time.sleep(0.01)
        assert process.poll() is None
        assert server.stop(signal.SIGINT) == 1
        with pytest.raises(OSError):  # noqa: PT011 - reset or closed, in any of its ways
            inference.finish()


def can_unshare() -> bool:
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*UNSHARE, "true"], capture_output=True, check=False).returncode == 0


@pytest.fixture
def as_pid_1(slow_model) -> Iterator[tuple[RunningServer, int]]:
    """A server that is the first process of its own namespace, as in a container, and its pid outside."""
    if not can_unshare():
        pytest.skip("this machine does not let us make a pid namespace (unshare --pid)")
    with running_server(slow_model, prefix=UNSHARE, drain_seconds=NEVER) as server:
        children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
        yield server, int(children[0])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_as_pid_1(as_pid_1, number):
    """As the first process of a container it hears signals too, finishes what is running, and ends with 0."""
    server, pid = as_pid_1
    assert f"NSpid:\t{pid}\t1\n" in Path(f"/proc/{pid}/status").read_text()
    inference = Inference(server, 1000)
    os.kill(pid, number)
    assert inference.finish()[0] == 200
    assert server.process.wait(STOP_SECONDS) == 0


def start(*, environment: dict[str, str] | None = None, **settings) -> subprocess.CompletedProcess[str]:
    """Start a server that should not start."""
    return subprocess.run(
        server_command(**settings),
        env=server_environment(**(environment or {})),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_port_in_use(server: RunningServer):
    """A second server on the same port says so, with a hint, and ends with 1."""
    result = start(port=server.port)
    assert (result.returncode, result.stdout) == (1, "")
    assert f"cannot listen on 127.0.0.1 port {server.port}: Address already in use" in result.stderr
    assert "--port" in result.stderr
    assert "Traceback" not in result.stderr


def test_an_address_that_is_not_ours():
    """An address of another machine is refused in a sentence."""
    result = start(host="192.0.2.1", open=True)
    assert result.returncode == 1
    assert "192.0.2.1" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("variable", ["SSLKEYLOGFILE", "OPENSSL_CONF", "LD_PRELOAD"])
def test_an_environment_that_leaks(variable, tmp_path: Path):
    """Variables that could leak keys or load foreign code keep the server from starting."""
    value = tmp_path / "file"
    if variable != "SSLKEYLOGFILE":
        value.touch()
    result = start(environment={variable: str(value)})
    assert result.returncode == 1
    assert f"{variable} is set" in result.stderr
    assert f"env -u {variable}" in result.stderr


def test_no_tee_and_no_simulation():
    """Without a TEE and without simulation it says what it looked for and how to go on."""
    result = start(simulation=False, open=True, environment={"PYTHONPATH": ""})
    assert (result.returncode, result.stdout) == (1, "")
    assert "/dev/tdx_guest" in result.stderr
    assert "--simulation" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_model_that_does_not_load(tmp_path: Path):
    """A model of the start that cannot be served, or read, keeps the server from starting, by name."""
    (tmp_path / "bad.onnx").write_bytes(b"not a model")
    for path, says in (
        (tmp_path / "bad.onnx", "not an ONNX file"),
        (tmp_path / "absent.onnx", "cannot be read"),
    ):
        result = start(models={"digits": path})
        assert result.returncode == 1
        assert str(path) in result.stderr
        assert says in result.stderr


def test_two_servers_live_side_by_side(server: RunningServer):
    """Each process has a port of its own when asked for port 0."""
    with running_server() as other:
        assert other.port != server.port
        assert other.request("GET", "/v2").status == 200


def test_ipv6():
    """It listens on an IPv6 address, and its certificate and keyset say so."""
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError as exc:
        pytest.skip(f"no IPv6 loopback here: {exc}")
    with running_server(host="::1") as server:
        assert server.ready["host"] == "::1"
        connection = HTTPSConnection("::1", server.port, context=server.tls_context(), timeout=20)
        connection.request("GET", "/v2")
        assert connection.getresponse().status == 200
        connection.close()


def test_sighup_while_it_ends():
    """SIGHUPs that come while the server ends do not cut its end short: exit code 0."""
    with running_server() as server:
        server.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while server.process.poll() is None:
            assert time.monotonic() < deadline
            server.process.send_signal(signal.SIGHUP)
            time.sleep(0.0005)
        assert server.process.returncode == 0
