"""A TLS 1.3 server that an attacker could run: it decrypts, records and answers whatever it likes.

One thread accepts, one serves each connection. Leaving the `with` block first drains what clients had
already sent, so that "it received nothing" is a statement about the client and not about a race.
"""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from urllib.parse import parse_qs, urlsplit

from blindai.channel import answer as attestation_answer
from blindai.testing.identity import TlsIdentity
from blindai.wire import base64url

_QUIET_SECONDS = 0.05
_STALLED_SECONDS = 10.0
_READ_BYTES = 64 * 1024
_ATTESTATION_REQUEST = re.compile(
    rb"GET %b\?nonce=[\w-]{43} HTTP/1\.1\r\n(?i:host): [^\r\n]+\r\n\r\n"
    % re.escape(attestation_answer.PATH.encode("ascii"))
)


@dataclass(frozen=True)
class Pause:
    """A step of an answer: send nothing for so long."""

    seconds: float


@dataclass(frozen=True)
class HangUp:
    """A step of an answer: close the connection now."""


Step = bytes | Pause | HangUp
Respond = Callable[[bytes], bytes | Iterable[Step]]


@dataclass
class Connection:
    """What one connection brought: every decrypted byte so far, and why it broke, if it did."""

    received: bytes = b""
    error: str = ""
    ended: threading.Event = field(default_factory=threading.Event, repr=False)

    @property
    def attestation_request(self) -> bytes:
        """The attestation GET that came first, if it is the fixed one: a nonce, Host, and no other header."""
        match = _ATTESTATION_REQUEST.match(self.received)
        return match[0] if match else b""

    @property
    def request_bytes(self) -> bytes:
        """Everything but that GET: to a peer that is not attested this must stay empty."""
        return self.received[len(self.attestation_request) :]


def http_response(body: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> bytes:
    """Return a response with one Content-Length, unless `headers` bring framing of their own."""
    fields = {"Content-Type": "application/json", **(headers or {})}
    if not {name.lower() for name in fields} & {"content-length", "transfer-encoding"}:
        fields["Content-Length"] = str(len(body))
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status} Status\r\n{lines}\r\n".encode("latin-1") + body


class CapturingPeer:
    """Listens on 127.0.0.1 while it is entered, and records each connection in `connections`.

    `answer(nonce)` gives the raw bytes of the response to the attestation GET (see `http_response`), whole or
    in steps; every other request gets `response`. The nth connection is ended by the nth of `identities`, the
    last one serving all that follow. `alpn=None` offers no protocol.
    """

    def __init__(
        self,
        answer: Respond,
        *,
        identities: Sequence[TlsIdentity] = (),
        response: bytes = http_response(b"{}"),
        alpn: str | None = "http/1.1",
        tls_version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
    ) -> None:
        self.identities = tuple(identities) or (TlsIdentity.make("localhost", "127.0.0.1"),)
        self.connections: list[Connection] = []
        self._answer = answer
        self._response = response
        self._contexts = [_context(identity, alpn, tls_version) for identity in self.identities]
        self._closing = threading.Event()
        self._threads: list[threading.Thread] = []
        self._sockets: list[socket.socket] = []

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    @property
    def spki_sha256(self) -> bytes:
        return self.identities[0].spki_sha256

    @property
    def certificate_pem(self) -> str:
        return self.identities[0].pem

    @property
    def request_bytes(self) -> bytes:
        """What all connections brought beyond attestation GETs."""
        return b"".join(connection.request_bytes for connection in self.connections)

    def wait(self, timeout_seconds: float = _STALLED_SECONDS) -> None:
        """Wait until every connection so far has ended, or raise TimeoutError."""
        for connection in tuple(self.connections):
            if not connection.ended.wait(timeout_seconds):
                raise TimeoutError("a client keeps its connection open")

    def __enter__(self) -> CapturingPeer:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._acceptor = threading.Thread(target=self._accept, name="capturing-peer", daemon=True)
        self._acceptor.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        # Closing a listener does not wake accept() on every system; a connection does.
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
            self._acceptor.join(_STALLED_SECONDS)
        self._listener.close()
        for thread in self._threads:
            thread.join(1)
        for stuck in self._sockets:
            with contextlib.suppress(OSError):
                stuck.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(_STALLED_SECONDS)

    def _accept(self) -> None:
        while True:
            raw, _ = self._listener.accept()
            if self._closing.is_set():
                raw.close()
                return
            context = self._contexts[min(len(self.connections), len(self._contexts) - 1)]
            connection = Connection()
            self.connections.append(connection)
            thread = threading.Thread(target=self._serve, args=(raw, context, connection), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, raw: socket.socket, context: ssl.SSLContext, connection: Connection) -> None:
        try:
            with raw:
                raw.settimeout(_STALLED_SECONDS)
                # The handshake comes after the socket is listed, so that leaving can cut a stalled one.
                with context.wrap_socket(raw, server_side=True, do_handshake_on_connect=False) as tls:
                    self._sockets.append(tls)
                    tls.do_handshake()
                    self._converse(tls, connection)
        except OSError as exc:
            # Clients that refuse us hang up in mid-sentence: that is what most tests are about.
            connection.error = f"{type(exc).__name__}: {exc}"
        finally:
            connection.ended.set()

    def _converse(self, tls: ssl.SSLSocket, connection: Connection) -> None:
        pending = bytearray()
        while True:
            while request := _take_request(pending):
                if not self._reply(tls, request):
                    return
            tls.settimeout(_QUIET_SECONDS)
            try:
                data = tls.recv(_READ_BYTES)
            except TimeoutError:
                if self._closing.is_set():
                    return
                continue
            if not data:
                return
            connection.received += data
            pending += data

    def _reply(self, tls: ssl.SSLSocket, target: str) -> bool:
        """Answer one request; return whether the connection goes on."""
        parts = urlsplit(target)
        steps: bytes | Iterable[Step] = self._response
        if parts.path == attestation_answer.PATH:
            steps = self._answer(_nonce(parts.query))
        tls.settimeout(_STALLED_SECONDS)
        for step in [steps] if isinstance(steps, bytes) else steps:
            if isinstance(step, HangUp):
                return False
            if isinstance(step, Pause):
                self._closing.wait(step.seconds)
            else:
                tls.sendall(step)
            if self._closing.is_set():
                break
        return True


def _context(identity: TlsIdentity, alpn: str | None, version: ssl.TLSVersion) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = context.maximum_version = version
    context.num_tickets = 0
    if alpn is not None:
        context.set_alpn_protocols([alpn])
    identity.load_into(context)
    return context


def _take_request(pending: bytearray) -> str | None:
    """Remove one whole request from `pending` and return its target, or None if there is none yet."""
    head, end, rest = bytes(pending).partition(b"\r\n\r\n")
    if not end:
        return None
    request_line, *lines = head.decode("latin-1").split("\r\n")
    headers = {
        name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
    }
    if headers.get("transfer-encoding", "").lower() == "chunked":
        _, found, rest = (b"\r\n" + rest).partition(b"\r\n0\r\n\r\n")
        if not found:
            return None
    else:
        declared = headers.get("content-length", "0")
        length = int(declared) if declared.isdigit() else 0
        if len(rest) < length:
            return None
        rest = rest[length:]
    pending[:] = rest
    return request_line.partition(" ")[2].partition(" ")[0]


def _nonce(query: str) -> bytes:
    """Return the nonce asked about, empty if there is none that can be read."""
    try:
        return base64url.decode(parse_qs(query).get("nonce", [""])[0])
    except ValueError:
        return b""
