"""A man in the middle who has no key: he sees TLS records, and can do to them what a network can."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

from tests.attacks.middle import Lead, Seen

APPLICATION_DATA = 23
_CLOSE_IN_CLEAR = bytes([21, 3, 3, 0, 2, 1, 0])
_HELLO_IN_CLEAR = bytes([22, 3, 3, 0, 4, 0, 0, 0, 0])  # HelloRequest: how TLS 1.2 began a renegotiation
_LINGER_SECONDS = 0.2

Change = Callable[[bytes, "_records"], Iterator[bytes]]


def _cut(_record: bytes, _following: _records) -> Iterator[bytes]:
    raise OSError("cut")
    yield b""


def _drop(_record: bytes, following: _records) -> Iterator[bytes]:
    yield from _next_of(following)


def _duplicate(record: bytes, _following: _records) -> Iterator[bytes]:
    yield record
    yield record


def _swap(record: bytes, following: _records) -> Iterator[bytes]:
    yield from _next_of(following)
    yield record


def _flip(record: bytes, _following: _records) -> Iterator[bytes]:
    yield record[:-1] + bytes([record[-1] ^ 1])


def _halve(record: bytes, _following: _records) -> Iterator[bytes]:
    yield record[: len(record) // 2]
    raise OSError("cut")


def _close_in_clear(record: bytes, _following: _records) -> Iterator[bytes]:
    yield _CLOSE_IN_CLEAR
    yield record


def _renegotiate(record: bytes, _following: _records) -> Iterator[bytes]:
    yield _HELLO_IN_CLEAR
    yield record


def _in_pieces(record: bytes, _following: _records) -> Iterator[bytes]:
    for at in range(0, len(record), 997):
        yield record[at : at + 997]


CHANGES: dict[str, Change] = {
    "cut before it": _cut,
    "cut within it": _halve,
    "drop": _drop,
    "duplicate": _duplicate,
    "swap": _swap,
    "flip a bit": _flip,
    "close in clear": _close_in_clear,
    "renegotiate": _renegotiate,
    "send in pieces": _in_pieces,
}


class Meddler:
    """Leads to a server, and changes the `at`th record of one direction, "client" or "server".

    `kinds` are the types of the records that passed; `struck` is that of the one that was changed. Once it is
    `over`, all has been answered, and what still passes is of no account. Without a change it counts.
    """

    def __init__(self, port: int, towards: str = "client", at: int = -1, change: str = "") -> None:
        self._port = port
        self._towards = towards
        self._at = at
        self._change = CHANGES.get(change)
        self.struck = 0
        self.over = False
        self.kinds: dict[str, list[int]] = {"client": [], "server": []}

    @property
    def lead(self) -> Lead:
        def lead(client: socket.socket, _: Seen) -> None:
            with socket.create_connection(("127.0.0.1", self._port)) as server:
                server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                back = threading.Thread(target=self._pass, args=(server, client, "client"), daemon=True)
                back.start()
                self._pass(client, server, "server")
                back.join()

        return lead

    def _pass(self, source: socket.socket, sink: socket.socket, towards: str) -> None:
        with contextlib.suppress(OSError):
            records = _records(source)
            for number, record in enumerate(records):
                for each in self._changed(record, records, (towards, number)):
                    sink.sendall(each)
        for each_end in (source, sink):
            with contextlib.suppress(OSError):
                each_end.shutdown(socket.SHUT_RDWR)

    def _changed(self, record: bytes, records: _records, place: tuple[str, int]) -> Iterator[bytes]:
        if not self.over:
            self.kinds[place[0]].append(record[0])
            if self._change is not None and place == (self._towards, self._at):
                self.struck = record[0]
                return self._change(record, records)
        return iter([record])


class _records:  # noqa: N801  an iterator
    def __init__(self, source: socket.socket) -> None:
        self.source = source

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        head = self._exactly(5)
        return head + self._exactly(int.from_bytes(head[3:], "big"))

    def _exactly(self, size: int) -> bytes:
        received = b""
        while len(received) < size:
            data = self.source.recv(size - len(received))
            if not data:
                raise StopIteration
            received += data
        return received


def _next_of(following: _records) -> Iterator[bytes]:
    """The record after this one; where none comes, nobody would ever notice, so the connection ends."""
    before = following.source.gettimeout()
    following.source.settimeout(_LINGER_SECONDS)
    try:
        yield next(following)
    finally:
        following.source.settimeout(before)
