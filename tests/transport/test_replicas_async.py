"""Giving up in the middle of the search for a replica: whoever is held is let go."""

from __future__ import annotations

import asyncio
import socket
import threading

import httpx2
import pytest

from blindai.testing import Pause
from blindai.transport.aio import AsyncAttestedTransport
from blindai.transport.refused import ReplicaRefusedWarning
from tests.transport.balancing import Balancer, ConnectProxy
from tests.transport.dialling import quiet


@pytest.mark.parametrize("through_proxy", [False, True])
def test_a_caller_who_gives_up_during_the_second_dial(through_proxy, answering, demands):
    """Cancelled while the next replica is asked: both connections end, and the pool is as before."""
    bad = answering(bound_nonce=b"n" * 32)
    slow = answering(wrap=lambda _: [Pause(30)])
    with quiet(), bad, slow, Balancer([bad, slow]) as balancer, ConnectProxy(balancer.port) as between:
        proxy = f"http://127.0.0.1:{between.port}" if through_proxy else None
        transport = AsyncAttestedTransport(demands(balancer, attempts=4), proxy=proxy)
        asyncio.run(give_up(transport, lambda: slow.connections and slow.connections[0].attestation_request))
        bad.wait()
        assert balancer.led_to == [0, 1]
    assert bad.request_bytes + slow.request_bytes == b""
    assert bad.connections[0].ended.is_set()
    assert len(transport.refused) == 1


class Mute:
    """Takes connections and says nothing, not even TLS."""

    def __enter__(self):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.accepted = []
        self._acceptor = threading.Thread(target=lambda: self.accepted.append(self._listener.accept()[0]))
        self._acceptor.start()
        return self

    def __exit__(self, *_):
        self._listener.close()
        self._acceptor.join(10)
        for each in self.accepted:
            each.close()

    def sees_the_end(self):
        """Whether the client closes what it opened, after whatever it had said."""
        self.accepted[0].settimeout(10)
        while self.accepted[0].recv(65536):
            pass
        return True


def test_a_caller_who_gives_up_while_a_replica_is_dialled(answering, demands):
    """Cancelled before the second peer even speaks TLS: the refused connection, held until then, ends."""
    bad = answering(bound_nonce=b"n" * 32)
    with quiet(), bad, Mute() as mute, Balancer([bad, mute]) as balancer:
        transport = AsyncAttestedTransport(demands(balancer, attempts=4))
        asyncio.run(give_up(transport, lambda: mute.accepted))
        bad.wait()
        assert mute.sees_the_end()


async def give_up(transport, reached):
    """Send a request, cancel it once `reached` says so, and see the pool empty and usable."""
    async with httpx2.AsyncClient(
        transport=transport, base_url=transport.session.demands.origin.url
    ) as client:
        call = asyncio.create_task(client.get("/CANARY"))
        while not reached():
            await asyncio.sleep(0.01)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert transport._pool.connections == []


def test_the_next_caller_finds_the_good_one(answering, demands):
    """After somebody gave up, the search is made anew, and what was refused stays refused."""
    bad, good = answering(bound_nonce=b"n" * 32), answering()
    steps = [[Pause(30)]]
    good._answer = lambda nonce, answer=good._answer: steps.pop() if steps else answer(nonce)

    async def twice():
        async with httpx2.AsyncClient(transport=transport, base_url=wanted.origin.url) as client:
            call = asyncio.create_task(client.get("/first"))
            while steps:
                await asyncio.sleep(0.01)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            return (await client.get("/second")).status_code

    with quiet(), bad, good, Balancer([bad, good]) as balancer:
        wanted = demands(balancer, attempts=2)
        transport = AsyncAttestedTransport(wanted)
        with pytest.warns(ReplicaRefusedWarning):
            assert asyncio.run(twice()) == 200
        assert balancer.led_to == [0, 1, 0, 1]
        assert sum(connection.attestation_request != b"" for connection in bad.connections) == 1
    assert bad.request_bytes == b""
