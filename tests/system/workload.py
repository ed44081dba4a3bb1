"""Callers that change and use models at random until the server is gone, and note what it acknowledged."""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from tests.serving import RunningServer
from tests.system.acknowledged import Acknowledged, Kept
from tests.system.deployment import Deployment
from tests.system.weights import Weights

PIECES = 8
COUNTS = (10, 700, 12_000, 12_000, 60_000, 300_000)  # numbers of four bytes: from one chunk to two
LARGE_COUNT = 2_200_000  # models of more than 8 MiB go to the engine in another way
KINDS = ("upload", "replace", "delete", "share", "load", "unload", "predict")
OTHER_KEY = "0" * 64

Moment = Callable[[str], None]


class Refused(Exception):
    """Nothing that is asked for here is to be refused."""


class Client:
    """One caller's own names, on one thread. `moment` is called at the instants at which a kill is tried."""

    def __init__(
        self, deployment: Deployment, acknowledged: Acknowledged, who: str, names: tuple[str, ...], seed: str
    ) -> None:
        self._acknowledged = acknowledged
        self._names = names
        self._headers = deployment.credentials(who)
        self._visibility = "private" if deployment.callers else "public"
        self._seed = seed
        self._chance = random.Random(seed)  # noqa: S311 - the same again for the same seed
        self._made = 0

    def run(self, server: RunningServer, gone: threading.Event, kinds: list[str], moment: Moment) -> None:
        """Do what `kinds` says, reporting moments of the last of them only, then anything, until `gone`."""
        self._server = server
        try:
            for number, kind in enumerate(kinds, start=1):
                self.do(kind, moment if number == len(kinds) else _nothing)
            moment("done")
            while not gone.is_set():
                self.do(self._chance.choice(KINDS), _nothing)
        except (OSError, http.client.HTTPException):
            if not gone.is_set():
                raise

    def do(self, kind: str, moment: Moment) -> None:
        there = [name for name in self._names if self._acknowledged.kept(name)]
        absent = [name for name in self._names if name not in there]
        if kind in ("upload", "replace"):
            choice = (absent or there) if kind == "upload" else (there or absent)
            self._upload(self._chance.choice(choice), moment)
        elif not there:
            self.do("upload", moment)
        else:
            getattr(self, f"_{kind}")(self._chance.choice(there), moment)

    def _upload(self, name: str, moment: Moment) -> None:
        old = self._acknowledged.kept(name)
        new = Kept(self._chosen(), self._visibility) if old is None else replace(old, weights=self._chosen())
        if self._visibility == "private" and new.visibility == "public":
            new = replace(new, visibility="private")  # nobody's bytes become public unsaid
        content = new.weights.content

        def pieces() -> Iterator[bytes]:
            for number in range(PIECES):
                moment(f"piece {number}")
                yield content[number * len(content) // PIECES : (number + 1) * len(content) // PIECES]
                time.sleep(self._chance.choice((0, 0, 0.002)))
            moment("sent")

        headers = {"Content-Length": str(len(content))}
        with self._acknowledged.asking(name, new):
            self._ask("PUT", f"/v2/repository/models/{_quoted(name)}", pieces(), headers)

    def _delete(self, name: str, moment: Moment) -> None:
        with self._acknowledged.asking(name, None):
            self._ask("DELETE", f"/v2/repository/models/{_quoted(name)}", moment=moment)

    def _share(self, name: str, moment: Moment) -> None:
        kept = self._acknowledged.kept(name)
        assert kept is not None
        visibility = self._chance.choice(("private", "shared", "public"))
        keys = (OTHER_KEY,) if visibility == "shared" else ()
        if self._visibility == "public":
            # Without callers, what is not public is nobody's to see. It is written all the same.
            visibility, keys = "public", ()
        body = json.dumps({"visibility": visibility, "shared_with": keys})
        with self._acknowledged.asking(name, replace(kept, visibility=visibility, shared_with=keys)):
            self._ask("POST", f"/v2/repository/models/{_quoted(name)}/sharing", body, moment=moment)

    def _load(self, name: str, moment: Moment) -> None:
        self._ask("POST", f"/v2/repository/models/{_quoted(name)}/load", moment=moment)

    def _unload(self, name: str, moment: Moment) -> None:
        self._ask("POST", f"/v2/repository/models/{_quoted(name)}/unload", moment=moment)

    def _predict(self, name: str, moment: Moment) -> None:
        kept = self._acknowledged.kept(name)
        assert kept is not None
        body = json.dumps({"inputs": kept.weights.question()})
        self._ask("POST", f"/v2/models/{_quoted(name)}/infer", body, moment=moment)

    def _ask(self, method, path, body=None, headers=None, moment=None) -> None:
        with self._server.http() as connection:
            connection.request(method, path, body, {**self._headers, **(headers or {})})
            if moment is not None:
                moment("sent")
            response = connection.getresponse()
            # The first line of an answer is the server's word, whether the rest of it arrives or not.
            if response.status // 100 != 2:
                raise Refused(f"{method} {path}: {response.status} {response.read()!r}")

    def _chosen(self) -> Weights:
        # Now and then the bytes of another model of the same owner: the store keeps them once.
        kept = [self._acknowledged.kept(name) for name in self._names]
        others = [model.weights for model in kept if model is not None]
        if others and self._chance.random() < 0.2:
            return self._chance.choice(others)
        self._made += 1
        count = LARGE_COUNT if self._chance.random() < 0.04 else self._chance.choice(COUNTS)
        return Weights(f"{self._seed}/{self._made}", count)


def _quoted(name: str) -> str:
    return name.replace("/", "%2F")


def _nothing(_: str) -> None:
    pass
