"""SIGHUP every half second under load: callers, settings and the operator's certificate change, and no
request of those who stay fails.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

import blindai
from blindai.wire.api_key import new_key
from tests import models
from tests.server import authority
from tests.serving import RunningServer
from tests.system.deployment import Deployment
from tests.system.load import MAX_UPLOADS, MODEL, Load

SEED = os.environ.get("BLINDAI_SEED", "0")
SECONDS = float(os.environ.get("BLINDAI_ROTATION_SECONDS", "60")) / 3
EVERY_SECONDS = 0.5
DEADLINE_SECONDS = 60
NOT_RELOADED = "not reloaded, and going on as before"


class Operated:
    """A server whose operator changes everything that can be changed while it runs."""

    def __init__(self, folder: Path) -> None:
        self._chance = random.Random(SEED)  # noqa: S311 - keys of a test
        self._model = folder / f"{MODEL}.onnx"
        self._model.write_bytes(models.identity())
        self._tls = folder / "tls"
        self._keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
        self.deployment = Deployment(
            folder / "deployment",
            {"owner": self.new_key()},
            {"server": {"tls_dir": str(self._tls)}, "limits": {"caller_max_uploads": MAX_UPLOADS}},
        )
        self.write(0)

    def new_key(self) -> str:
        return new_key(self._chance.randbytes)

    def command(self) -> list[str]:
        return [*self.deployment.command(), str(self._model)]

    def write(self, number: int) -> str:
        """Write other settings and another operator's certificate; return a new caller's key."""
        key = self._keys[number % 2]
        authority.write(self._tls, key, authority.certificate(key))
        guest = self.new_key()
        self.deployment.callers = {"owner": self.deployment.callers["owner"], f"guest-{number}": guest}
        self.deployment.settings["timeouts"] = {"keyset_life_seconds": 600 + number}
        self.deployment.command()
        return guest

    def write_nonsense(self) -> None:
        (self.deployment.folder / "blindai.toml").write_text("[server\n")

    def write_mismatched(self) -> None:
        authority.write(self._tls, self._keys[0], authority.certificate(self._keys[1]))


def test_settings_that_change_under_load(tmp_path: Path):
    """At each SIGHUP a caller comes and another one goes, at once, under new keys of another operator."""
    operated = Operated(tmp_path)
    with operated.deployment.serving(operated.command()) as server:
        options = {
            "simulation": server.ready["root_sha256"],
            "api_key": operated.deployment.callers["owner"],
        }
        load = Load(server.address, SEED, options)
        operators: set[str] = set()
        with load.running():
            rounds = exchange_callers(operated, server, operators)
            check_mistakes(operated, server)
            load.wait_for(3)
    print(  # noqa: T201
        f"BLINDAI_SEED={SEED}: SIGHUP {rounds} times in {SECONDS:g} s, {load.done.total()} requests, "
        f"one client attested {load.most_certificates()} keys"
    )
    assert load.failures == []
    assert len(operators) == 2
    assert rounds >= 3
    assert load.most_certificates() >= rounds / 2


def exchange_callers(operated: Operated, server: RunningServer, operators: set[str]) -> int:
    """Give one caller the place of another one, again and again; return how often."""
    deadline, number = time.monotonic() + SECONDS, 0
    with contextlib.ExitStack() as held:
        before: blindai.Client | None = None
        while time.monotonic() < deadline:
            began, number = time.monotonic(), number + 1
            key = operated.write(number)
            server.process.send_signal(signal.SIGHUP)
            now = admitted(server, key, held)
            operators |= {check.found for check in now.verdict.checks if check.claim == "operator"}
            if before is not None:
                # On a connection that was made when this caller was one.
                with pytest.raises(blindai.ServerRefused) as caught:
                    before.models()
                assert refused(caught.value)
            before = now
            time.sleep(max(0.0, began + EVERY_SECONDS - time.monotonic()))
    return number


def check_mistakes(operated: Operated, server: RunningServer) -> None:
    """What cannot be read changes nothing, and the log says so; what can be read later does."""
    with contextlib.ExitStack() as held:
        good = operated.write(100)
        server.process.send_signal(signal.SIGHUP)
        client = admitted(server, good, held)
        for number, mistake in enumerate((operated.write_nonsense, operated.write_mismatched), start=1):
            mistake()
            server.process.send_signal(signal.SIGHUP)
            until(lambda count=number: server.log.read_text().count(NOT_RELOADED) == count)
            assert client.predict(MODEL, [1.0])["y"].tolist() == [1.0]
            operated.deployment.command()
        key = operated.write(101)
        server.process.send_signal(signal.SIGHUP)
        admitted(server, key, held)
        with pytest.raises(blindai.ServerRefused):
            client.models()


def admitted(server: RunningServer, key: str, held: contextlib.ExitStack) -> blindai.Client:
    """Return a client with this key, as soon as it is a caller's."""
    options = {"simulation": server.ready["root_sha256"], "api_key": key}
    client = held.enter_context(blindai.connect(server.address, **options))

    def came() -> bool:
        try:
            client.models()
        except blindai.ServerRefused as exc:
            return not refused(exc)
        return True

    until(came)
    return client


def refused(error: blindai.ServerRefused) -> bool:
    assert error.status == 401
    return True


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
