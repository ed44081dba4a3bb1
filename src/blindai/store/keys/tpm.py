"""The nine TPM 2.0 commands that a sealed key takes, and strict readers of their answers.

Numbers and layouts are those of the TPM 2.0 Library, parts 2 (structures) and 3 (commands). An answer that is
short, long, or not what its command returns is an error of ours and never an exception from below.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from blindai.errors import StoreError, StoreFault
from blindai.store.keys.tpm_bytes import Reader, sized, u8, u16, u32

Exchange = Callable[[bytes], bytes]

NO_SESSIONS, SESSIONS = 0x8001, 0x8002
CREATE_PRIMARY, CERTIFY_CREATION, CREATE, LOAD = 0x131, 0x14A, 0x153, 0x157
UNSEAL, FLUSH_CONTEXT, START_AUTH_SESSION, PCR_READ, POLICY_PCR = 0x15E, 0x165, 0x176, 0x17E, 0x17F
OWNER, NULL_HANDLE, PASSWORD = 0x40000001, 0x40000007, 0x40000009
SHA256, NULL_ALGORITHM, KEYEDHASH = 0x000B, 0x0010, 0x0008
POLICY_SESSION = 0x01
CREATION_TICKET = 0x8021
DIGEST_BYTES = 32
_MAX_PRIVATE_BYTES = 1024
_PCR_BITMAP_BYTES = 3

# An object that leaves its TPM and parent never, that no dictionary attack counter locks (its policy is no
# password), and whose every use takes the policy: the password role (bit 6) is off.
_SEALED_ATTRIBUTES = 1 << 1 | 1 << 4 | 1 << 7 | 1 << 10
# The TCG's template for a storage key on P-256: restricted, decrypting, AES-128-CFB inside. The TPM makes the
# same key from it each time, so it has to be kept nowhere.
_STORAGE_ATTRIBUTES = 1 << 1 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 10 | 1 << 16 | 1 << 17
STORAGE_KEY = (
    u16(0x0023) + u16(SHA256) + u32(_STORAGE_ATTRIBUTES) + sized(b"")
    + u16(0x0006) + u16(128) + u16(0x0043)  # symmetric: AES, 128 bits, CFB
    + u16(NULL_ALGORITHM) + u16(0x0003) + u16(NULL_ALGORITHM)  # scheme, curve P-256, KDF
    + sized(b"") + sized(b"")  # unique: x, y
)  # fmt: skip


class TpmRefusal(Exception):
    """The TPM answered with an error. `code` has its handle, parameter and session numbers taken out."""

    POLICY_FAIL, INTEGRITY, TICKET = 0x9D, 0x9F, 0xA0

    def __init__(self, code: int) -> None:
        super().__init__(f"TPM error {code:#x}")
        self.code = code & 0xBF if code & 0x80 else code


@dataclass(frozen=True)
class Sealed:
    """A sealed object as it lies outside the TPM, and the TPM's word for how it came to be."""

    public: bytes
    private: bytes
    creation: bytes
    ticket: bytes


