"""SIGHUP reads settings and files again: what takes effect, what waits for a restart, what is refused."""

from __future__ import annotations

import dataclasses
import os
import signal
import time
from pathlib import Path

import pytest

import blindai
from blindai.channel import answer
from blindai.errors import ServerRefused, UsageError
from blindai.server.reload import TAKES_EFFECT, merge, needs_restart
from blindai.server.settings import CallerSettings, Settings
from blindai.wire.api_key import key_id
from tests.serving import STOP_SECONDS, RunningServer, exchange
from tests.system.deployment import Deployment

POLICY = 'version = 1\n[[accept]]\ntee = "nitro"\npcr0 = "{}"\n'


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    """A server with a settings file, whose callers are alice and the admin."""
    return Deployment(
        tmp_path, {"alice": "blindai_alice", "admin": "blindai_admin"}, {"log": {"level": "info"}}
    )


def log_says(server: RunningServer, text: str, *, times: int = 1) -> None:
    """Wait until the log has a line with this text so many times."""
    deadline = time.monotonic() + 30
    while server.log.read_text().count(text) < times:
        assert time.monotonic() < deadline, server.log.read_text()
        time.sleep(0.01)


def reloaded(server: RunningServer, says: str = "new keys and a new keyset") -> None:
    """Send SIGHUP and wait until it has taken effect, or was refused with these words."""
    times = server.log.read_text().count(says) + 1
    server.process.send_signal(signal.SIGHUP)
    log_says(server, says, times=times)


def index_of(server: RunningServer, key: str) -> int:
    """The status of a request with this key, on a connection that trusts whatever certificate is shown."""
    with blindai.connect(server.address, simulation=True, api_key=key) as client:
        try:
            client.models()
        except ServerRefused as exc:
            return exc.status
    return 200


def test_callers_come_and_go(deployment: Deployment):
    """A caller who is added may call, one who is left out is refused at once, on old connections too."""
    with (
        deployment.serving() as server,
        blindai.connect(server.address, simulation=True, api_key="blindai_alice") as alice,
    ):
        alice.models()
        before = alice.server_certificate
        assert index_of(server, "blindai_bob") == 401
        del deployment.callers["alice"]
        deployment.callers["bob"] = "blindai_bob"
        deployment.command()  # writes the file
        reloaded(server)
        assert index_of(server, "blindai_bob") == 200
        with pytest.raises(ServerRefused) as caught:
            alice.models()
        assert caught.value.status == 401
        with pytest.raises(ServerRefused):
            alice.models()
        assert alice.server_certificate != before


def test_an_old_connection_obeys_new_settings(deployment: Deployment):
    """A connection of before a reload ends after its next answer, and that one is by the new callers."""
    with deployment.serving() as server, server.http() as connection:
        headers = {"Authorization": "Bearer blindai_alice"}
        assert exchange(connection, "POST", "/v2/repository/index", b"", headers).status == 200
        del deployment.callers["alice"]
        deployment.command()
        reloaded(server)
        reply = exchange(connection, "POST", "/v2/repository/index", b"", headers)
        assert (reply.status, reply.headers["connection"]) == (401, "close")


def test_names_and_policy(deployment: Deployment, tmp_path: Path):
    """New names are in the next keyset and certificate; the policy's file is read again."""
    policy = tmp_path / "policy.toml"
    policy.write_text(POLICY.format("11" * 48))
    deployment.settings["server"] = {"published_policy": str(policy)}
    with deployment.serving() as server:
        policy.write_text(POLICY.format("22" * 48))
        deployment.settings["server"] = {
            "published_policy": str(policy),
            "names": ["localhost", "127.0.0.1", "inference.example.org"],
        }
        deployment.command()
        reloaded(server)
        with server_now(server).http() as connection:
            reply = exchange(connection, "GET", "/.well-known/blindai/policy")
            evidence = exchange(connection, "GET", answer.target(bytes(32)))
        assert b"22" * 48 in reply.body
        assert "inference.example.org" in answer.parse(evidence.body).keyset.names


def server_now(server: RunningServer) -> RunningServer:
    """The same server under the certificate that it shows now."""
    with blindai.connect(server.address, simulation=True, api_key="blindai_alice") as client:
        ready = {**server.ready, "certificate_pem": client.server_certificate}
    return dataclasses.replace(server, ready=ready)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("this is not TOML", "not reloaded, and going on as before"),
        ("[server]\nsimulation = true\nno_such_key = 1\n", "not reloaded, and going on as before"),
        ("[server]\nsimulation = true\n", "the last caller was taken out"),
    ],
)
def test_a_broken_file_changes_nothing(deployment: Deployment, text: str, says: str):
    """A file that does not load, or would open the server, is said to be wrong; the server is as it was."""
    with deployment.serving() as server:
        certificate = server.ready["certificate_pem"]
        (deployment.folder / "blindai.toml").write_text(text)
        reloaded(server, says)
        with blindai.connect(server.address, simulation=True, api_key="blindai_alice") as client:
            client.models()
            assert client.server_certificate == certificate
        assert index_of(server, "blindai_mallory") == 401
        deployment.command()
        reloaded(server)


def test_what_needs_a_restart_is_said(deployment: Deployment):
    """A change that cannot take effect is named, and does not; the others do."""
    with deployment.serving() as server:
        deployment.settings["limits"] = {"max_models": 3}
        deployment.settings["timeouts"] = {"keyset_life_seconds": 600}
        deployment.command()
        reloaded(server)
        log_says(server, "a change of limits.max_models needs a restart")


def test_signals_in_a_row_are_all_heard(deployment: Deployment):
    """Of many SIGHUPs at once the last one counts: what the file says in the end takes effect."""
    with deployment.serving() as server:
        for number in range(20):
            deployment.callers[f"caller{number}"] = f"blindai_caller{number}"
            deployment.command()
            server.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 30
        while index_of(server, "blindai_caller19") != 200:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_every_setting_is_one_or_the_other():
    """Each field either takes effect or needs a restart, by its name in the file."""
    now = Settings(simulation=True)
    wanted = dataclasses.replace(now, max_models=3, log_level="debug", keyset_life_seconds=60)
    assert needs_restart(now, wanted) == ("limits.max_models",)
    merged = merge(now, wanted)
    assert (merged.max_models, merged.log_level) == (now.max_models, "debug")
    assert {field.name for field in dataclasses.fields(Settings)} >= TAKES_EFFECT


def test_a_server_with_callers_is_never_opened():
    """Leaving all callers out of the file would open the server: that is not for a signal to do."""
    callers = (CallerSettings(name="alice", role="owner", key_sha256=key_id("blindai_alice")),)
    closed = Settings(simulation=True, callers=callers)
    with pytest.raises(UsageError, match="still accepted until a restart") as caught:
        merge(closed, Settings(simulation=True))
    assert "put another caller in its place" in caught.value.hint
    with pytest.raises(UsageError, match="started open to everybody"):
        merge(Settings(simulation=True), closed)


def test_a_file_that_never_ends(deployment: Deployment):
    """A settings file that became a pipe holds up neither the server nor its end."""
    with deployment.serving() as server:
        path = deployment.folder / "blindai.toml"
        path.unlink()
        os.mkfifo(path)
        server.process.send_signal(signal.SIGHUP)
        assert index_of(server, "blindai_alice") == 200
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(STOP_SECONDS) == 0
