"""The fake of Gramine's files behaves as Gramine's own code does (libos/src/fs/dev/attestation.c)."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from blindai.testing import FakeSgx
from blindai.testing.gramine import FakeGramine

FOLDER = Path("/dev/attestation")
ROOM = 8192


@pytest.fixture(scope="module")
def machine():
    return FakeSgx(now=1_790_000_000)


def failing(step, *arguments):
    """Return the errno of a step that must fail."""
    with pytest.raises(OSError, match=r"\[Errno") as caught:
        step(*arguments)
    return caught.value.errno


def report_data(fake):
    return fake.read(FOLDER / "quote", ROOM)[368:432]


def test_what_is_written_last_goes_into_every_quote(machine):
    """Report data start as zeros, stay until the next write, and are padded or cut to 64 bytes."""
    fake = FakeGramine(machine=machine)
    assert report_data(fake) == bytes(64)
    for written, quoted in [(b"a" * 64, b"a" * 64), (b"b", b"b".ljust(64, b"\0")), (b"c" * 65, b"c" * 64)]:
        assert fake.write(FOLDER / "user_report_data", written) == len(written)
        assert report_data(fake) == quoted
        assert report_data(fake) == quoted
    assert fake.quotes == 7


def test_reading_is_bounded(machine):
    """No more is handed over than was asked for."""
    fake = FakeGramine(machine=machine)
    assert fake.read(FOLDER / "attestation_type", 2) == b"dc"
    assert len(fake.read(FOLDER / "quote", 100)) == 100


def test_files_that_are_not_there(machine):
    """gramine-direct has none; without attestation there is no quote; other paths are nothing."""
    direct, none = FakeGramine(direct=True), FakeGramine(attestation_type=b"none")
    healthy = FakeGramine(machine=machine)
    assert failing(direct.read, FOLDER / "attestation_type", ROOM) == errno.ENOENT
    assert failing(direct.write, FOLDER / "user_report_data", b"") == errno.ENOENT
    assert failing(none.read, FOLDER / "quote", ROOM) == errno.ENOENT
    assert none.read(FOLDER / "attestation_type", ROOM) == b"none"
    assert failing(healthy.read, FOLDER / "report", ROOM) == errno.ENOENT
    assert failing(healthy.read, Path("/dev/quote"), ROOM) == errno.ENOENT


@pytest.mark.parametrize("name", ["attestation_type", "quote"])
def test_what_may_only_be_read_is_not_written(machine, name):
    """Of these files one alone takes a write."""
    assert failing(FakeGramine(machine=machine).write, FOLDER / name, b"dcap") == errno.EACCES


def test_a_failure_is_the_one_asked_for(machine):
    """`errors` fails one file and no other."""
    fake = FakeGramine(machine=machine, errors={"quote": errno.EACCES})
    assert failing(fake.read, FOLDER / "quote", ROOM) == errno.EACCES
    assert fake.read(FOLDER / "attestation_type", ROOM) == b"dcap"
    assert fake.quotes == 0
