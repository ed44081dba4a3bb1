"""Who cannot read can still cut, drop, repeat, reorder and change: an error, never another answer.

Each record of a whole session (handshake, evidence, two inferences) is changed once in each way. What comes
of it is the true answer, or an error. All records are tried by `make test-system`, every third otherwise.
"""

from __future__ import annotations

import contextlib
import os
import socket

import httpx2
import pytest

from blindai.errors import UnreachableError
from tests.attacks.conftest import only_tdx
from tests.attacks.middle import Middle, pass_on
from tests.attacks.records import APPLICATION_DATA, CHANGES, Meddler
from tests.attacks.refusing import served
from tests.transport.dialling import quiet
from tests.transport.driving import driven

pytestmark = only_tdx
INFER = "/v2/models/identity/infer"
ROUTE = "/v2/models/{model}/infer"
SIZES = (3, 5000)  # the response of the second takes several records
HARMLESS = {"send in pieces"}
UNNOTICED = HARMLESS | {"duplicate"}  # of the last record: the answer has been read, and the connection ends


@pytest.fixture(scope="module")
def counting(vendor, operator, victim):
    """A real server that counts what it answers."""
    path = vendor.folder / "identity.onnx"
    settings = {"metrics_address": "127.0.0.1:0", "tls_dir": str(operator)}
    with vendor.server({"identity": path}, **settings) as running:
        yield running


def session(client):
    """What a client is answered in one session."""
    answered = []
    for size in SIZES:
        tensor = {"name": "x", "datatype": "FP32", "shape": [size], "data": [float(size)] * size}
        answered.append(client.request("POST", INFER, json={"inputs": [tensor]}).json()["outputs"])
    return answered


def through(meddler, colour, demands):
    """What a session through him is answered; None if it ends in an error that blames nobody."""
    with Middle(meddler.lead) as middle, quiet():
        with driven(colour, demands(middle.port, timeout_seconds=5)) as client:
            try:
                return session(client)
            except (UnreachableError, httpx2.TransportError):
                return None
            finally:
                meddler.over = True


@pytest.mark.parametrize("towards", ["client", "server"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_record_that_was_meddled_with(change, towards, counting, demands, colour):
    """At every place of the session, in either direction."""
    counter = Meddler(counting.port)
    truth = through(counter, colour, demands)
    assert [len(outputs[0]["data"]) for outputs in truth] == list(SIZES)
    assert counter.kinds[towards].count(APPLICATION_DATA) >= 4
    step = 1 if os.environ.get("BLINDAI_SYSTEM") == "1" else 3
    for place in range([*CHANGES].index(change) % step, len(counter.kinds[towards]), step):
        meddler = Meddler(counting.port, towards, place, change)
        answered = through(meddler, colour, demands)
        assert answered in (None, truth)
        if meddler.struck == APPLICATION_DATA and change not in UNNOTICED:
            assert answered is None
        if change in HARMLESS:
            assert answered == truth


@pytest.mark.parametrize("without", ["anything", "the handshake"])
def test_a_session_that_is_sent_again(without, counting, demands, colour):
    """All that a client sent, recorded and sent once more: the server runs nothing of it."""
    before = served(counting)[ROUTE]
    with Middle(pass_on(counting.port)) as middle, quiet():
        with driven(colour, demands(middle.port)) as client:
            session(client)
        middle.wait()
        recorded = middle.wire
    if without == "the handshake":
        recorded = recorded[5 + int.from_bytes(recorded[3:5], "big") :]
    while served(counting)[ROUTE] < before + len(SIZES):  # counted when the last byte has left
        assert counting.process.poll() is None
    with socket.create_connection(("127.0.0.1", counting.port), timeout=20) as replayed:
        replayed.sendall(recorded)
        replayed.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionError):
            while replayed.recv(65536):
                pass
    assert served(counting)[ROUTE] == before + len(SIZES)
