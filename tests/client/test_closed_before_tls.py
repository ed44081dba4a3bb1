"""Whoever takes connections and drops them: a balancer with nobody behind it, and no server without TLS."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

import blindai
from blindai.errors import UnreachableError


def drops(sock: socket.socket) -> None:
    sock.recv(4096)


def resets(sock: socket.socket) -> None:
    sock.recv(1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def speaks_http(sock: socket.socket) -> None:
    sock.recv(4096)
    sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


@contextmanager
def peer(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """Answer one connection so; its address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            sock, _ = listener.accept()
            with sock:
                answer(sock)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            thread.join(20)


def connect(address: str) -> None:
    blindai.connect(address, simulation=True, attempts=1)


def aconnect(address: str) -> None:
    asyncio.run(blindai.aconnect(address, simulation=True, attempts=1))


@pytest.mark.parametrize("dial", [connect, aconnect])
@pytest.mark.parametrize("answer", [drops, resets])
def test_a_connection_that_is_dropped_before_tls(answer, dial):
    """It is said what happened, and who does that."""
    with peer(answer) as address, pytest.raises(UnreachableError, match="before TLS began") as caught:
        dial(address)
    assert "a balancer without a healthy server" in caught.value.hint


@pytest.mark.parametrize("dial", [connect, aconnect])
def test_a_server_without_tls_is_told_from_that(dial):
    """An answer in clear is the wrong port, and not a balancer's."""
    with peer(speaks_http) as address, pytest.raises(UnreachableError, match="does not speak TLS") as caught:
        dial(address)
    assert "is that its port?" in caught.value.hint
