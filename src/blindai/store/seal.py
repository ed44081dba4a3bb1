"""The format of a sealed file: a header, then chunks of AES-256-GCM, the last one marked as the last.

::

    magic 16 | kind 1 | key id 8 | salt 32 | size 8 | context 32 | mac 32 | chunk | chunk | ...

Each file has a key of its own, HKDF(key, salt), so the nonces can count the chunks; the last byte of the
last nonce is 1 (STREAM). `context` is a MAC of what the file is and how it is called, `mac` one of the
header: a file in the place of another, a cut and a changed one are told apart by name.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from blindai.errors import StoreError, StoreFault

MAGIC = b"blindai sealed 1"
KEY_BYTES = 32
SALT_BYTES = 32
CHUNK_BYTES = 1024 * 1024
TAG_BYTES = 16
_FIELDS = struct.Struct(">16s B 8s 32s Q 32s")
_MAC_BYTES = 32
HEADER_BYTES = _FIELDS.size + _MAC_BYTES

Buffer = bytes | bytearray | memoryview


class Kind(IntEnum):
    """What a sealed file is."""

    CATALOGUE = 1
    MODEL = 2


@dataclass(frozen=True)
class Place:
    """What a file is and how it is called; sealed in, so that it opens in no other place."""

    kind: Kind
    name: str


@dataclass(frozen=True)
class Key:
    """A key that files are sealed under. Its id, which files carry in clear, follows from the secret."""

    secret: bytes = field(repr=False)

    @property
    def id(self) -> bytes:
        return hmac.digest(self.secret, b"blindai-store-key-id-v1", "sha256")[:8]


class Source(Protocol):
    """Where sealed bytes come from."""

    @property
    def size(self) -> int: ...

    def read_at(self, buffer: memoryview, offset: int) -> int: ...


class Sealer:
    """Seals a stream whose length shows at its end; the sealed bytes go to `write_at(data, offset)`."""

    def __init__(self, key: Key, place: Place, salt: bytes, write_at: Callable[[Buffer, int], None]) -> None:
        self._key, self._place, self._salt = key, place, salt
        self._keys = _FileKeys(key, salt)
        self._write_at = write_at
        self._offset = HEADER_BYTES
        self._index = self._size = 0
        self._waiting = bytearray()  # at most a chunk, until it is known whether it is the last
        self._sealed = bytearray()

    def write(self, data: Buffer) -> None:
        view = memoryview(data).cast("B")
        self._size += len(view)
        while view:
            if len(self._waiting) == CHUNK_BYTES:
                self._chunk(self._waiting, last=False)
                self._waiting.clear()
            if not self._waiting and len(view) > CHUNK_BYTES:
                taken = CHUNK_BYTES
                self._chunk(view[:taken], last=False)
            else:
                taken = min(CHUNK_BYTES - len(self._waiting), len(view))
                self._waiting += view[:taken]
            view = view[taken:]

    def finish(self) -> None:
        """Seal what waits as the last chunk, and write the header, which makes the file one of ours."""
        self._chunk(self._waiting, last=True)
        context = self._keys.context(self._place)
        fields = _FIELDS.pack(MAGIC, self._place.kind, self._key.id, self._salt, self._size, context)
        self._write_at(fields + self._keys.mac(fields), 0)
        self._waiting, self._sealed = bytearray(), bytearray()

    def _chunk(self, plain: Buffer, *, last: bool) -> None:
        size = len(plain) + TAG_BYTES
        if len(self._sealed) < size:
            self._sealed = bytearray(size)
        with memoryview(self._sealed)[:size] as sealed:
            self._keys.cipher.encrypt_into(_nonce(self._index, last), plain, None, sealed)
            self._write_at(sealed, self._offset)
        self._offset += size
        self._index += 1


class Opener:
    """Opens a sealed file. The constructor checks its header and its size; StoreError names what is wrong."""

    def __init__(self, source: Source, keys: Iterable[Key], place: Place, *, unknown: StoreFault) -> None:
        """`unknown` is the fault of a file that none of `keys` sealed."""
        self._source, self._place = source, place
        raw = bytearray(HEADER_BYTES)
        count = source.read_at(memoryview(raw), 0)
        if not MAGIC.startswith(raw[: min(count, len(MAGIC))]):
            raise self._fault(StoreFault.MALFORMED, "is not a sealed file")
        if count < HEADER_BYTES:
            raise self._fault(StoreFault.TRUNCATED, "ends in its header")
        fields, mac = bytes(raw[: _FIELDS.size]), bytes(raw[_FIELDS.size :])
        _, kind, key_id, salt, size_bytes, context = _FIELDS.unpack(fields)
        self.size_bytes: int = size_bytes
        key = next((key for key in keys if key.id == key_id), None)
        if key is None and kind != place.kind:
            raise self._swapped()
        if key is None:
            raise self._fault(unknown, "was sealed under a key that is not this store's")
        self.key = key
        self._keys = _FileKeys(key, salt)
        if not hmac.compare_digest(self._keys.mac(fields), mac):
            raise self._fault(StoreFault.DAMAGED, "has a header that was changed")
        if not hmac.compare_digest(self._keys.context(place), context):
            raise self._swapped()
        self._check_size()
        self._chunks = chunk_count(self.size_bytes)
        self._index = 0
        self._sealed = bytearray()  # made when the first chunk is read
        self._plain = memoryview(b"")  # the opened part of a chunk that did not fit the reader's buffer

    def readinto(self, buffer: memoryview) -> int:
        """Fill `buffer`, or as much of it as there is; 0 at the end. Nothing unproven is handed out."""
        view = memoryview(buffer).cast("B")
        filled = 0
        while filled < len(view):
            if self._plain:
                taken = min(len(self._plain), len(view) - filled)
                view[filled : filled + taken] = self._plain[:taken]
                self._plain = self._plain[taken:]
                filled += taken
            elif self._index == self._chunks:
                break
            else:
                filled += self._next_chunk(view[filled:])
        return filled

    def _next_chunk(self, room: memoryview) -> int:
        """Open the next chunk into `room`, or aside if it does not fit. Returns how much went to `room`."""
        size = min(CHUNK_BYTES, self.size_bytes - self._index * CHUNK_BYTES)
        fits = size <= len(room)
        plain = room[:size] if fits else memoryview(bytearray(size))
        self._open_chunk(plain)
        self._index += 1
        if fits:
            return size
        self._plain = plain
        return 0

    def _open_chunk(self, plain: memoryview) -> None:
        if not self._sealed:
            self._sealed = bytearray(CHUNK_BYTES + TAG_BYTES)
        sealed = memoryview(self._sealed)[: len(plain) + TAG_BYTES]
        offset = HEADER_BYTES + self._index * (CHUNK_BYTES + TAG_BYTES)
        if self._source.read_at(sealed, offset) < len(sealed):
            raise self._fault(StoreFault.TRUNCATED, "became shorter while it was read")
        nonce = _nonce(self._index, self._index == self._chunks - 1)
        try:
            self._keys.cipher.decrypt_into(nonce, sealed, None, plain)
        except InvalidTag:
            raise self._chunk_fault(sealed) from None

    def _chunk_fault(self, sealed: memoryview) -> StoreError:
        """Say whether a chunk that does not open here is one of another place in this file."""
        for index in range(self._chunks):
            try:
                self._keys.cipher.decrypt(_nonce(index, index == self._chunks - 1), sealed, None)
            except InvalidTag:
                continue
            return self._fault(StoreFault.REORDERED, f"has chunk {index} in the place of chunk {self._index}")
        return self._fault(StoreFault.DAMAGED, f"has a chunk that was changed ({self._index})")

    def _check_size(self) -> None:
        expected, size = sealed_size(self.size_bytes), self._source.size
        if size < expected:
            raise self._fault(StoreFault.TRUNCATED, f"has {size} of its {expected} bytes")
        if size > expected:
            raise self._fault(StoreFault.DAMAGED, f"has {size - expected} bytes after its end")

    def _swapped(self) -> StoreError:
        return self._fault(StoreFault.SWAPPED, "is another file of this store, in the wrong place")

    def _fault(self, fault: StoreFault, what: str) -> StoreError:
        return StoreError(fault, f"{self._place.name} {what}")


def sealed_size(size_bytes: int) -> int:
    """Return how long a file of `size_bytes` is when sealed."""
    return HEADER_BYTES + size_bytes + TAG_BYTES * chunk_count(size_bytes)


def chunk_count(size_bytes: int) -> int:
    return max(1, -(-size_bytes // CHUNK_BYTES))  # an empty file has one empty chunk, marked as the last


class _FileKeys:
    """The keys of one file."""

    def __init__(self, key: Key, salt: bytes) -> None:
        derived = HKDF(SHA256(), 2 * KEY_BYTES, salt=salt, info=b"blindai-store-file-v1").derive(key.secret)
        self.cipher = AESGCM(derived[:KEY_BYTES])
        self._mac_key = derived[KEY_BYTES:]

    def context(self, place: Place) -> bytes:
        name = place.name.encode()
        return self._digest(b"context", struct.pack(">BQ", place.kind, len(name)) + name)

    def mac(self, fields: bytes) -> bytes:
        return self._digest(b"header", fields)

    def _digest(self, label: bytes, data: bytes) -> bytes:
        return hmac.new(self._mac_key, label + b"\0" + data, hashlib.sha256).digest()


def _nonce(index: int, last: bool) -> bytes:
    return index.to_bytes(11, "big") + (b"\1" if last else b"\0")
