"""The outside interfaces of a TEE, lent by a test to a server process over a pair of sockets.

The machine stays in the test: it outlives servers, and a test can change it, and what its interfaces do,
while one of them runs. The producers in the server notice nothing: they call what a kernel would answer.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any

from blindai.devices import sev_guest
from blindai.tee import nsm
from blindai.tee.detect import Prober
from blindai.tee.gramine import GramineSgx
from blindai.tee.nsm import Nsm
from blindai.tee.sev_guest import SevGuest
from blindai.tee.tsm import Tsm
from blindai.testing import FakeNsm, FakeSevGuest

_SEV_REQUESTS = {
    sev_guest.SNP_GET_REPORT: sev_guest.REPORT_REQUEST,
    sev_guest.SNP_GET_EXT_REPORT: sev_guest.EXT_REPORT_REQUEST,
}


def borrowed(interface: str, descriptor: int) -> Prober:
    """Return the producer of this name over the interface at the other end of the socket."""
    remote = Remote(Connection(descriptor))
    made: dict[str, Callable[[], Any]] = {
        "gramine": lambda: GramineSgx(files=remote),
        "configfs-tsm": lambda: Tsm(remote),
        "sev-guest": lambda: SevGuest(remote.opened, lambda *asked: _sev_ioctl(remote, *asked)),
        "nsm": lambda: Nsm(remote.opened, lambda *asked: _nsm_ioctl(remote, *asked)),
    }
    prober: Prober = made[interface]()
    return prober


class Remote:
    """Every method is the lent object's; what that raises is raised here."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._turn = threading.Lock()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            with self._turn:
                self._connection.send((name, arguments))
                raised, answer = self._connection.recv()
            if raised is not None:
                raise raised
            return answer

        return call

    def opened(self) -> int:
        """Return a descriptor of this process, if the device could be opened there."""
        self.open()
        return os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)


@contextlib.contextmanager
def lent(interface: Any) -> Iterator[int]:
    """Answer for `interface`; yield the descriptor for the process that borrows it, and closes it here."""
    ours, theirs = socket.socketpair()
    device = {FakeSevGuest: _SevDevice, FakeNsm: _NsmDevice}.get(type(interface), lambda same: same)
    with ours, theirs, Connection(ours.detach()) as connection:
        thread = threading.Thread(target=_answer, args=(connection, device(interface)), daemon=True)
        thread.start()
        try:
            yield theirs.fileno()
        finally:
            theirs.close()
            thread.join(5)


def _answer(connection: Connection, interface: Any) -> None:
    with contextlib.suppress(EOFError, OSError):
        while True:
            name, arguments = connection.recv()
            try:
                answer = None, getattr(interface, name)(*arguments)
            except OSError as exc:
                answer = exc, None
            connection.send(answer)


class _Device:
    """A device that is opened, asked and closed for each request: requests are bytes, not addresses."""

    def __init__(self, fake: FakeSevGuest | FakeNsm) -> None:
        self._fake = fake

    def open(self) -> None:
        os.close(self._fake.opener())

    def _ioctl(self, request: int, argument: bytearray) -> OSError | None:
        descriptor = self._fake.opener()
        try:
            self._fake.ioctl(descriptor, request, argument)
        except OSError as exc:
            return exc
        finally:
            os.close(descriptor)
        return None


class _SevDevice(_Device):
    def ask(self, request: int, asked: bytes, room: int) -> tuple[Any, ...]:
        """Return what was raised, exitinfo2, and what the memory holds: the request, answer, certificates."""
        certificates = ctypes.create_string_buffer(room)
        if room:
            asked = asked[:96] + struct.pack("<Q", ctypes.addressof(certificates)) + asked[104:]
        memory = ctypes.create_string_buffer(asked, len(asked))
        answer = ctypes.create_string_buffer(sev_guest.REPORT_RESPONSE_BYTES)
        argument = bytearray(sev_guest.REQUEST.pack(1, ctypes.addressof(memory), ctypes.addressof(answer), 0))
        raised = self._ioctl(request, argument)
        exitinfo2: int = sev_guest.REQUEST.unpack(argument)[3]
        return raised, exitinfo2, memory.raw, answer.raw, certificates.raw


def _sev_ioctl(remote: Remote, _: int, request: int, argument: bytearray) -> int:
    _, asked_at, answer_at, _ = sev_guest.REQUEST.unpack(argument)
    asked = ctypes.string_at(asked_at, _SEV_REQUESTS[request].size)
    extended = request == sev_guest.SNP_GET_EXT_REPORT
    _, address, room = sev_guest.EXT_REPORT_REQUEST.unpack(asked) if extended else (b"", 0, 0)
    raised, exitinfo2, memory, answer, certificates = remote.ask(request, asked, room)
    struct.pack_into("<Q", argument, 24, exitinfo2)
    if extended:
        ctypes.memmove(asked_at + 104, memory[104:108], 4)  # the room that certificates need
        ctypes.memmove(address, certificates, room)
    ctypes.memmove(answer_at, answer, len(answer))
    if raised is not None:
        raise raised
    return 0


class _NsmDevice(_Device):
    def ask(self, request: int, asked: bytes, room: int) -> tuple[Any, ...]:
        """Return what was raised, and the answer."""
        memory = ctypes.create_string_buffer(asked, len(asked))
        answer = ctypes.create_string_buffer(room)
        argument = bytearray(
            nsm.RAW.pack(ctypes.addressof(memory), len(asked), ctypes.addressof(answer), room)
        )
        raised = self._ioctl(request, argument)
        return raised, answer.raw[: nsm.RAW.unpack(argument)[3]]


def _nsm_ioctl(remote: Remote, _: int, request: int, argument: bytearray) -> int:
    asked_at, length, answer_at, room = nsm.RAW.unpack(argument)
    raised, answer = remote.ask(request, ctypes.string_at(asked_at, length), room)
    if raised is not None:
        raise raised
    ctypes.memmove(answer_at, answer, len(answer))
    struct.pack_into("=Q", argument, 24, len(answer))
    return 0
