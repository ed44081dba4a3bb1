"""A server that changes a store at random until it is killed, and says what it does before and after it.

    python -m tests.store.killed FOLDER SEED

Each line is a JSON list: ["open", []], ["try", change] before and ["done", change] after a change.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

from blindai.errors import StoreError, StoreFault
from blindai.store.store import Store
from blindai.wire.model_name import ModelName
from tests.store.shelf import CHUNK, KEY, OTHER_KEY, content, put

NAMES = ("a", "b", "c", "d")
SIZES = (0, 700, 5000, CHUNK, 2 * CHUNK + 5)


def main(path: Path, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311  the same changes again for the same seed
    while True:
        say("open", [])
        with opened(path) as store:
            for _ in range(chance.randrange(1, 8)):
                change = chosen(chance, store, seed)
                say("try", change)
                carry_out(change, store)
                say("done", change)


def opened(path: Path) -> Store:
    """Open the store under whichever key it has now."""
    try:
        return Store.open(path, KEY)
    except StoreError as error:
        if error.fault != StoreFault.WRONG_KEY:
            raise
        return Store.open(path, OTHER_KEY)


def chosen(chance: random.Random, store: Store, seed: int) -> list:
    kind = chance.choices(("put", "again", "remove", "rotate"), (5, 2, 3, 2))[0]
    there = [model.name.name for model in store.models()]
    if kind == "remove" and there:
        return ["remove", chance.choice(there)]
    if kind == "rotate":
        return ["rotate", chance.choice(("", KEY.decode(), OTHER_KEY.decode()))]
    # "again": bytes that several names may share.
    what = [0, 5000] if kind == "again" else [f"{seed}/{chance.random()}", chance.choice(SIZES)]
    return ["put", chance.choice(NAMES), *what]


def carry_out(change: list, store: Store) -> None:
    if change[0] == "put":
        put(store, f"alice/{change[1]}", content(*change[2:]))
    elif change[0] == "remove":
        store.remove(ModelName("alice", change[1]))
    else:
        store.rotate(change[1].encode() or None)


def say(what: str, change: list) -> None:
    sys.stdout.write(json.dumps([what, change]) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
