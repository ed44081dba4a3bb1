"""How far an upload is: a bar on a terminal, now and then a line in a log, or the caller's own function."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Progress = Callable[[int, int], None]
Clock = Callable[[], float]

LINE_SECONDS = 10.0  # a log shows that something moves, and little else


class Meter:
    """Rate and remaining time, for those who show them themselves: `upload_model(..., progress=show)`, and
    in `show`, `meter.update(sent, total)`. It runs from when it is made.
    """

    def __init__(self, *, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._start = self._now = clock()
        self._sent = self._total = 0

    def update(self, sent: int, total: int) -> None:
        self._now = self._clock()
        self._sent, self._total = sent, total

    @property
    def rate_bytes_per_second(self) -> float:
        """Since the beginning; 0 before anything has been sent."""
        elapsed = self._now - self._start
        return self._sent / elapsed if elapsed > 0 else 0.0

    @property
    def remaining_seconds(self) -> float | None:
        """Until all is sent at this rate; None if there is no rate yet."""
        rate = self.rate_bytes_per_second
        return (self._total - self._sent) / rate if rate > 0 else None


@contextmanager
def reporting(progress: bool | Progress, name: str, *, clock: Clock = time.monotonic) -> Iterator[Progress]:
    """Return where to report: the caller's function, a bar on a terminal, lines elsewhere, or nowhere."""
    if callable(progress):
        yield progress
    elif not progress:
        yield lambda _sent, _total: None
    elif sys.stderr.isatty():
        yield from _bar(name)
    else:
        yield _Lines(name, clock).report


def _bar(name: str) -> Iterator[Progress]:
    # Imported here: a piped or programmatic upload needs no terminal library.
    from tqdm import tqdm  # noqa: PLC0415

    with tqdm(desc=f"uploading {name}", unit="B", unit_scale=True, leave=False, file=sys.stderr) as bar:

        def report(sent: int, total: int) -> None:
            bar.total = total
            bar.update(sent - bar.n)
            if sent == total:
                bar.set_description(f"sent; the server is loading {name}")

        yield report


class _Lines:
    """Says nothing about an upload that is over in a moment."""

    def __init__(self, name: str, clock: Clock) -> None:
        self._name = name
        self._clock = clock
        self._meter = Meter(clock=clock)
        self._said_at = clock()
        self._spoke = False

    def report(self, sent: int, total: int) -> None:
        self._meter.update(sent, total)
        if sent == total:
            if self._spoke:
                _say(f"sent; the server is loading {self._name}")
        elif self._clock() - self._said_at >= LINE_SECONDS:
            self._said_at, self._spoke = self._clock(), True
            _say(f"uploading {self._name}: {100 * sent // total}% of {_bytes(total)}, {_pace(self._meter)}")


def _pace(meter: Meter) -> str:
    remaining = meter.remaining_seconds
    rate = f"{_bytes(meter.rate_bytes_per_second)}/s"
    return rate if remaining is None else f"{rate}, {_duration(remaining)} left"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _bytes(count: float) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
