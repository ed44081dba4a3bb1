"""The clock, which keysets, certificates and collateral are dated by. No network is asked for the time."""

from __future__ import annotations

import ctypes
import datetime
import time
from collections.abc import Callable
from dataclasses import dataclass

from blindai.server.doctor.report import Check, Status

# This version was written after this day: a clock that says otherwise is wrong.
NOT_BEFORE = datetime.datetime(2026, 11, 1, tzinfo=datetime.UTC)

_TIME_ERROR = 5  # adjtimex(2): what it returns while the clock is not synchronised
_STA_UNSYNC = 0x40
_TICK_SECONDS = 0.01
_SET = "run chronyd or systemd-timesyncd, or let the host give the time (ptp_kvm)"


class _Timex(ctypes.Structure):
    """The beginning of struct timex of sys/timex.h, and room for the rest."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("frequency", ctypes.c_long),
        ("maximum_error", ctypes.c_long),
        ("estimated_error", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 256),
    )


def kernel_synchronised() -> bool | None:
    """Ask the kernel whether something keeps its clock right; None if it does not say. Changes nothing."""
    timex = _Timex()
    state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(timex))
    if state < 0:
        return None
    return bool(state != _TIME_ERROR and not timex.status & _STA_UNSYNC)


@dataclass(frozen=True)
class Clock:
    """The clocks of this machine."""

    wall: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    synchronised: Callable[[], bool | None] = kernel_synchronised


def checks(clock: Clock) -> tuple[Check, ...]:
    """Return whether the date can be, whether something keeps it right, and whether time goes on."""
    return (_date(clock), _synchronised(clock), _monotonic(clock))


def _date(clock: Clock) -> Check:
    if clock.wall() < NOT_BEFORE.timestamp():
        return Check(
            "date",
            Status.FAILED,
            f"the clock stands before {NOT_BEFORE:%Y-%m-%d}, when this version was written: clients would "
            "refuse what the server dates by it",
            f"set the clock: {_SET}",
        )
    now = datetime.datetime.fromtimestamp(clock.wall(), datetime.UTC)
    return Check("date", Status.OK, f"{now:%Y-%m-%d %H:%M} UTC, if the clock is right")


def _synchronised(clock: Clock) -> Check:
    match clock.synchronised():
        case True:
            return Check("synchronised", Status.OK, "the kernel says so")
        case False:
            return Check("synchronised", Status.WARNING, "the kernel says that nothing sets its clock", _SET)
    return Check(
        "synchronised", Status.WARNING, "the kernel does not say whether something sets its clock", _SET
    )


def _monotonic(clock: Clock) -> Check:
    before = clock.monotonic()
    clock.sleep(_TICK_SECONDS)
    if clock.monotonic() > before:
        return Check("monotonic", Status.OK, "it runs")
    return Check(
        "monotonic",
        Status.FAILED,
        "it stands still: no time limit of the server would ever end",
        "this machine's clock source does not work: see dmesg",
    )
