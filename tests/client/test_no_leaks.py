"""What a client says when it fails holds neither the API key nor the inputs: people paste it into issues."""

from __future__ import annotations

import contextlib
import pickle
import secrets
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import blindai
from blindai.client.sync import Client
from blindai.errors import BlindAIError
from blindai.wire.api_key import key_id, new_key
from tests import models
from tests.canaries import Canaries
from tests.serving import RunningServer, running_server

pytestmark = pytest.mark.filterwarnings("ignore::blindai.SimulationWarning")


@pytest.fixture(scope="module")
def planted() -> Canaries:
    return Canaries()


@pytest.fixture(scope="module")
def key(planted: Canaries) -> str:
    return planted.known("API key", new_key(secrets.token_bytes))


@pytest.fixture(scope="module")
def owned(key: str) -> Iterator[RunningServer]:
    """A server that knows this key, with models that take each kind of input."""
    alice = {"name": "alice", "role": "owner", "key_sha256": key_id(key)}
    with running_server(callers=[alice]) as server:
        with connected(server, key) as client:
            for dtype in ("FP32", "FP16", "UINT8", "INT64", "BYTES", "BOOL"):
                client.upload_model(models.identity(dtype), name=dtype.lower())
            client.upload_model(models.failing(), name="failing")
        yield server


def connected(server: RunningServer, key: str, **options: Any) -> Client:
    return blindai.connect(server.address, simulation=True, floors=False, api_key=key, **options)


# What to predict with: each of these fails, here or at the server.
Inputs = Callable[[Canaries], tuple[str, Any]]
FAILING: dict[str, Inputs] = {
    "an integer out of range": lambda c: ("uint8", [c.integer("integer")]),
    "an integer beyond all": lambda c: ("int64", [c.integer("integer") * 10**20]),
    "a float beyond all": lambda c: ("fp16", [c.number("number") * 1e300]),
    "text for numbers": lambda c: ("fp32", [c.text("text")]),
    "text for integers": lambda c: ("int64", [c.accented("text")]),
    "text that UTF-8 cannot hold": lambda c: ("bytes", [c.text("text") + "\ud800"]),
    "bytes that are no text": lambda c: ("bytes", [c.text("text").encode() + b"\xff"]),
    "numbers for text": lambda c: ("bytes", [c.integer("integer")]),
    "ragged rows": lambda c: ("fp32", [[c.number("number")], [c.number("number"), 1.0]]),
    "a mixture": lambda c: ("fp32", [c.text("text"), c.number("number")]),
    "a number for a truth": lambda c: ("bool", [c.integer("integer")]),
    "another type of array": lambda c: ("fp32", np.array([c.number("number")])),
    "another shape": lambda c: ("fp32", np.array([[c.number("number")]], dtype=np.float32)),
    "an index too large": lambda c: ("failing", [c.integer("index")]),
    "an unknown input": lambda c: ("fp32", {"z": np.array([c.number("number")])}),
    "a model that is not there": lambda c: ("missing", {"x": np.array([c.number("number")])}),
    "a model that cannot be": lambda c: ("NOT A MODEL", {"x": np.array([c.number("number")])}),
    "an object": lambda c: ("fp32", {"x": {c.text("text"): c.number("number")}}),
}


@pytest.mark.parametrize("what", FAILING)
def test_a_failed_prediction_tells_nothing(owned: RunningServer, key: str, planted: Canaries, what: str):
    """Message, hint, notes, fields and the whole traceback are free of the key and of every value."""
    with connected(owned, key) as client:
        told = failure_of(lambda: client.predict(*FAILING[what](planted)))
    assert planted.found_in(told) == set()


def failure_of(call: Callable[[], object]) -> bytes:
    """Everything that is printed of an error: also by those who print its fields, or send it elsewhere."""
    try:
        call()
    except BlindAIError as error:
        told = [*traceback.format_exception(error), str(error), repr(error), *getattr(error, "__notes__", ())]
        told += [str(value) for value in vars(error).values()]
        return "\n".join(told).encode("utf-8", "replace") + pickle.dumps(error)
    pytest.fail("nothing failed")


def test_a_key_that_is_refused_is_not_shown(owned: RunningServer, planted: Canaries):
    """Unknown keys, and those that no header can hold."""
    for wrong in (
        "blindai_" + planted.text("wrong key"),
        planted.text("key") + "\n",
        planted.accented("key"),
        "",
    ):
        assert planted.found_in(failure_of(lambda wrong=wrong: caller(owned, wrong))) == set()  # type: ignore[misc]


def caller(server: RunningServer, key: str) -> None:
    with connected(server, key) as client:
        client.caller()


def test_a_server_that_goes_away(key: str, planted: Canaries):
    """A broken connection, a port where nobody listens, and an answer that does not come in time."""
    alice = {"name": "alice", "role": "owner", "key_sha256": key_id(key)}
    value = np.array([planted.number("number")])
    with contextlib.ExitStack() as closing:
        server = closing.enter_context(running_server(callers=[alice], drain_seconds=1.0))
        client = closing.enter_context(connected(server, key, timeout_seconds=1))
        client.upload_model(models.slow(), name="slow")
        iterations = planted.integer("iterations") % 10**12
        assert planted.found_in(failure_of(lambda: client.predict("slow", [iterations]))) == set()
        server.stop()
        assert planted.found_in(failure_of(lambda: client.predict("slow", {"x": value}))) == set()
        assert planted.found_in(failure_of(lambda: connected(server, key))) == set()


def test_a_client_does_not_show_its_key(owned: RunningServer, key: str, planted: Canaries):
    """`print(client)`, its fields and what it is made of."""
    with connected(owned, key) as client:
        shown = [repr(client), str(client), repr(client.verdict), str(client.verdict)]
        assert planted.found_in("\n".join(shown).encode()) == set()


def test_the_search_sees_a_chained_error(planted: Canaries):
    """It is not blind: what Python itself says of an integer out of range quotes it."""
    value = planted.integer("integer")

    def chained() -> None:
        try:
            np.array([value], dtype=np.uint8)
        except OverflowError as exc:
            raise BlindAIError("out of range") from exc

    assert planted.found_in(failure_of(chained)) != set()
