"""What a fake TPM reads and writes: commands, answers, selections of PCRs, names."""

from __future__ import annotations

import hashlib
import struct

SHA256 = 0x000B
_SIZE, _VALUE = 0x95, 0x84


class Refused(Exception):
    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Command:
    """Takes what the command says off its front."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def take(self, size: int) -> bytes:
        taken, self._data = self._data[:size], self._data[size:]
        if len(taken) != size:
            raise Refused(_SIZE)
        return taken

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def sized(self) -> bytes:
        return self.take(self.number(2))

    def finish(self) -> None:
        if self._data:
            raise Refused(_SIZE)


def authorization(reader: Command) -> int:
    """Read one session of an authorization area: nothing but its handle may be in it."""
    area = Command(reader.take(reader.number(4)))
    session, nonce, attributes, proof = area.number(4), area.sized(), area.number(1), area.sized()
    area.finish()
    if nonce or proof or attributes & ~1:
        raise Refused(_VALUE)
    return session


def framed(tag: int, body: bytes) -> bytes:
    return struct.pack(">HII", tag, 10 + len(body), 0) + body


def sized(data: bytes) -> bytes:
    return struct.pack(">H", len(data)) + data


def object_name(public: bytes) -> bytes:
    return struct.pack(">H", SHA256) + hashlib.sha256(public).digest()


def selected(pcrs: list[int]) -> bytes:
    bits = sum(1 << pcr for pcr in pcrs)
    return struct.pack(">IHB", 1, SHA256, 3) + bits.to_bytes(3, "little")


def selection(reader: Command) -> list[int]:
    banks = [(reader.number(2), reader.take(reader.number(1))) for _ in range(reader.number(4))]
    if any(algorithm != SHA256 or len(bitmap) != 3 for algorithm, bitmap in banks):
        raise Refused(_VALUE)
    bits = int.from_bytes(banks[0][1], "little") if banks else 0
    return [pcr for pcr in range(24) if bits >> pcr & 1]


def terms(public: bytes) -> tuple[int, bytes]:
    """Return attributes and policy of a sealed object."""
    reader = Command(public)
    reader.take(4)
    return reader.number(4), reader.sized()
