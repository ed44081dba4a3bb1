"""What stands between a client and its replicas, a balancer and a proxy: neither sees what it passes on."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading


class Balancer:
    """Passes each connection on to one of `peers`: in turn, or to whoever has the fewest at the moment.

    `led_to` lists the places of the peers in the order in which they were chosen; `open` counts connections.
    """

    def __init__(self, peers, *, least_connections=False):
        self.peers = tuple(peers)
        self.led_to = []
        self._least = least_connections
        self._turn = itertools.count()
        self._lock = threading.Lock()
        self._open = [0] * len(self.peers)
        self._threads = []
        self._sockets = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]

    def __enter__(self):
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()
        return self

    def __exit__(self, *_):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._acceptor.join(10)
        self._listener.close()
        for each in tuple(self._sockets):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                place = self._choose()
                self.led_to.append(place)
                self._open[place] += 1
            thread = threading.Thread(target=self._pass_on, args=(client, place), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _choose(self):
        if self._least:
            return self._open.index(min(self._open))
        return next(self._turn) % len(self.peers)

    def _pass_on(self, client, place):
        try:
            with client, socket.create_connection(("127.0.0.1", self.peers[place].port)) as server:
                self._sockets += [client, server]
                back = threading.Thread(target=_pump, args=(server, client), daemon=True)
                back.start()
                _pump(client, server)
                back.join()
        except OSError:
            return  # nobody listens there any more: the client sees the end of its connection
        finally:
            with self._lock:
                self._open[place] -= 1


class ConnectProxy:
    """A CONNECT proxy to one port, whatever is asked for."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]

    def __enter__(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        with client, socket.create_connection(("127.0.0.1", self._target)) as server:
            head = b""
            while b"\r\n\r\n" not in head:
                head += client.recv(4096)
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=_pump, args=(server, client), daemon=True)
            back.start()
            _pump(client, server)
            back.join()


def _pump(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        pass
    # A client that hung up is gone for the server, and the other way round.
    for each in (source, sink):
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