class Tpm:
    """A TPM behind a function that takes one command and returns its answer."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def pcr_values(self, pcrs: Sequence[int]) -> Mapping[int, bytes]:
        """Return the SHA-256 values of these PCRs. A TPM returns a few at a time."""
        values: dict[int, bytes] = {}
        while missing := [pcr for pcr in pcrs if pcr not in values]:
            answer = self._plain(PCR_READ, pcr_selection(missing))
            answer.take(4)  # the update counter
            read = _selected(answer)
            digests = [answer.sized(DIGEST_BYTES) for _ in range(answer.u32())]
            answer.finish()
            if not read or len(read) != len(digests) or not set(read) <= set(missing):
                raise answer.error("does not hold the SHA-256 values of the PCRs that were asked for")
            if any(len(digest) != DIGEST_BYTES for digest in digests):
                raise answer.error("has a PCR that is not 32 bytes long")
            values.update(zip(read, digests, strict=True))
        return values

    def storage_key(self) -> int:
        """Make the storage key of the owner's hierarchy; return its handle."""
        parameters = sized(sized(b"") + sized(b"")) + sized(STORAGE_KEY) + sized(b"") + u32(0)
        return self._authorized(CREATE_PRIMARY, u32(OWNER), parameters, returns_handle=True)[0]

    def create(self, parent: int, public: bytes, secret: bytes, pcrs: Sequence[int]) -> Sealed:
        """Seal `secret` under `parent`; the TPM notes the PCRs of this moment in the creation data."""
        parameters = sized(sized(b"") + sized(secret)) + sized(public) + sized(b"") + pcr_selection(pcrs)
        _, answer = self._authorized(CREATE, u32(parent), parameters)
        private, made, creation = (answer.sized(_MAX_PRIVATE_BYTES) for _ in range(3))
        creation_hash = answer.sized(DIGEST_BYTES)
        sealed = Sealed(made, private, creation, read_ticket(answer))
        answer.finish()
        if creation_hash != hashlib.sha256(creation).digest():
            raise answer.error("has creation data of another hash than the one that came with them")
        return sealed

    def load(self, parent: int, sealed: Sealed) -> int:
        parameters = sized(sealed.private) + sized(sealed.public)
        return self._authorized(LOAD, u32(parent), parameters, returns_handle=True)[0]

    def policy_session(self, pcrs: Sequence[int]) -> int:
        """Return a session that satisfies "these PCRs are as they are now"."""
        answer = self._plain(
            START_AUTH_SESSION,
            u32(NULL_HANDLE) + u32(NULL_HANDLE) + sized(secrets.token_bytes(16)) + sized(b"")
            + u8(POLICY_SESSION) + u16(NULL_ALGORITHM) + u16(SHA256),
        )  # fmt: skip
        session = answer.u32()
        answer.sized(DIGEST_BYTES)
        answer.finish()
        try:
            self._plain(POLICY_PCR, u32(session) + sized(b"") + pcr_selection(pcrs)).finish()
        except BaseException:
            self.flush(session)
            raise
        return session

    def unseal(self, item: int, session: int) -> bytes:
        """Return what was sealed. The session is used up if this succeeds."""
        _, answer = self._authorized(UNSEAL, u32(item), session=session)
        secret = answer.sized(DIGEST_BYTES)
        answer.finish()
        return secret

    def certify_creation(self, item: int, sealed: Sealed) -> None:
        """Have the TPM check its own ticket; TpmRefusal if the creation data are not those of `item`."""
        parameters = (
            sized(b"") + sized(hashlib.sha256(sealed.creation).digest()) + u16(NULL_ALGORITHM) + sealed.ticket
        )
        handles = u32(NULL_HANDLE) + u32(item)  # no key signs: only whether the TPM agrees counts
        _, answer = self._authorized(CERTIFY_CREATION, handles, parameters)
        answer.sized(_MAX_PRIVATE_BYTES)
        if answer.u16() != NULL_ALGORITHM:
            raise answer.error("has a signature where nothing was to be signed")
        answer.finish()

    def flush(self, handle: int) -> None:
        """Free a handle. Best effort: the kernel's resource manager frees what is left at close."""
        try:
            self._plain(FLUSH_CONTEXT, u32(handle))
        except (TpmRefusal, StoreError):
            return

    def _authorized(
        self,
        command: int,
        handles: bytes,
        parameters: bytes = b"",
        *,
        session: int = PASSWORD,  # the empty one
        returns_handle: bool = False,
    ) -> tuple[int, Reader]:
        """Send a command that needs an authorization; return the handle, if any, and its parameters."""
        authorization = u32(session) + sized(b"") + u8(0) + sized(b"")
        body = handles + u32(len(authorization)) + authorization + parameters
        answer = self._send(SESSIONS, command, body)
        handle = answer.u32() if returns_handle else 0
        inner = Reader(answer.take(answer.u32()))
        answer.sized(64)  # the session's nonce
        answer.take(1)  # its attributes
        answer.sized(64)  # its HMAC: no session of ours has a key
        answer.finish()
        return handle, inner

    def _plain(self, command: int, body: bytes) -> Reader:
        return self._send(NO_SESSIONS, command, body)

    def _send(self, tag: int, command: int, body: bytes) -> Reader:
        try:
            answer = self._exchange(u16(tag) + u32(10 + len(body)) + u32(command) + body)
        except OSError as exc:
            raise StoreError(StoreFault.UNAVAILABLE, f"the TPM does not answer: {exc.strerror}") from exc
        reader = Reader(answer)
        answer_tag, size, code = reader.u16(), reader.u32(), reader.u32()
        if size != len(answer) or answer_tag not in (NO_SESSIONS, SESSIONS):
            raise reader.error("has a wrong length or tag")
        if code:
            raise TpmRefusal(code)
        if answer_tag != tag:
            raise reader.error("has the tag of another command's")
        return reader


def sealed_public(policy: bytes) -> bytes:
    """Return the template of an object that holds bytes and opens under `policy` alone."""
    return (
        u16(KEYEDHASH)
        + u16(SHA256)
        + u32(_SEALED_ATTRIBUTES)
        + sized(policy)
        + u16(NULL_ALGORITHM)
        + sized(b"")
    )


def pcr_digest(values: Mapping[int, bytes]) -> bytes:
    return hashlib.sha256(b"".join(values[pcr] for pcr in sorted(values))).digest()


def pcr_policy(values: Mapping[int, bytes]) -> bytes:
    """Return the policy digest of a session after PolicyPCR with these values."""
    step = u32(POLICY_PCR) + pcr_selection(sorted(values)) + pcr_digest(values)
    return hashlib.sha256(bytes(DIGEST_BYTES) + step).digest()


def pcr_selection(pcrs: Sequence[int]) -> bytes:
    bits = sum(1 << pcr for pcr in pcrs)
    return u32(1) + u16(SHA256) + u8(_PCR_BITMAP_BYTES) + bits.to_bytes(_PCR_BITMAP_BYTES, "little")


def _selected(answer: Reader) -> list[int]:
    if answer.u32() != 1 or answer.u16() != SHA256 or answer.take(1) != u8(_PCR_BITMAP_BYTES):
        raise answer.error("has no SHA-256 bank of PCRs")
    bits = int.from_bytes(answer.take(_PCR_BITMAP_BYTES), "little")
    return [pcr for pcr in range(_PCR_BITMAP_BYTES * 8) if bits >> pcr & 1]


def read_ticket(reader: Reader) -> bytes:
    """Return a creation ticket as it is."""
    tag, hierarchy, digest = reader.u16(), reader.u32(), reader.sized(64)
    if tag != CREATION_TICKET:
        raise reader.error("has a ticket that is not one of a creation")
    return u16(tag) + u32(hierarchy) + sized(digest)
