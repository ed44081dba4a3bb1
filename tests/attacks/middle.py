"""A man in the middle on loopback: he leads each connection where he likes, and keeps what he reads.

The nth connection is led by the nth of his `leads`, the last one leading all that follow. A lead gets the
client's socket and where to write down what it brought: `wire` is every byte as it came, `received` what he
could decrypt of it.
"""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass

from blindai.testing import Connection, TlsIdentity

_STALLED_SECONDS = 10.0
_LENGTH = re.compile(rb"(?i)content-length: (\d+)")


@dataclass
class Seen(Connection):
    """What one connection brought."""

    wire: bytes = b""


Lead = Callable[[socket.socket, Seen], None]


class Middle:
    """Listens on 127.0.0.1 while it is entered."""

    def __init__(self, *leads: Lead) -> None:
        self.leads = list(leads)
        self.connections: list[Seen] = []
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    @property
    def request_bytes(self) -> bytes:
        """What he decrypted beyond attestation GETs."""
        return b"".join(seen.request_bytes for seen in self.connections)

    @property
    def wire(self) -> bytes:
        return b"".join(seen.wire for seen in self.connections)

    def cut(self) -> None:
        """End every connection so far, as a network does that fails."""
        for each in tuple(self._sockets):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def wait(self) -> None:
        """Wait until every connection so far has ended."""
        for seen in tuple(self.connections):
            if not seen.ended.wait(_STALLED_SECONDS):
                raise TimeoutError("a client keeps its connection open")

    def __enter__(self) -> Middle:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._acceptor.join(_STALLED_SECONDS)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join(_STALLED_SECONDS)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            lead = self.leads[min(len(self.connections), len(self.leads) - 1)]
            seen = Seen()
            self.connections.append(seen)
            self._sockets.append(client)
            thread = threading.Thread(target=self._lead, args=(lead, client, seen), daemon=True)
            self._threads.append(thread)
            thread.start()

    @staticmethod
    def _lead(lead: Lead, client: socket.socket, seen: Seen) -> None:
        try:
            client.settimeout(_STALLED_SECONDS)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with client:
                lead(client, seen)
        except OSError as exc:
            seen.error = f"{type(exc).__name__}: {exc}"  # a client that refuses him hangs up
        finally:
            seen.ended.set()


def pass_on(port: int) -> Lead:
    """To a server, untouched: what a balancer does."""

    def lead(client: socket.socket, seen: Seen) -> None:
        with socket.create_connection(("127.0.0.1", port)) as server:
            back = threading.Thread(target=_pump, args=(server, client), daemon=True)
            back.start()
            _pump(client, server, seen)
            back.join()

    return lead


def relay(port: int, identity: TlsIdentity, edit: Callable[[bytes], bytes] = bytes) -> Lead:
    """Ends TLS with a key of his own, and asks the genuine server whatever the client asks him.

    `edit` changes the body of each response.
    """

    def lead(client: socket.socket, seen: Seen) -> None:
        with (
            _ending(identity).wrap_socket(client, server_side=True) as ended,
            socket.create_connection(("127.0.0.1", port), timeout=_STALLED_SECONDS) as raw,
            _asking().wrap_socket(raw) as server,
        ):
            while data := ended.recv(65536):
                seen.received += data
                server.sendall(data)
                if b"\r\n\r\n" in data:
                    ended.sendall(_response(server, edit))

    return lead


def in_clear(*says: bytes, greeting: bytes = b"") -> Lead:
    """Speaks no TLS at all: he answers each piece that comes with the next of `says`."""

    def lead(client: socket.socket, seen: Seen) -> None:
        client.sendall(greeting)
        answers = iter(says)
        while data := client.recv(65536):
            seen.wire += data
            client.sendall(next(answers, b""))

    return lead


def _response(server: ssl.SSLSocket, edit: Callable[[bytes], bytes]) -> bytes:
    received = b""
    while b"\r\n\r\n" not in received:
        received += _more(server)
    head, _, body = received.partition(b"\r\n\r\n")
    length = _LENGTH.search(head)
    if length is None:
        raise OSError("a response without Content-Length")
    while len(body) < int(length[1]):
        body += _more(server)
    edited = edit(body)
    return _LENGTH.sub(b"content-length: %d" % len(edited), head) + b"\r\n\r\n" + edited


def _more(server: ssl.SSLSocket) -> bytes:
    data = server.recv(65536)
    if not data:
        raise OSError("the server closed the connection")
    return data


def _ending(identity: TlsIdentity) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["http/1.1"])
    identity.load_into(context)
    return context


def _asking() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    return context


def _pump(source: socket.socket, sink: socket.socket, seen: Seen | None = None) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            if seen is not None:
                seen.wire += data
            sink.sendall(data)
    for each in (source, sink):
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
