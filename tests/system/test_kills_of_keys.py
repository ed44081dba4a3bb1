"""`kill -9` while a server starts, renews its keys or fetches collateral: it starts again, with its store.

What it holds in memory only is made anew; what it keeps of collateral is whole, or fetched anew.
BLINDAI_KILLS says how often, BLINDAI_SEED takes a printed seed again.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import blindai
from blindai.tee.measurement import policy_toml
from blindai.transport.collateral import intel
from tests import models
from tests.devices import lent, machines
from tests.serving import RunningServer, server_command
from tests.system.deployment import Deployment, ended, kill
from tests.system.load import MODEL
from tests.transport.collateral.services import Reply, Service, pcs_routes, running

SOAK = os.environ.get("BLINDAI_SOAK") == "1"
KILLS = int(os.environ.get("BLINDAI_KILLS", "200" if SOAK else "20"))
SEED = os.environ.get("BLINDAI_SEED", "0")
KINDS = ("start", "rotation", "refresh")
START_SECONDS = 3.0
WRITTEN_SECONDS = 5.0


def test_a_killed_server_starts_again(tmp_path: Path):
    """After each kill the same folders start, the store's model predicts, and evidence verifies."""
    print(f"BLINDAI_SEED={SEED} BLINDAI_KILLS={KILLS}")  # noqa: T201
    killed: Counter[str] = Counter()
    chance = random.Random(SEED)  # noqa: S311
    with contextlib.ExitStack() as stack:
        scene = Scene(tmp_path, chance, stack)
        while killed.total() < KILLS:
            kind = KINDS[killed.total() % len(KINDS)]
            scene.kill_while(kind)
            killed[kind] += 1
        with scene.checked():
            pass
        left = len(list((tmp_path / "cache").glob(".*")))
    print(f"killed while {dict(killed)}; {dict(scene.seen)}; {left} unfinished files in the cache")  # noqa: T201
    assert scene.seen["written while it ran"] > 0


class Scene:
    """A machine and a vendor's service that outlive the server, and the folders that it starts on."""

    def __init__(self, folder: Path, chance: random.Random, stack: contextlib.ExitStack) -> None:
        (machine,) = machines("good", now=int(time.time()))
        self.seen: Counter[str] = Counter()
        self._chance = chance
        self._cache = folder / "cache"
        self._deployment = Deployment(folder / "deployment")
        port = stack.enter_context(lent(machine))
        vendor = stack.enter_context(pccs(machine))
        ca = folder / "ca.pem"
        ca.write_text(machine.root_pem)  # of one certificate: the system's take longer to load
        self._command = server_command(
            device={"lender": port},
            keyset_rotation_seconds=1,
            collateral_refresh_seconds=1,
            collateral_path=str(self._cache),
            collateral_intel_url=vendor.url,
            collateral_tls_ca=str(ca),
            store_path=str(self._deployment.store),
            store_key=f"file:{self._deployment.key}",
        )
        self._options = {
            "simulation": machine.root_sha256,
            "policy": blindai.Policy.from_toml(policy_toml(machine.measurements)),
        }
        with self.checked(first=True):
            pass

    def kill_while(self, kind: str) -> None:
        if kind == "start":
            process, _ = self._deployment.launch(self._command)
            with ended(process):
                time.sleep(self._chance.random() * START_SECONDS)
                kill(process)
            return
        with self.checked() as server:
            if kind == "rotation":
                # Besides the timer's, one after the other: most instants are in the middle of one.
                for _ in range(self._chance.randrange(1, 4)):
                    server.process.send_signal(signal.SIGHUP)
                    time.sleep(self._chance.random() * 0.05)
            else:
                self._wait_until_written()
                time.sleep(self._chance.random() * self._chance.choice((0, 0.002, 0.02)))
            kill(server.process)

    @contextlib.contextmanager
    def checked(self, *, first: bool = False) -> Iterator[RunningServer]:
        """Start the server on what there is, and look at it as its clients do."""
        with self._deployment.serving(self._command) as server:
            with blindai.connect(server.address, **self._options) as client:
                if first:
                    client.upload_model(models.identity(), name=MODEL)
                assert [entry.name for entry in client.models()] == [MODEL]
                assert client.predict(MODEL, [1.0])["y"].tolist() == [1.0]
            self.seen["started"] += 1
            yield server

    def _wait_until_written(self) -> None:
        """Wait until the server writes what it fetched."""
        before, deadline = self._written(), time.monotonic() + WRITTEN_SECONDS
        while time.monotonic() < deadline:
            if self._written() != before:
                self.seen["written while it ran"] += 1
                return
            time.sleep(0.0005)

    def _written(self) -> int:
        return self._cache.stat().st_mtime_ns


@contextlib.contextmanager
def pccs(machine) -> Iterator[Service]:
    """A cache of the vendor's, which has the collateral of the machine."""
    platform = intel.platform_of(machine.evidence(bytes(64)).value)
    members = machine.collateral()["intel"]
    routes = pcs_routes(members, platform)
    routes["/sgx/certification/v4/rootcacrl"] = Reply(members["root_ca_crl"].encode())
    with running(routes) as service:
        yield service
