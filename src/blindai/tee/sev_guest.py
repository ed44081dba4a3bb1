"""Evidence of a SEV-SNP guest through /dev/sev-guest, for kernels without configfs-tsm (Linux 5.19 to 6.6).

1. an extended report with no room for certificates: the hypervisor says how much they take, if there are any
2. the same with room for them
3. where this does not work, a report alone: clients need the certificates, but not from the host
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from blindai.attestation.types import SNP_REPORT, Evidence
from blindai.devices import sev_guest
from blindai.devices.sev_guest import (
    DEVICE,
    MAX_CERTIFICATE_BYTES,
    PAGE_BYTES,
    AnswerRefused,
    Ioctl,
    RequestRefused,
    SevGuestChannel,
)
from blindai.errors import TeeError, TeeFault
from blindai.tee import readable
from blindai.tee.probe import Finding, Presence

INTERFACE = "sev-guest"
# Seconds between tries while the host throttles. Hosts let a guest ask about once or twice a second.
_PAUSES = (0.5, 1.0, 2.0)

Answer = TypeVar("Answer")


class SevGuest:
    """The guest around this process (an Attester, and Certified). Calls come from one thread.

    `opener` and `ioctl` are the device's. `vmpl` is the level to ask for: 0 is that of a guest without a
    paravisor, and the firmware refuses one that is more privileged than the guest's.
    """

    interface = INTERFACE
    tee = "sev-snp"
    simulated = False

    def __init__(
        self,
        opener: Callable[[], int] = sev_guest.open_device,
        ioctl: Ioctl = sev_guest.ioctl,
        *,
        vmpl: int = 0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._opener = opener
        self._ioctl = ioctl
        self._vmpl = vmpl
        self._sleep = sleep
        self._certificates = b""
        self._room = 0  # each request costs time, and hosts count them: the second is asked only once

    @property
    def certificates(self) -> bytes:
        """The certificate table that came with the newest report, unverified; b"" if none did."""
        return self._certificates

    def evidence(self, report_data: bytes) -> Evidence:
        """Return a report that carries these 64 bytes. Raises TeeError."""
        readable.check_report_data(report_data)
        with self._opened() as channel, _translated():
            given, certificates = self._asked(channel, report_data)
        report, carried = readable.snp_report(given)
        if carried != report_data:
            raise TeeError(TeeFault.MALFORMED, f"{DEVICE} gave a report about other data than asked for")
        self._certificates = certificates
        return Evidence(SNP_REPORT, report)

    def probe(self) -> Finding:
        """Ask for a report, and say what came of it."""
        try:
            evidence = self.evidence(bytes(readable.REPORT_DATA_BYTES))
        except TeeError as exc:
            presence = Presence.ABSENT if exc.fault is TeeFault.ABSENT else Presence.BROKEN
            return Finding(INTERFACE, self.tee, presence, exc.what, exc.hint)
        seen = f"{DEVICE} gave a report of {len(evidence.value)} bytes"
        return Finding(INTERFACE, self.tee, Presence.WORKS, seen)

    def _asked(self, channel: SevGuestChannel, report_data: bytes) -> tuple[bytes, bytes]:
        try:
            return self._extended(channel, report_data)
        except RequestRefused as exc:
            if exc.busy:
                raise
        return self._patiently(lambda: channel.report(report_data, vmpl=self._vmpl)), b""

    def _extended(self, channel: SevGuestChannel, report_data: bytes) -> tuple[bytes, bytes]:
        def ask() -> tuple[bytes, bytes]:
            return self._patiently(
                lambda: channel.extended_report(report_data, vmpl=self._vmpl, room=self._room)
            )

        try:
            return ask()
        except RequestRefused as exc:
            needed = exc.room_needed
            # The hypervisor wrote this number: memory is set aside for what the kernel would take, no more.
            if not 0 < needed <= MAX_CERTIFICATE_BYTES or needed % PAGE_BYTES:
                raise
        self._room = needed
        return ask()

    def _patiently(self, ask: Callable[[], Answer]) -> Answer:
        for pause in _PAUSES:
            try:
                return ask()
            except RequestRefused as exc:
                # ETIMEDOUT: the kernel itself has been asking again for a minute.
                if not exc.busy or exc.errno == errno.ETIMEDOUT:
                    raise
            self._sleep(pause)
        return ask()

    @contextmanager
    def _opened(self) -> Iterator[SevGuestChannel]:
        try:
            descriptor = self._opener()
        except OSError as exc:
            raise _cannot_open(exc) from exc
        try:
            yield SevGuestChannel(descriptor, self._ioctl)
        finally:
            os.close(descriptor)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except RequestRefused as exc:
        raise _refused(exc) from exc
    except AnswerRefused as exc:
        # A status is the firmware's no; without one, what came back is not what was asked for.
        raise TeeError(
            TeeFault.REFUSED if exc.status else TeeFault.MALFORMED,
            f"{DEVICE} did not answer with {exc.what} (firmware status {exc.status:#x})",
            hint="under a paravisor the guest has no level 0 (VMPL): configfs-tsm knows the one it has",
        ) from exc


def _cannot_open(exc: OSError) -> TeeError:
    if exc.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENXIO, errno.ENODEV):
        hint = "it exists in SEV-SNP guests only; Linux 5.19 and newer bring the driver: modprobe sev-guest"
        return TeeError(TeeFault.ABSENT, f"there is no {DEVICE}", hint=hint)
    if exc.errno in (errno.EACCES, errno.EPERM):
        hint = "without a udev rule root alone may open it; a container needs the device passed on"
        return TeeError(TeeFault.NOT_ALLOWED, f"this process may not open {DEVICE}", hint=hint)
    fault = TeeFault.BUSY if exc.errno == errno.EBUSY else TeeFault.FAILED
    return TeeError(fault, f"{DEVICE} cannot be opened: {exc.strerror}", hint=_DMESG)


_DMESG = "the kernel's log (dmesg) may say more"
_FAULTS = {
    errno.EACCES: (TeeFault.NOT_ALLOWED, "run as root, or as whom a udev rule lets use the device"),
    errno.EPERM: (TeeFault.NOT_ALLOWED, "run as root, or as whom a udev rule lets use the device"),
    errno.EBUSY: (TeeFault.BUSY, "the next try may work"),
    errno.EAGAIN: (TeeFault.BUSY, "the next try may work"),
    errno.ETIMEDOUT: (TeeFault.TIMEOUT, "the host did not serve the request: its log may say more"),
    errno.EINVAL: (TeeFault.REFUSED, _DMESG),
    # The kernel destroys the key between guest and firmware when the two no longer agree about a message.
    errno.ENOTTY: (
        TeeFault.FAILED,
        "if dmesg says that the VMPCK is disabled, only a restart of the guest brings it back",
    ),
}


def _refused(exc: RequestRefused) -> TeeError:
    what = f"{DEVICE} refused: {exc.strerror} (firmware error {exc.exitinfo2:#x})"
    if exc.busy:
        return TeeError(TeeFault.BUSY, what, hint="the host throttles this guest's requests: ask less often")
    fault, hint = _FAULTS.get(exc.errno or 0, (TeeFault.FAILED, _DMESG))
    return TeeError(fault, what, hint=hint)
