"""The kernel's configfs-tsm of a fake TDX or SEV-SNP guest: it counts and fails as the kernel does."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from blindai.tee.simulated import SimulatedTdx
from blindai.tee.simulated.snp import SnpMint
from blindai.testing.sev_guest import at_level

REPORT_DATA_BYTES = 64
_MOST_INBLOB_BYTES = 64
_MOST_OUTBLOB_BYTES = 32 * 1024
_LOWEST_LEVEL = 3
_GENERATIONS = 1 << 64
_PROVIDERS = {"tdx": b"tdx_guest", "sev-snp": b"sev_guest"}
_OTHER = b"another process".ljust(REPORT_DATA_BYTES, b"\0")


@dataclass
class Entry:
    """What the kernel keeps for one folder: write and read generations, what was written, what was made."""

    generation: int = 0
    generation_read: int = 0
    inblob: bytes = b""
    privlevel: int = 0
    outblob: bytes | None = None
    auxblob: bytes = b""


@dataclass
class FakeTsm:
    """What stands below /sys/kernel/config/tsm/report (`blindai.tee.tsm.TsmReports`); `machine` signs.

    >>> Tsm(fake).evidence(report_data)  # doctest: +SKIP

    Each field turns one thing wrong; all may change between two calls. Requests are served one at a time,
    each in `seconds`, as a quoting device does.
    """

    machine: SimulatedTdx | SnpMint
    provider: bytes | None = None  # instead of the machine's
    auxblob: bytes = b""  # the host's certificate table, SEV-SNP only
    privlevel_floor: int = 0  # SEV-SNP only
    # For "make", "remove" and each attribute's name: the errno of its first uses.
    errors: dict[str, Iterable[int]] = field(default_factory=dict)
    raced: int = 0  # so many reports to come are made after another process has written into the entry
    raced_after: int = 0  # so many reports to come are made, and then another process writes
    recreated: int = 0  # so many reports to come are those of another process's entry of the same name
    lost: int = 0  # so many inputs to come are not taken, and nobody is told
    taken: int | None = None  # bytes that a write takes instead of all
    padded_to: int = 0  # zeros behind the report, as hosts add them
    cwt_bytes: int = 0  # the host makes a DICE quote of this size instead
    edit_outblob: Callable[[bytes], bytes] | None = None
    attributes: dict[str, bytes] = field(default_factory=dict)  # what these show instead of the truth
    seconds: float = 0  # that a report takes
    hang: threading.Event | None = None  # a report waits until it is set

    entries: dict[str, Entry] = field(default_factory=dict)  # those that were not removed
    made: list[str] = field(default_factory=list)
    written: list[tuple[str, bytes]] = field(default_factory=list)  # attribute and value, in order
    reports: int = 0
    _failures: dict[str, Iterator[int]] = field(default_factory=dict)
    _device: threading.Lock = field(default_factory=threading.Lock)

    def make(self, entry: str) -> None:
        """As mkdir does."""
        self._fail("make")
        if entry in self.entries:
            raise _failure(errno.EEXIST)
        self.made.append(entry)
        self.entries[entry] = Entry()

    def remove(self, entry: str) -> None:
        """As rmdir does."""
        self._fail("remove")
        self._found(entry)
        del self.entries[entry]

    def write(self, entry: str, attribute: str, value: bytes) -> int:
        """As open, one write and close do."""
        found = self._opened(entry, attribute)
        if attribute not in ("inblob", "privlevel"):
            raise _failure(errno.EACCES)
        if attribute == "inblob" and len(value) > _MOST_INBLOB_BYTES:
            raise _failure(errno.EFBIG)
        level = int(value) if attribute == "privlevel" and value.strip().isdigit() else -1
        if attribute == "privlevel" and not self.privlevel_floor <= level <= _LOWEST_LEVEL:
            raise _failure(errno.EINVAL)
        value = value if self.taken is None else value[: self.taken]
        self.written.append((attribute, value))
        if attribute == "privlevel":
            self._advance(found)
            found.privlevel = level
        elif value:
            self._take(found, value)
        return len(value)

    def read(self, entry: str, attribute: str, max_bytes: int) -> bytes:
        """As open and reading to the end do."""
        found = self._opened(entry, attribute)
        if attribute in self.attributes:
            return self.attributes[attribute][:max_bytes]
        if attribute == "generation":
            content = b"%d\n" % found.generation
        elif attribute == "provider":
            content = (_PROVIDERS[self.machine.tee] if self.provider is None else self.provider) + b"\n"
        elif attribute == "privlevel_floor":
            content = b"%d\n" % self.privlevel_floor
        elif attribute in ("outblob", "auxblob"):
            content = self._made(found)[attribute == "auxblob"]
        else:
            raise _failure(errno.EACCES)  # inblob and privlevel can be written only
        return content[:max_bytes]

    def _opened(self, entry: str, attribute: str) -> Entry:
        found = self._found(entry)
        there = {"generation", "provider", "inblob", "outblob"}
        if self.machine.tee == "sev-snp":
            there |= {"privlevel", "privlevel_floor", "auxblob"}
        if attribute not in there:
            raise _failure(errno.ENOENT)
        self._fail(attribute)
        return found

    def _found(self, entry: str) -> Entry:
        if entry not in self.entries:
            raise _failure(errno.ENOENT)
        return self.entries[entry]

    def _take(self, found: Entry, value: bytes) -> None:
        # The kernel takes an input when the file is closed, where it has nobody to tell of an error.
        if self.lost:
            self.lost -= 1
            return
        with suppress(OSError):
            self._advance(found)
            found.inblob = value

    def _advance(self, found: Entry) -> None:
        generation = (found.generation + 1) % _GENERATIONS
        if generation == found.generation_read:  # once around: nobody could tell new from old
            raise _failure(errno.EBUSY)
        found.generation = generation

    def _made(self, found: Entry) -> tuple[bytes, bytes]:
        """Return report and certificates, made anew if something was written since they were."""
        if not found.inblob:
            raise _failure(errno.EINVAL)
        with self._device:
            if found.outblob is None or found.generation != found.generation_read:
                self._race(found)
                found.outblob, found.auxblob = self._report(found), self.auxblob
                found.generation_read = found.generation
                if self.raced_after:
                    self.raced_after -= 1
                    self._take(found, _OTHER)
        if len(found.outblob) > _MOST_OUTBLOB_BYTES:
            raise _failure(errno.EFBIG)
        return found.outblob, found.auxblob

    def _race(self, found: Entry) -> None:
        if self.raced:
            self.raced -= 1
            self._take(found, _OTHER)
        if self.recreated:
            self.recreated -= 1
            found.inblob = _OTHER

    def _report(self, found: Entry) -> bytes:
        if len(found.inblob) != REPORT_DATA_BYTES:
            raise _failure(errno.EINVAL)
        self.reports += 1
        time.sleep(self.seconds)
        if self.hang is not None:
            self.hang.wait()
        if self.cwt_bytes:
            return _CWT.ljust(self.cwt_bytes, b"\x5a")
        machine = self.machine
        if isinstance(machine, SnpMint):
            machine = at_level(machine, found.privlevel)
        report = machine.evidence(found.inblob).value.ljust(self.padded_to, b"\0")
        return report if self.edit_outblob is None else self.edit_outblob(report)

    def _fail(self, use: str) -> None:
        number = next(self._failures.setdefault(use, iter(self.errors.get(use, ()))), 0)
        if number:
            raise _failure(number)


_CWT = b"\xd8\x3d\xd2\x84"  # a tagged CWT that is a COSE_Sign1 of four members


def _failure(number: int) -> OSError:
    return OSError(number, os.strerror(number))
