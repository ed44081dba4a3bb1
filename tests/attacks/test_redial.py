"""Attested once is not attested for ever: each new connection is judged, whoever ended the one before."""

from __future__ import annotations

import contextlib
import socket
import threading

import httpx2
import pytest

from blindai.errors import AttestationError, Reason
from blindai.testing import TlsIdentity
from blindai.transport.refused import ReplicaRefusedWarning
from tests.attacks.conftest import NAMES, only_tdx
from tests.attacks.middle import Middle, pass_on, relay
from tests.attacks.refusing import assert_refused
from tests.transport.dialling import quiet
from tests.transport.driving import driven

OWN = TlsIdentity.make(*NAMES)
pytestmark = only_tdx


def swallowing(port, armed):
    """Passes on; once it is armed, the next bytes of the client end the connection in place of arriving."""

    def lead(client, seen):
        with socket.create_connection(("127.0.0.1", port)) as server:
            back = threading.Thread(target=_answers, args=(server, client), daemon=True)
            back.start()
            while (data := client.recv(65536)) and not armed.is_set():
                seen.wire += data
                server.sendall(data)
            client.shutdown(socket.SHUT_RDWR)
            server.shutdown(socket.SHUT_RDWR)
            back.join()

    return lead


def _answers(server, client):
    with contextlib.suppress(OSError):
        while data := server.recv(65536):
            client.sendall(data)


@pytest.fixture
def diverted(victim, enclave, request):
    """Whom the second connection is led to: a relay, or an enclave of the attacker's with other lies."""
    with contextlib.ExitStack() as entered:
        if request.param == "relay":
            yield relay(victim.port, OWN), None, Reason.TLS_KEY_MISMATCH
            return
        peer = entered.enter_context(enclave(names=("other.example",)))
        yield pass_on(peer.port), peer, Reason.NAME_MISMATCH


both = pytest.mark.parametrize("diverted", ["relay", "enclave"], indirect=True)


def nothing_of_a_request(middle, peer):
    """Assert that the second connection brought the question for evidence and no more."""
    seen = peer.connections[0] if peer else middle.connections[1]
    assert seen.ended.wait(10)
    assert seen.attestation_request
    assert seen.request_bytes == b""


@both
@pytest.mark.parametrize("ended_by", ["the client", "the network"])
def test_the_second_connection_is_led_elsewhere(ended_by, diverted, victim, demands, colour):
    """The real server was attested and used; a connection that ends is dialled anew, to the attacker."""
    lead, peer, reason = diverted
    with Middle(pass_on(victim.port), lead) as middle, quiet():
        with driven(colour, demands(middle.port)) as client:
            headers = {"Connection": "close"} if ended_by == "the client" else {}
            assert client.get(headers=headers).status_code == 200
            if ended_by == "the network":
                middle.cut()
                middle.wait()
            assert_refused(client, reason)
        nothing_of_a_request(middle, peer)


@both
def test_a_read_that_was_swallowed_is_not_repeated_to_another(diverted, victim, demands, colour):
    """A GET whose connection ended as it was written goes out once more, to whoever is attested only."""
    lead, peer, reason = diverted
    armed = threading.Event()
    with Middle(swallowing(victim.port, armed), lead) as middle, quiet():
        with driven(colour, demands(middle.port)) as client:
            assert client.get().status_code == 200
            armed.set()
            with pytest.raises(AttestationError) as refusal:
                client.get("/v2/models/CANARY", headers={"Authorization": "Bearer CANARY-key"})
        nothing_of_a_request(middle, peer)
    assert refusal.value.reason is reason


@both
def test_work_that_was_swallowed_is_not_repeated_at_all(diverted, victim, demands, colour):
    """A POST fails with its connection, and the attacker is not even dialled for it."""
    lead, _, _ = diverted
    armed = threading.Event()
    with Middle(swallowing(victim.port, armed), lead) as middle, quiet():
        with driven(colour, demands(middle.port)) as client:
            assert client.get().status_code == 200
            armed.set()
            with pytest.raises(httpx2.TransportError):
                client.request("POST", "/v2/models/identity/infer", content=b"CANARY-body")
        assert len(middle.connections) == 1


@both
def test_the_session_goes_on_past_him(diverted, victim, demands, colour):
    """With further attempts he is passed over and named, and the key that is known is used again."""
    lead, peer, reason = diverted
    with Middle(pass_on(victim.port), lead, pass_on(victim.port)) as middle, quiet():
        with driven(colour, demands(middle.port, attempts=3)) as client:
            assert client.get(headers={"Connection": "close"}).status_code == 200
            with pytest.warns(ReplicaRefusedWarning, match=str(reason)):
                assert client.get("/v2/models/identity").status_code == 200
            (refused,) = client.transport.refused
        nothing_of_a_request(middle, peer)
    assert refused.reason is reason
    assert refused.tls_spki_sha256 == (peer or OWN).spki_sha256
