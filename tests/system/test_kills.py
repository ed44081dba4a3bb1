"""`kill -9` at random instants: what was acknowledged is there, nothing is there by halves or in clear.

BLINDAI_KILLS says how often, BLINDAI_SEED takes a printed seed again (conftest.py prints it). The same seed
makes the same models and the same plan; which instant a kill falls on is up to the machine.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from blindai.wire.api_key import new_key
from tests.serving import STOP_SECONDS, Reply, RunningServer
from tests.system.acknowledged import Acknowledged, Kept
from tests.system.deployment import PYTHON, Deployment, NotStarted, ended, kill, wait_until_open
from tests.system.plaintext import found_in
from tests.system.weights import Weights
from tests.system.workload import PIECES, Client

SOAK = os.environ.get("BLINDAI_SOAK") == "1"
KILLS = int(os.environ.get("BLINDAI_KILLS", "1000" if SOAK else "50"))
SEED = os.environ.get("BLINDAI_SEED", "0")
SEARCH_EVERY = 10
CHANGES = ("upload", "replace", "delete", "share", "load", "unload")
KINDS = (*CHANGES, "upload", "replace", "start", "rotate", "rotate to another key")
DELAYS = (0.0, 0.003, 0.03, 0.1)
OWNERS = {
    "callers": {"alice": ("alice/a", "alice/b", "alice/c"), "bob": ("bob/a", "bob/b")},
    "open": {"": ("a", "b", "c"), " ": ("d", "e")},
}


@pytest.mark.parametrize("mode", OWNERS)
def test_a_killed_server_keeps_what_it_acknowledged_and_shows_nothing(mode: str, tmp_path: Path):
    """After each kill every acknowledged model is listed and predicts; no file holds one in clear."""
    kills = KILLS // len(OWNERS)
    print(f"BLINDAI_SEED={SEED} BLINDAI_KILLS={KILLS}: {kills} of them {mode}")  # noqa: T201
    scene = Scene(tmp_path, mode, f"{SEED}/{mode}")
    while scene.killed.total() < kills:
        scene.kill_once()
        if scene.killed.total() % SEARCH_EVERY == 0:
            scene.search()
    scene.search(everything=True)
    with scene.started() as server:
        scene.check(server)
    print(f"{mode}: killed while {dict(scene.killed)}; {dict(scene.acknowledged.outcomes)}")  # noqa: T201
    assert scene.search(everything=True)
    assert set(scene.killed) == set(KINDS) or kills < 4 * len(KINDS)


class Scene:
    """One store, through many kills."""

    def __init__(self, folder: Path, mode: str, seed: str) -> None:
        self._chance = random.Random(seed)  # noqa: S311 - the same again for the same seed
        self._owners = OWNERS[mode]
        callers = {name: new_key(self._chance.randbytes) for name in ("admin", *self._owners)}
        self.deployment = Deployment(folder / "deployment", callers if mode == "callers" else {})
        self.acknowledged = Acknowledged()
        self.clients = [
            Client(self.deployment, self.acknowledged, who, names, f"{seed}/{who}")
            for who, names in self._owners.items()
        ]
        self.killed: Counter[str] = Counter()
        self._searched = 0
        self._start_seconds = 1.0
        self._older_key: Path | None = None
        self._plan: list[str] = ["start"]  # the first one makes the key and the store

    def kill_once(self) -> None:
        if not self._plan:
            self._plan = self._chance.sample(KINDS, len(KINDS))
        kind = self._plan.pop(0)
        if kind == "start":
            self._kill_while_starting()
        elif kind in CHANGES:
            self._kill_while_serving(kind)
        elif (self.deployment.store / "catalogue").exists():
            self._kill_while_rotating(to_another_key=kind != "rotate")
        else:  # killed before there was a store
            return
        self.killed[kind] += 1

    def _kill_while_starting(self) -> None:
        process, _ = self.deployment.launch(self.deployment.command())
        with ended(process):
            if self._chance.random() < 0.3:
                time.sleep(self._chance.random() * self._start_seconds)
            else:
                wait_until_open(process, self.deployment.store, self._start_seconds)
                time.sleep(self._chance.random() * self._chance.choice(DELAYS))
            kill(process)

    def _kill_while_serving(self, kind: str) -> None:
        with self.started() as server:
            self.check(server)
            gone = threading.Event()
            target = self._chance.randrange(len(self.clients))
            kinds = [*self._chance.choices(CHANGES, k=self._chance.randrange(4)), kind]
            wanted = self._chance.choice([f"piece {number}" for number in range(PIECES)] + 4 * ["sent"])
            if kind not in ("upload", "replace"):
                wanted = "sent"
            delay = self._chance.random() * self._chance.choice(DELAYS)
            failures: list[BaseException] = []
            reached = threading.Event()

            def moment(now: str) -> None:
                if now in (wanted, "done"):
                    reached.set()

            def work(number: int) -> None:
                try:
                    if number == target:
                        self.clients[number].run(server, gone, kinds, moment)
                    else:
                        self.clients[number].run(server, gone, [], lambda _: None)
                except BaseException as exc:  # noqa: BLE001 - told by the test's own thread
                    failures.append(exc)
                    reached.set()

            threads = [threading.Thread(target=work, args=(number,)) for number in range(len(self.clients))]
            for thread in threads:
                thread.start()
            reached.wait(STOP_SECONDS)
            if self._chance.random() < 0.4:
                self._wait_until_written()
                delay /= 10
            time.sleep(delay)
            gone.set()
            kill(server.process)
            for thread in threads:
                thread.join()
            assert not failures, (failures, server.log.read_text())

    def _kill_while_rotating(self, *, to_another_key: bool) -> None:
        if to_another_key and self._older_key is None:
            self._older_key = self.deployment.key
            self.deployment.key = self._older_key.with_name(f"{int(self._older_key.stem) + 1}.key")
        command = [*PYTHON, "-m", "blindai", "store", "rotate", str(self.deployment.store), "--key"]
        if self._older_key is None:
            command += [f"file:{self.deployment.key}"]
        else:  # the same again goes on with what was interrupted
            command += [f"file:{self._older_key}", "--new-key", f"file:{self.deployment.key}"]
        process, log = self.deployment.launch(command)
        with ended(process):
            wait_until_open(process, self.deployment.store, STOP_SECONDS)
            time.sleep(self._chance.random() * self._chance.choice(DELAYS))
            code = process.poll()
            kill(process)
        assert code in (None, 0), log.read_text()
        if code == 0:
            self._older_key = None  # it said that the store is under the new key
        else:
            self.acknowledged.outcomes["rotations cut short"] += 1

    def _wait_until_written(self) -> None:
        """Wait until the next change is in the store: a kill falls between that and the answer."""
        catalogue = self.deployment.store / "catalogue"
        before = catalogue.stat().st_ino
        deadline = time.monotonic() + 0.5
        while catalogue.stat().st_ino == before and time.monotonic() < deadline:
            time.sleep(0.0003)

    @contextlib.contextmanager
    def started(self) -> Iterator[RunningServer]:
        """Start a server on the store, under the key that it has after what was killed."""
        older, self._older_key = self._older_key, None
        with contextlib.ExitStack() as stack:
            began = time.monotonic()
            try:
                server = stack.enter_context(self.deployment.serving())
            except NotStarted as error:
                if older is None or "[wrong-key]" not in error.said:
                    raise
                self.deployment.key = older
                server = stack.enter_context(self.deployment.serving())
            self._start_seconds = time.monotonic() - began
            yield server

    def check(self, server: RunningServer) -> None:
        """Compare what is there with what was acknowledged, and let every model predict."""
        kept = self.acknowledged.check(list(self._index(server)))
        for name, model in kept.items():
            body = json.dumps({"inputs": model.weights.question()})
            path = f"/v2/models/{name.replace('/', '%2F')}/infer"
            reply = self._ask(server, name.partition("/")[0], "POST", path, body)
            assert model.weights.answered_by(reply), (name, reply)
        self._check_files(kept)

    def _index(self, server: RunningServer) -> Iterator[dict[str, Any]]:
        """Yield what each owner is told of their own models: others are told less."""
        for who in self._owners if self.deployment.callers else ("",):
            for entry in self._ask(server, who, "POST", "/v2/repository/index").json():
                if entry["name"].rpartition("/")[0] == who:
                    yield entry

    def _check_files(self, kept: dict[str, Kept]) -> None:
        """One file for each model of each owner: nothing by halves, and nothing left over."""
        owned = {(name.rpartition("/")[0], model.weights.sha256) for name, model in kept.items()}
        names = sorted(path.name for path in self.deployment.store.iterdir())
        assert [name for name in names if not name.endswith(".model")] == ["catalogue"]
        assert len(names) == 1 + len(owned)
        assert list((self.deployment.folder / "temporary").iterdir()) == []
        assert list((self.deployment.folder / "working").iterdir()) == []

    def search(self, *, everything: bool = False) -> list[Weights]:
        """Look for models in clear in all that servers left: those of the last turns, or all of them."""
        sent = self.acknowledged.sent
        kept = [model.weights for name in self._names() if (model := self.acknowledged.kept(name))]
        looked_for = sent if everything else [*kept, *sent[self._searched :]]
        self._searched = len(sent)
        assert found_in(self.deployment.searched, looked_for) == []
        return looked_for

    def _names(self) -> list[str]:
        return [name for names in self._owners.values() for name in names]

    def _ask(self, server: RunningServer, who: str, method: str, path: str, body=None) -> Reply:
        return server.request(method, path, body, self.deployment.credentials(who))
