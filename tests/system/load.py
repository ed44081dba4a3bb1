"""Clients that go on asking until they are told to stop, and note each request that failed."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import blindai
from tests import models

MODEL = "identity"
"""What every server that is asked has to serve."""

_VALUES = [1.0, 2.0, 3.0]
_STUCK_SECONDS = 60
_PAUSE_SECONDS = 0.005  # there are servers on this machine, too
_SMALL = models.identity()
MAX_UPLOADS = 16
"""How many uploads at one time a server has to allow each caller, with several loads on it."""


@dataclass(frozen=True)
class Failure:
    """A request that failed, or a connection that could not be had. `at` is of the steady clock."""

    who: str
    doing: str
    at: float
    error: BaseException

    def __repr__(self) -> str:
        return f"{self.who}, {self.doing}: {type(self.error).__name__}: {self.error}"


@dataclass
class Load:
    """`steady` clients of each colour keep their connections, `anew` ones connect for every request.

    A steady client asks from `at_once` threads or tasks. `options` are those of `connect`.
    """

    address: str
    seed: str
    options: dict[str, Any]
    steady: int = 2
    anew: int = 1
    at_once: int = 3
    done: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)
    certificates: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """By client, those under which it has asked."""
    refused: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    @contextlib.contextmanager
    def running(self, *, begun: bool = True) -> Iterator[Load]:
        """Ask until the block ends. By the time it has `begun`, every client was answered."""
        for number in range(self.steady):
            self._begin(self._steady, f"sync {number}")
            self._begin(self._asynchronous(self._steady_async), f"async {number}")
        for number in range(self.anew):
            self._begin(self._anew, f"sync anew {number}")
            self._begin(self._asynchronous(self._anew_async), f"async anew {number}")
        try:
            self.wait_for(int(begun))
            yield self
        finally:
            self._stop.set()
            for thread in self._threads:
                thread.join(_STUCK_SECONDS)
        assert not [thread.name for thread in self._threads if thread.is_alive()]

    def wait_for(self, more: int) -> None:
        """Wait until every client has been answered so many times more."""
        before, deadline = Counter(self.done), time.monotonic() + _STUCK_SECONDS
        names = [thread.name for thread in self._threads]
        while slow := [name for name in names if self.done[name] < before[name] + more]:
            assert time.monotonic() < deadline, f"no answers for {slow}; failures: {self.failures[-5:]}"
            time.sleep(0.02)

    def most_certificates(self) -> int:
        """Return how many keys the client has met that met the most."""
        return max(len(seen) for seen in self.certificates.values())

    def _begin(self, run: Any, name: str) -> None:
        thread = threading.Thread(target=run, args=(name,), name=name)
        self._threads.append(thread)
        thread.start()

    def _asynchronous(self, run: Any) -> Any:
        return lambda name: asyncio.run(run(name))

    def _steady(self, name: str) -> None:
        client = self._connected(name)
        if client is None:
            return
        with client:
            workers = [
                threading.Thread(target=self._work, args=(client, name, number))
                for number in range(self.at_once)
            ]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
            self.refused.extend(client.refused)

    def _connected(self, name: str) -> blindai.Client | None:
        try:
            return blindai.connect(self.address, **self.options)
        except Exception as exc:  # noqa: BLE001 - told by the test
            self._failed(name, "connect", exc)
            return None

    def _work(self, client: blindai.Client, name: str, number: int) -> None:
        chance = random.Random(f"{self.seed}/{name}/{number}")  # noqa: S311
        while not self._stop.wait(_PAUSE_SECONDS):
            doing = self._chosen(chance, number)
            try:
                if doing == "upload":
                    client.upload_model(_SMALL, name=_own(name, number))
                elif doing == "models":
                    client.models()
                else:
                    check(client.predict(MODEL, _VALUES))
                self._answered(name, client)
            except Exception as exc:  # noqa: BLE001 - told by the test
                self._failed(name, doing, exc)

    def _anew(self, name: str) -> None:
        while not self._stop.wait(_PAUSE_SECONDS):
            try:
                with blindai.connect(self.address, **self.options) as client:
                    check(client.predict(MODEL, _VALUES))
                    self._answered(name, client)
                    self.refused.extend(client.refused)
            except Exception as exc:  # noqa: BLE001 - told by the test
                self._failed(name, "connect and predict", exc)

    async def _steady_async(self, name: str) -> None:
        try:
            client = await blindai.aconnect(self.address, **self.options)
        except Exception as exc:  # noqa: BLE001 - told by the test
            self._failed(name, "connect", exc)
            return
        async with client:
            await asyncio.gather(*(self._work_async(client, name, each) for each in range(self.at_once)))
            self.refused.extend(client.refused)

    async def _work_async(self, client: blindai.AsyncClient, name: str, number: int) -> None:
        chance = random.Random(f"{self.seed}/{name}/{number}")  # noqa: S311
        while not self._stop.is_set():
            await asyncio.sleep(_PAUSE_SECONDS)
            doing = self._chosen(chance, number)
            try:
                if doing == "upload":
                    await client.upload_model(_SMALL, name=_own(name, number))
                elif doing == "models":
                    await client.models()
                else:
                    check(await client.predict(MODEL, _VALUES))
                self._answered(name, client)
            except Exception as exc:  # noqa: BLE001 - told by the test
                self._failed(name, doing, exc)

    async def _anew_async(self, name: str) -> None:
        while not self._stop.is_set():
            await asyncio.sleep(_PAUSE_SECONDS)
            try:
                async with await blindai.aconnect(self.address, **self.options) as client:
                    check(await client.predict(MODEL, _VALUES))
                    self._answered(name, client)
                    self.refused.extend(client.refused)
            except Exception as exc:  # noqa: BLE001 - told by the test
                self._failed(name, "connect and predict", exc)

    def _chosen(self, chance: random.Random, number: int) -> str:
        # One of a client's threads uploads: more of them would meet the limit of uploads at one time.
        return chance.choices(("upload", "models", "predict"), (1 if number == 0 else 0, 2, 17))[0]

    def _answered(self, name: str, client: Any) -> None:
        self.done[name] += 1
        self.certificates[name].add(client.server_certificate)

    def _failed(self, name: str, doing: str, error: BaseException) -> None:
        self.failures.append(Failure(name, doing, time.monotonic(), error))


def check(prediction: Any) -> None:
    """The model gives back what it was given."""
    assert prediction["y"].tolist() == _VALUES


def _own(name: str, number: int) -> str:
    return f"{name.replace(' ', '-')}-{number}"
