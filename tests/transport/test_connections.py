"""Which connections are attested anew, which are reused, and what ends them."""

from __future__ import annotations

import asyncio
import threading
import time

import httpx2
import pytest

from blindai.errors import AttestationError, Reason
from blindai.testing import CapturingPeer, FakeTdx, Pause, TlsIdentity, http_response, make_answer
from blindai.transport.aio import AsyncAttestedTransport
from blindai.transport.session import SimulationWarning
from blindai.transport.sync import AttestedTransport
from tests.transport.dialling import quiet


@pytest.fixture
def client(demands):
    """Open a synchronous client for a peer; closed at the end."""
    opened = []

    def make(peer, **changes):
        wanted = demands(peer, **changes)
        opened.append(httpx2.Client(transport=AttestedTransport(wanted), base_url=wanted.origin.url))
        return opened[-1]

    with quiet():
        yield make
    for each in opened:
        each.close()


def _attestations(peer: CapturingPeer) -> int:
    return sum(connection.attestation_request != b"" for connection in peer.connections)


def test_a_connection_is_attested_once_and_reused(answering, client):
    """Five requests on one connection need one attestation."""
    with answering() as peer:
        session = client(peer)
        assert [session.get("/v2").status_code for _ in range(5)] == [200] * 5
        assert (len(peer.connections), _attestations(peer)) == (1, 1)


def test_a_known_key_on_a_new_connection_needs_no_evidence(answering, client):
    """A second connection to an attested key costs nothing more than TLS."""
    with answering() as peer:
        session = client(peer)
        session.get("/v2")
        session.get("/v2", headers={"Connection": "close"})
        session.get("/v2")
        assert len(peer.connections) == 2
        assert _attestations(peer) == 1


def test_another_key_behind_the_same_address_is_attested_for_itself(tdx, demands, client):
    """A balancer that leads to another replica leads to another attestation; a bad replica gets nothing."""
    good, stranger = TlsIdentity.make("localhost"), TlsIdentity.make("localhost")

    def answer(nonce):
        return http_response(
            make_answer(
                tdx, nonce=nonce, tls_spki_sha256=good.spki_sha256, now=int(time.time()), names=("127.0.0.1",)
            )
        )

    with CapturingPeer(answer, identities=[good, stranger]) as peer:
        session = client(peer)
        session.get("/v2", headers={"Connection": "close"})
        with pytest.raises(AttestationError) as refusal:
            session.get("/v2/CANARY")
        peer.wait()
        assert refusal.value.reason is Reason.TLS_KEY_MISMATCH
        assert peer.connections[1].request_bytes == b""


def test_a_cold_burst_of_threads_is_one_attestation(answering, client):
    """Eight threads on a new client ask for one quote, not for eight."""
    with answering(wrap=lambda body: [Pause(0.2), http_response(body)]) as peer:
        session = client(peer)
        threads = [threading.Thread(target=session.get, args=("/v2",)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert _attestations(peer) == 1
        assert len(peer.connections) > 1


def test_a_cold_burst_of_tasks_is_one_attestation(answering, demands):
    """The asynchronous transport has the same single flight."""

    async def burst(peer):
        wanted = demands(peer)
        async with httpx2.AsyncClient(
            transport=AsyncAttestedTransport(wanted), base_url=wanted.origin.url
        ) as session:
            await asyncio.gather(*(session.get("/v2") for _ in range(8)))

    with quiet(), answering(wrap=lambda body: [Pause(0.2), http_response(body)]) as peer:
        asyncio.run(burst(peer))
        assert _attestations(peer) == 1


def test_a_cancelled_attestation_leaves_no_connection(answering, demands):
    """A caller who gives up in mid-attestation closes the connection; the next caller starts afresh."""

    async def give_up(peer):
        wanted = demands(peer)
        async with httpx2.AsyncClient(
            transport=AsyncAttestedTransport(wanted), base_url=wanted.origin.url
        ) as session:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await session.get("/v2")
            while not peer.connections[0].ended.is_set():
                await asyncio.sleep(0.01)
            slow.clear()
            return (await session.get("/v2")).status_code

    slow = [Pause(5)]
    with quiet(), answering(wrap=lambda body: [*slow, http_response(body)]) as peer:
        assert asyncio.run(give_up(peer)) == 200
        assert peer.connections[0].request_bytes == b""


def test_an_expired_proof_ends_a_pooled_connection(answering, client):
    """When the proof ends, the open connection is not used again: the server is attested anew."""
    clock = [time.time()]
    with answering() as peer:
        session = client(peer, clock=lambda: clock[0])
        session.get("/v2")
        clock[0] += 3601
        session.get("/v2")
        assert len(peer.connections) == 2
        assert _attestations(peer) == 2


def test_a_proof_that_is_about_to_end_begins_no_request(answering, client):
    """In its last second nothing is started on it: the request could leave after its end, and fail."""
    clock = [time.time()]
    with answering() as peer:
        session = client(peer, clock=lambda: clock[0])
        session.get("/v2")
        clock[0] += 3599
        session.get("/v2")
        assert _attestations(peer) == 2


def test_rolled_back_collateral_is_refused(demands, tdx):
    """Collateral older than what this transport has seen is refused, though its dates hold."""
    newer = FakeTdx(root=tdx.root, tcb_evaluation=20)
    older = FakeTdx(root=tdx.root, tcb_evaluation=19)
    keys = [TlsIdentity.make("localhost"), TlsIdentity.make("localhost")]
    machines = iter(zip((newer, older), keys, strict=True))

    def answer(nonce):
        machine, key = next(machines)
        return http_response(
            make_answer(
                machine,
                nonce=nonce,
                tls_spki_sha256=key.spki_sha256,
                now=int(time.time()),
                names=("127.0.0.1",),
            )
        )

    with quiet(), CapturingPeer(answer, identities=keys) as peer:
        wanted = demands(peer)
        with httpx2.Client(transport=AttestedTransport(wanted), base_url=wanted.origin.url) as session:
            session.get("/v2", headers={"Connection": "close"})
            with pytest.raises(AttestationError) as refusal:
                session.get("/v2")
    assert refusal.value.reason is Reason.TCB_ROLLED_BACK


def test_a_simulation_warns_once_per_connection(answering, demands):
    """Whoever uses a simulation is told so, with the server's address."""
    with answering() as peer:
        wanted = demands(peer)
        with httpx2.Client(transport=AttestedTransport(wanted), base_url=wanted.origin.url) as session:
            with pytest.warns(SimulationWarning, match="SIMULATION") as told:
                session.get("/v2")
                session.get("/v2")
    assert len(told) == 1


def test_the_proof_is_reachable_from_a_response(answering, client):
    """A caller of a foreign client library finds the verdict on the response's stream."""
    with answering() as peer:
        response = client(peer).get("/v2")
        stream = response.extensions["network_stream"]
        assert stream.get_extra_info("blindai_attested").verdict.simulated
