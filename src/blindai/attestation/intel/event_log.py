"""The measured-boot event log of a trust domain (ACPI CCEL, TCG crypto-agile format), and its replay.

    TCG_PCR_EVENT            u32 index | u32 3 | 20 bytes | u32 size | "Spec ID Event03", algorithms
    TCG_PCR_EVENT2, many     u32 index | u32 type | u32 count | (u16 algorithm, digest)* | u32 size | event

Index 1 to 4 is RTMR 0 to 3. The log is the host's and the guest's word; what it lists counts only if
extending the digests one by one gives the very RTMRs that the hardware signed. The event *data* are not
hashed here: a digest is what is known, its description is not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from blindai.attestation.intel.reader import Reader
from blindai.errors import EvidenceForged, EvidenceMalformed, Reason

SHA384 = 0x000C
DIGEST_BYTES = 48
EV_NO_ACTION = 3
SPEC_ID = b"Spec ID Event03\0"
REGISTERS = ("rtmr0", "rtmr1", "rtmr2", "rtmr3")
MAX_EVENTS = 4096


@dataclass(frozen=True)
class Event:
    """One measurement: the register it went into, and the SHA-384 digest that extended it."""

    register: str
    digest: bytes


def parse(raw: bytes) -> tuple[Event, ...]:
    """Read the log, or raise EvidenceMalformed. Only SHA-384 logs: RTMRs know no other digest."""
    reader = Reader(raw, _malformed)
    _specification(reader)
    events: list[Event | None] = []
    while not _ended(raw, reader.offset):
        events.append(_event(reader))
        if len(events) > MAX_EVENTS:
            raise _malformed(f"it has more than {MAX_EVENTS} events")
    return tuple(event for event in events if event is not None)


def replay(events: Sequence[Event]) -> Mapping[str, bytes]:
    """Return the RTMRs that measuring these events gives."""
    registers = dict.fromkeys(REGISTERS, bytes(DIGEST_BYTES))
    for event in events:
        registers[event.register] = hashlib.sha384(registers[event.register] + event.digest).digest()
    return registers


def measured(raw: bytes, signed: Mapping[str, bytes]) -> Mapping[str, frozenset[bytes]]:
    """Return what was measured into each RTMR, or raise unless the log replays to the `signed` values."""
    events = parse(raw)
    replayed = replay(events)
    wrong = [register for register in REGISTERS if replayed[register] != signed[register]]
    if wrong:
        raise EvidenceForged(
            Reason.EVENT_LOG_MISMATCH,
            f"the event log does not replay to the signed {', '.join(wrong)}: it tells of another boot",
        )
    return {
        register: frozenset(event.digest for event in events if event.register == register)
        for register in REGISTERS
    }


def _specification(reader: Reader) -> None:
    """Read the first event, which says that there is one digest of SHA-384 in each that follows."""
    reader.u32()
    if reader.u32() != EV_NO_ACTION:
        raise _malformed("it does not begin with its specification")
    reader.take(20)
    spec = Reader(reader.take(reader.u32()), _malformed)
    if spec.take(16) != SPEC_ID:
        raise _malformed("it is not in the crypto-agile format")
    spec.take(8)  # platform class, versions, size of a UINTN
    algorithms = [(spec.u16(), spec.u16()) for _ in range(spec.u32())]
    if algorithms != [(SHA384, DIGEST_BYTES)]:
        raise _malformed("its digests are not SHA-384 alone")


def _ended(raw: bytes, offset: int) -> bool:
    """Whether the events end here; what follows is padding, or the log is malformed.

    Firmware fills the rest of the table's area with 0xFF, some with zeros; no event begins like either.
    """
    head = raw[offset : offset + 12]
    if head.strip(b"\0") and head[:4].strip(b"\xff"):
        return False
    rest = raw[offset:]
    if rest.strip(b"\xff") and rest.strip(b"\0"):
        raise _malformed("something follows its end")
    return True


def _event(reader: Reader) -> Event | None:
    index, kind, count = reader.u32(), reader.u32(), reader.u32()
    if count != 1 or reader.u16() != SHA384:
        raise _malformed("an event has not exactly one SHA-384 digest")
    digest = reader.take(DIGEST_BYTES)
    reader.take(reader.u32())
    if kind == EV_NO_ACTION:  # a remark: it extends nothing
        return None
    if not 1 <= index <= len(REGISTERS):
        raise _malformed("an event names no RTMR")
    return Event(REGISTERS[index - 1], digest)


def _malformed(what: str) -> EvidenceMalformed:
    return EvidenceMalformed(Reason.EVENT_LOG_MALFORMED, f"the event log is malformed: {what}")
