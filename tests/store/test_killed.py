"""`kill -9` at random instants of uploads, removals, rotations and openings.

BLINDAI_KILLS says how often; the seed is printed, and BLINDAI_SEED takes it again. tests/system does it to
whole servers, more often.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.store.killed import opened
from tests.store.shelf import content, contents, files, plaintext_in

ROOT = Path(__file__).parents[2]
KILLS = int(os.environ.get("BLINDAI_KILLS", "5"))
LONGEST_SECONDS = (0.01, 0.1, 0.6)  # from the first opening to the kill


def test_a_killed_server_loses_nothing(tmp_path):
    """After each kill every acknowledged model is there, none is there in part, and no plaintext is."""
    seed = int(os.environ.get("BLINDAI_SEED", random.SystemRandom().randrange(2**32)))
    print(f"BLINDAI_SEED={seed} BLINDAI_KILLS={KILLS}")  # noqa: T201
    chance = random.Random(seed)  # noqa: S311
    path, expected = tmp_path / "store", {}
    for turn in range(KILLS):
        lines = killed(path, seed + turn, chance.random() * chance.choice(LONGEST_SECONDS))
        expected = survivors(path, expected, lines)


def killed(path: Path, seed: int, seconds: float) -> list[list]:
    """Run a server, kill it some time after it begins to open the store, and return what it said."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.store.killed", str(path), str(seed)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
    ) as server:
        first = server.stdout.readline()
        time.sleep(seconds)
        early = server.poll()
        server.send_signal(signal.SIGKILL)
        said = first + server.stdout.read()
        assert early is None, server.stderr.read().decode()
    lines = [json.loads(line) for line in said.splitlines() if line.endswith(b"]")]
    return [line for line in lines if line[0] != "open"]


def survivors(path: Path, before: dict[str, list], lines: list[list]) -> dict[str, list]:
    """Open the store after a kill, and return what is in it, by how it was made."""
    certain, secrets = dict(before), list(before.values())
    path.mkdir(exist_ok=True)  # killed before it did
    for said, change in lines:
        if change[0] == "put":
            secrets.append(change[2:])
        if said == "done":
            apply(change, certain)
    allowed = [certain, dict(certain)]
    if lines and lines[-1][0] == "try":
        apply(lines[-1][1], allowed[1])
    assert not plaintext_in(b"\0".join(files(path).values()), *(content(*how) for how in secrets))
    with opened(path) as store:
        found = contents(store)
        known = {"catalogue", *store._ledger.catalogue.files}
    choices = [{f"alice/{name}": content(*how) for name, how in choice.items()} for choice in allowed]
    assert found in choices, f"after {lines[-3:]}: {sorted(found)}"
    assert files(path).keys() == known
    return allowed[choices.index(found)]


def apply(change: list, models: dict[str, list]) -> None:
    if change[0] == "put":
        models[change[1]] = change[2:]
    elif change[0] == "remove":
        del models[change[1]]
