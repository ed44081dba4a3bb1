"""How far an upload is, its rate, what remains: on a terminal, in a log, for the caller's function."""

from __future__ import annotations

import io
import sys

import pytest

from blindai.client.progress import LINE_SECONDS, Meter, reporting

GB = 1_000_000_000


class Clock:
    """Stands still unless it is set forward."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_rate_and_remaining_time(clock):
    """A quarter sent in ten seconds leaves thirty."""
    meter = Meter(clock=clock)
    clock.now += 10
    meter.update(GB, 4 * GB)
    assert meter.rate_bytes_per_second == 100_000_000
    assert meter.remaining_seconds == 30
    clock.now += 30
    meter.update(4 * GB, 4 * GB)
    assert meter.remaining_seconds == 0


def test_no_rate_before_anything_was_sent(clock):
    """Neither a division by zero nor a guess."""
    meter = Meter(clock=clock)
    assert (meter.rate_bytes_per_second, meter.remaining_seconds) == (0, None)
    meter.update(0, GB)
    clock.now += 5
    meter.update(0, GB)
    assert (meter.rate_bytes_per_second, meter.remaining_seconds) == (0, None)


def test_the_caller_s_function_gets_bytes():
    """The function is called as it is given."""
    seen = []
    with reporting(lambda sent, total: seen.append((sent, total)), "m") as report:
        report(1, 2)
        report(2, 2)
    assert seen == [(1, 2), (2, 2)]


def test_nothing_unless_asked_for(capsys):
    """Without progress nothing is written."""
    with reporting(False, "m") as report:
        report(GB, GB)
    assert capsys.readouterr().err == ""


def test_a_log_gets_a_line_now_and_then(capsys, clock):
    """Every ten seconds a line with share, rate and remaining time; then that it is the server's turn."""
    with reporting(True, "m", clock=clock) as report:
        for sent in range(0, 4 * GB, GB // 10):
            report(sent, 4 * GB)
            clock.now += 1
        report(4 * GB, 4 * GB)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "uploading m: 25% of 4.0 GB, 100 MB/s, 30 s left",
        "uploading m: 50% of 4.0 GB, 100 MB/s, 20 s left",
        "uploading m: 75% of 4.0 GB, 100 MB/s, 10 s left",
        "sent; the server is loading m",
    ]


def test_a_log_shows_long_times_in_minutes(capsys, clock):
    """A slow line takes minutes."""
    with reporting(True, "m", clock=clock) as report:
        clock.now += LINE_SECONDS
        report(50_000, 5_000_000)
    assert capsys.readouterr().err == "uploading m: 1% of 5 MB, 5 kB/s, 16 min 30 s left\n"


def test_a_short_upload_says_nothing_in_a_log(capsys, clock):
    """Scripts that upload small models print no more than they did."""
    with reporting(True, "m", clock=clock) as report:
        for sent in range(0, GB + 1, GB // 10):
            report(sent, GB)
    assert capsys.readouterr().err == ""


def test_a_bar_shows_rate_and_remaining_time(monkeypatch):
    """On a terminal: the share in bytes, the rate in bytes, the time; then that the server is loading it."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with reporting(True, "m") as report:
        report(GB, 4 * GB)
        report(4 * GB, 4 * GB)
    shown = terminal.getvalue()
    assert "uploading m: " in shown
    assert "B/s]" in shown
    assert "4.00G/4.00G [" in shown
    assert "sent; the server is loading m" in shown
