"""The event log of a fake TDX machine (CCEL): what a guest's boot recorded, and the RTMRs that it replays to.

TCG crypto-agile format (TCG PC Client Platform Firmware Profile, 10.2), little-endian:

first event = u32 register | u32 EV_NO_ACTION | 20 zero bytes | u32 size | Spec ID structure
other event = u32 register | u32 type | u32 count, (u16 algorithm, digest)* | u32 size | data

Registers are numbered as ACPI's CCEL numbers them: 0 is MRTD, which nothing extends, n + 1 is RTMRn.
"""

from __future__ import annotations

import dataclasses
import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from blindai.tee.measurement import Measurements

SHA256 = 0x000B
SHA384 = 0x000C
EV_NO_ACTION = 3
EV_IPL = 0x0D
_SHA384_BYTES = 48
_RTMRS = 4
_UNUSED = b"\xff"


@dataclass(frozen=True)
class Event:
    """One entry, in the log's own terms: `register` is RTMR number plus one, `digests` go by algorithm."""

    register: int
    event_type: int
    digests: Sequence[tuple[int, bytes]]
    data: bytes

    def encode(self) -> bytes:
        digests = b"".join(struct.pack("<H", algorithm) + digest for algorithm, digest in self.digests)
        head = struct.pack("<III", self.register, self.event_type, len(self.digests))
        return head + digests + struct.pack("<I", len(self.data)) + self.data


class EventLog:
    """A log under construction; `add` and `append` return the log itself.

    >>> log = EventLog().add(1, b"kernel image").add(2, b"command line")
    >>> log.rtmr(3) == bytes(48)
    True

    `algorithms` are those that the first event declares, each with the size of its digests.
    """

    def __init__(self, algorithms: Sequence[tuple[int, int]] = ((SHA384, _SHA384_BYTES),)) -> None:
        self.algorithms = tuple(algorithms)
        self.events: list[Event] = []

    def add(
        self, rtmr: int, data: bytes, *, event_type: int = EV_IPL, digest: bytes | None = None
    ) -> EventLog:
        """Log an event of RTMR0 to RTMR3. The digest is that of `data` unless another one is given."""
        if rtmr not in range(_RTMRS):
            raise ValueError("the RTMRs are 0 to 3; `append` takes an event of any other register")
        digest = hashlib.sha384(data).digest() if digest is None else digest
        return self.append(Event(rtmr + 1, event_type, ((SHA384, digest),), data))

    def append(self, event: Event) -> EventLog:
        """Log an event as it is, however wrong."""
        self.events.append(event)
        return self

    def encode(self, *, padding: int = 0) -> bytes:
        """Return the log, followed by `padding` bytes of the unused rest of its memory area."""
        first = self._spec_id()
        head = struct.pack("<II20sI", 0, EV_NO_ACTION, b"", len(first))
        return head + first + b"".join(event.encode() for event in self.events) + _UNUSED * padding

    def rtmr(self, number: int) -> bytes:
        """Return what RTMR`number` holds after all events."""
        value = bytes(_SHA384_BYTES)
        for event in self.events:
            if event.register == number + 1 and event.event_type != EV_NO_ACTION:
                value = hashlib.sha384(value + dict(event.digests)[SHA384]).digest()
        return value

    def measured(self, measurements: Measurements) -> Measurements:
        """Return `measurements` with the RTMRs of a machine that booted as this log says."""
        return dataclasses.replace(measurements, **{f"rtmr{n}": self.rtmr(n) for n in range(_RTMRS)})

    def _spec_id(self) -> bytes:
        # Platform class 0, version 2.0, errata 0, 64-bit UINTN, no vendor information.
        sizes = b"".join(struct.pack("<HH", algorithm, size) for algorithm, size in self.algorithms)
        head = struct.pack("<16sIBBBBI", b"Spec ID Event03", 0, 0, 2, 0, 2, len(self.algorithms))
        return head + sizes + b"\0"
