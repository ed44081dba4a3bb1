"""A TPM 2.0 in memory, as far as sealed keys go: it parses every command and checks every policy itself.

Its answers are those of a real one byte for byte in layout; its "encryption" is a hash with its own secret.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import struct
from collections.abc import Callable
from dataclasses import dataclass, field

from blindai.testing.tpm_bytes import (
    SHA256,
    Command,
    Refused,
    authorization,
    framed,
    object_name,
    selected,
    selection,
    sized,
    terms,
)

_NO_SESSIONS, _SESSIONS = 0x8001, 0x8002
_OWNER, _NULL, _PASSWORD = 0x40000001, 0x40000007, 0x40000009

# Response codes of part 2 of the specification, without handle and parameter numbers.
_BAD_TAG, _COMMAND_SIZE, _COMMAND_CODE = 0x01E, 0x142, 0x143
_VALUE, _HANDLE, _SIZE, _POLICY_FAIL, _INTEGRITY, _TICKET = 0x84, 0x8B, 0x95, 0x9D, 0x9F, 0xA0
_AUTH_MISSING, _AUTH_UNAVAILABLE, _PCR_CHANGED = 0x125, 0x12F, 0x128


@dataclass
class _Object:
    public: bytes
    secret: bytes
    name: bytes


@dataclass
class _Session:
    policy: bytes = bytes(32)
    update_counter: int | None = None


@dataclass
class FakeTpm:
    """One TPM: `seed` is what makes it different from every other."""

    seed: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    pcrs: list[bytes] = field(default_factory=lambda: [bytes(32)] * 24)
    commands: list[int] = field(default_factory=list)  # the codes of all commands so far

    def __post_init__(self) -> None:
        self._objects: dict[int, _Object] = {}
        self._sessions: dict[int, _Session] = {}
        self._next = 0
        self._update_counter = 0

    def boot(self, **software: bytes) -> None:
        """Start the machine again: handles are gone, and PCRs hold what `pcr4=b"..."` and so on measured."""
        self._objects.clear()
        self._sessions.clear()
        self.pcrs = [bytes(32)] * 24
        for name, measured in software.items():
            self.extend(int(name.removeprefix("pcr")), measured)

    def extend(self, pcr: int, measured: bytes) -> None:
        self.pcrs[pcr] = hashlib.sha256(self.pcrs[pcr] + hashlib.sha256(measured).digest()).digest()
        self._update_counter += 1

    @property
    def open_handles(self) -> int:
        return len(self._objects) + len(self._sessions)

    def exchange(self, command: bytes) -> bytes:
        """Return the answer to one command."""
        try:
            return self._answer(command)
        except Refused as exc:
            return struct.pack(">HII", _NO_SESSIONS, 10, exc.code)

    def _answer(self, command: bytes) -> bytes:
        reader = Command(command)
        tag, size, code = reader.number(2), reader.number(4), reader.number(4)
        if size != len(command):
            raise Refused(_COMMAND_SIZE)
        self.commands.append(code)
        if code not in _COMMANDS:
            raise Refused(_COMMAND_CODE)
        handles, needs_auth, run = _COMMANDS[code]
        if tag != (_SESSIONS if needs_auth else _NO_SESSIONS):
            raise Refused(_BAD_TAG)
        given = [reader.number(4) for _ in range(handles)]
        session = authorization(reader) if needs_auth else 0
        handle, parameters = run(self, given, session, reader)
        if not needs_auth:
            return framed(tag, handle + parameters)
        return framed(tag, handle + struct.pack(">I", len(parameters)) + parameters + b"\0\0\1\0\0")

    def _create_primary(self, given: list[int], session: int, reader: Command) -> tuple[bytes, bytes]:
        if given != [_OWNER] or session != _PASSWORD:
            raise Refused(_AUTH_MISSING)
        reader.sized()
        template = reader.sized()
        reader.sized()
        selection(reader)
        reader.finish()
        made = _Object(template, hmac.digest(self.seed, b"primary" + template, "sha256"), b"")
        outputs = sized(template) + sized(b"") + sized(bytes(32)) + self._ticket(b"", b"") + sized(b"")
        return self._keep(made), outputs

    def _create(self, given: list[int], session: int, reader: Command) -> tuple[bytes, bytes]:
        parent = self._object(given[0])
        if session != _PASSWORD:
            raise Refused(_AUTH_MISSING)
        sensitive = Command(reader.sized())
        auth, secret = sensitive.sized(), sensitive.sized()
        template = reader.sized()
        outside = reader.sized()
        pcrs = selection(reader)
        reader.finish()
        unique = hashlib.sha256(parent.secret + auth + secret).digest()
        public = template[:-2] + sized(unique)
        creation = b"".join(
            (
                selected(pcrs),
                sized(self._pcr_digest(pcrs)),
                b"\1",
                struct.pack(">H", SHA256),
                sized(object_name(parent.public)),
                sized(object_name(parent.public)),
                sized(outside),
            )
        )
        hashed = hashlib.sha256(creation).digest()
        ticket = self._ticket(object_name(public), hashed)
        return b"", b"".join(
            [
                sized(_wrap(parent.secret, public, secret)),
                sized(public),
                sized(creation),
                sized(hashed),
                ticket,
            ]
        )

    def _load(self, given: list[int], session: int, reader: Command) -> tuple[bytes, bytes]:
        parent = self._object(given[0])
        if session != _PASSWORD:
            raise Refused(_AUTH_MISSING)
        private, public = reader.sized(), reader.sized()
        reader.finish()
        secret = _unwrap(parent.secret, public, private)
        name = object_name(public)
        return self._keep(_Object(public, secret, name)), sized(name)

    def _start_session(self, given: list[int], _session: int, reader: Command) -> tuple[bytes, bytes]:
        nonce, salt = reader.sized(), reader.sized()
        kind, symmetric, digest = reader.number(1), reader.number(2), reader.number(2)
        reader.finish()
        if (
            given != [_NULL, _NULL]
            or len(nonce) < 16
            or salt
            or (kind, symmetric, digest) != (1, 0x10, SHA256)
        ):
            raise Refused(_VALUE)
        self._next += 1
        self._sessions[0x03000000 | self._next] = _Session()
        return struct.pack(">I", 0x03000000 | self._next), sized(secrets.token_bytes(16))

    def _policy_pcr(self, given: list[int], _session: int, reader: Command) -> tuple[bytes, bytes]:
        session = self._sessions.get(given[0])
        if session is None:
            raise Refused(_HANDLE)
        expected, pcrs = reader.sized(), selection(reader)
        reader.finish()
        now = self._pcr_digest(pcrs)
        if expected and expected != now:
            raise Refused(_VALUE)
        if session.update_counter not in (None, self._update_counter):
            raise Refused(_PCR_CHANGED)
        session.update_counter = self._update_counter
        session.policy = hashlib.sha256(
            session.policy + struct.pack(">I", 0x17F) + selected(pcrs) + now
        ).digest()
        return b"", b""

    def _unseal(self, given: list[int], session_handle: int, reader: Command) -> tuple[bytes, bytes]:
        item = self._object(given[0])
        reader.finish()
        attributes, policy = terms(item.public)
        if session_handle == _PASSWORD:
            if not attributes >> 6 & 1:  # userWithAuth
                raise Refused(_AUTH_UNAVAILABLE)
            return b"", sized(item.secret)
        session = self._sessions.get(session_handle)
        if session is None:
            raise Refused(_HANDLE)
        if session.update_counter != self._update_counter:
            raise Refused(_PCR_CHANGED)
        if session.policy != policy:
            raise Refused(_POLICY_FAIL | 0x900)  # of session 1
        del self._sessions[session_handle]
        return b"", sized(item.secret)

    def _certify_creation(self, given: list[int], session: int, reader: Command) -> tuple[bytes, bytes]:
        item = self._object(given[1])
        if given[0] != _NULL or session != _PASSWORD:
            raise Refused(_AUTH_MISSING)
        qualifying, hashed, scheme = reader.sized(), reader.sized(), reader.number(2)
        ticket = reader.take(6) + sized(reader.sized())
        reader.finish()
        if scheme != 0x10:
            raise Refused(_VALUE)
        if not hmac.compare_digest(ticket, self._ticket(item.name, hashed)):
            raise Refused(_TICKET | 0x440)  # of parameter 4
        attested = b"\xffTCG\x80\x1a" + sized(b"") + sized(qualifying) + bytes(25) + sized(item.name)
        return b"", sized(attested + sized(hashed)) + struct.pack(">H", 0x10)

    def _pcr_read(self, _given: list[int], _session: int, reader: Command) -> tuple[bytes, bytes]:
        pcrs = selection(reader)[:8]  # a real one returns no more at a time
        reader.finish()
        digests = b"".join(sized(self.pcrs[pcr]) for pcr in pcrs)
        head = struct.pack(">I", self._update_counter) + selected(pcrs)
        return b"", head + struct.pack(">I", len(pcrs)) + digests

    def _flush(self, _given: list[int], _session: int, reader: Command) -> tuple[bytes, bytes]:
        handle = reader.number(4)
        reader.finish()
        if self._objects.pop(handle, None) is None and self._sessions.pop(handle, None) is None:
            raise Refused(_HANDLE)
        return b"", b""

    def _object(self, handle: int) -> _Object:
        if handle not in self._objects:
            raise Refused(_HANDLE)
        return self._objects[handle]

    def _keep(self, made: _Object) -> bytes:
        self._next += 1
        self._objects[0x80000000 | self._next] = made
        return struct.pack(">I", 0x80000000 | self._next)

    def _pcr_digest(self, pcrs: list[int]) -> bytes:
        return hashlib.sha256(b"".join(self.pcrs[pcr] for pcr in pcrs)).digest()

    def _ticket(self, name: bytes, hashed: bytes) -> bytes:
        proof = hmac.digest(self.seed, b"ticket" + sized(name) + hashed, "sha256")
        return struct.pack(">HI", 0x8021, _OWNER) + sized(proof)


_Run = Callable[[FakeTpm, list[int], int, Command], tuple[bytes, bytes]]
# code: how many handles, whether it takes an authorization, what runs it
_COMMANDS: dict[int, tuple[int, bool, _Run]] = {
    0x131: (1, True, FakeTpm._create_primary),  # noqa: SLF001
    0x14A: (2, True, FakeTpm._certify_creation),  # noqa: SLF001
    0x153: (1, True, FakeTpm._create),  # noqa: SLF001
    0x157: (1, True, FakeTpm._load),  # noqa: SLF001
    0x15E: (1, True, FakeTpm._unseal),  # noqa: SLF001
    0x165: (0, False, FakeTpm._flush),  # noqa: SLF001
    0x176: (2, False, FakeTpm._start_session),  # noqa: SLF001
    0x17E: (0, False, FakeTpm._pcr_read),  # noqa: SLF001
    0x17F: (1, False, FakeTpm._policy_pcr),  # noqa: SLF001
}


def _wrap(secret: bytes, public: bytes, data: bytes) -> bytes:
    pad = hashlib.shake_256(secret + object_name(public)).digest(len(data))
    hidden = bytes(a ^ b for a, b in zip(data, pad, strict=True))
    return hmac.digest(secret, object_name(public) + hidden, "sha256") + hidden


def _unwrap(secret: bytes, public: bytes, private: bytes) -> bytes:
    proof, hidden = private[:32], private[32:]
    if not hmac.compare_digest(proof, hmac.digest(secret, object_name(public) + hidden, "sha256")):
        raise Refused(_INTEGRITY | 0x140)  # of parameter 1
    return _wrap(secret, public, hidden)[32:]
