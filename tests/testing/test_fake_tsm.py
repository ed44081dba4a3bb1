"""The fake configfs-tsm does what the kernel's own does (report.c), so that what passes here passes there."""

from __future__ import annotations

import errno
import threading
import time

import pytest

from blindai.tee.tsm import TsmReports
from blindai.testing import FakeSnp, FakeTdx
from blindai.testing.tsm import Entry, FakeTsm

NOW = 1_790_000_000
REPORT_DATA = bytes(range(64))
TDX, SNP = FakeTdx(now=NOW), FakeSnp(now=NOW)
MOST = 1 << 20


def fresh(machine=TDX, **knobs) -> FakeTsm:
    fake = FakeTsm(machine, **knobs)
    reports: TsmReports = fake
    reports.make("entry")
    return fake


def refused(number: int, what) -> None:
    with pytest.raises(OSError) as caught:  # noqa: PT011 - the number is what matters
        what()
    assert caught.value.errno == number


def test_a_fresh_entry():
    """Generation 0, a provider, and no report yet."""
    fake = fresh()
    assert fake.read("entry", "generation", MOST) == b"0\n"
    assert fake.read("entry", "provider", MOST) == b"tdx_guest\n"
    refused(errno.EINVAL, lambda: fake.read("entry", "outblob", MOST))
    fake = fresh(SNP, privlevel_floor=1)
    assert fake.read("entry", "provider", MOST) == b"sev_guest\n"
    assert fake.read("entry", "privlevel_floor", MOST) == b"1\n"
    refused(errno.EINVAL, lambda: fake.read("entry", "auxblob", MOST))


def test_tdx_has_neither_levels_nor_certificates():
    """The attributes are not there."""
    fake = fresh()
    for attribute in ("privlevel", "privlevel_floor", "auxblob", "anything"):
        refused(errno.ENOENT, lambda attribute=attribute: fake.read("entry", attribute, MOST))
        refused(errno.ENOENT, lambda attribute=attribute: fake.write("entry", attribute, b"0"))


def test_names_are_those_of_folders():
    """Two of one name cannot be made; what was removed is gone."""
    fake = fresh()
    refused(errno.EEXIST, lambda: fake.make("entry"))
    fake.remove("entry")
    refused(errno.ENOENT, lambda: fake.remove("entry"))
    refused(errno.ENOENT, lambda: fake.read("entry", "generation", MOST))


def test_every_write_counts():
    """The generation grows with each, and a report is made once for each."""
    fake = fresh(SNP)
    fake.write("entry", "privlevel", b"0")
    fake.write("entry", "inblob", REPORT_DATA)
    assert fake.read("entry", "generation", MOST) == b"2\n"
    first = fake.read("entry", "outblob", MOST)
    assert fake.read("entry", "outblob", MOST) == first
    assert fake.reports == 1
    fake.write("entry", "inblob", bytes(64))
    assert fake.read("entry", "outblob", MOST)[0x50:0x90] == bytes(64)
    assert (fake.reports, fake.read("entry", "generation", MOST)) == (2, b"3\n")


def test_inputs_have_64_bytes():
    """More is refused when it is written, less when the report is asked for."""
    fake = fresh()
    refused(errno.EFBIG, lambda: fake.write("entry", "inblob", bytes(65)))
    assert fake.write("entry", "inblob", b"") == 0
    refused(errno.EINVAL, lambda: fake.read("entry", "outblob", MOST))
    fake.write("entry", "inblob", bytes(63))
    refused(errno.EINVAL, lambda: fake.read("entry", "outblob", MOST))


def test_two_writes_are_two_inputs():
    """The second takes the place of the first."""
    fake = fresh()
    fake.write("entry", "inblob", REPORT_DATA)
    fake.write("entry", "inblob", bytes(64))
    assert fake.read("entry", "outblob", MOST)[568:632] == bytes(64)


def test_what_is_only_written_and_what_is_only_read():
    """The other way round is refused."""
    fake = fresh(SNP)
    for attribute in ("inblob", "privlevel"):
        refused(errno.EACCES, lambda attribute=attribute: fake.read("entry", attribute, MOST))
    for attribute in ("outblob", "auxblob", "provider", "generation", "privlevel_floor"):
        refused(errno.EACCES, lambda attribute=attribute: fake.write("entry", attribute, b"0"))


@pytest.mark.parametrize("level", [b"0", b"4", b"-1", b"", b"x"])
def test_levels_have_bounds(level):
    """From the floor to 3; what is refused does not count."""
    fake = fresh(SNP, privlevel_floor=1)
    refused(errno.EINVAL, lambda: fake.write("entry", "privlevel", level))
    assert fake.read("entry", "generation", MOST) == b"0\n"


def test_once_around_is_refused():
    """A report that was not read must not look like a new one after 2^64 writes."""
    fake = fresh(SNP)
    fake.entries["entry"] = Entry(generation=2**64 - 1)
    refused(errno.EBUSY, lambda: fake.write("entry", "privlevel", b"0"))
    fake.write("entry", "inblob", REPORT_DATA)  # closing a file says nothing
    assert fake.entries["entry"].inblob == b""


def test_a_report_beyond_the_kernels_buffer():
    """32 KiB is what it takes."""
    fake = fresh(padded_to=32 * 1024)
    fake.write("entry", "inblob", REPORT_DATA)
    assert len(fake.read("entry", "outblob", MOST)) == 32 * 1024
    fake = fresh(padded_to=32 * 1024 + 1)
    fake.write("entry", "inblob", REPORT_DATA)
    refused(errno.EFBIG, lambda: fake.read("entry", "outblob", MOST))


def test_errors_come_so_often_as_told():
    """Then the use works."""
    fake = FakeTsm(TDX, errors={"make": [errno.EBUSY, errno.ENXIO], "provider": [errno.EIO]})
    refused(errno.EBUSY, lambda: fake.make("entry"))
    refused(errno.ENXIO, lambda: fake.make("entry"))
    fake.make("entry")
    refused(errno.EIO, lambda: fake.read("entry", "provider", MOST))
    assert fake.read("entry", "provider", MOST) == b"tdx_guest\n"


def test_one_report_at_a_time():
    """The device serialises: a second caller waits for the first one's report."""
    hang = threading.Event()
    fake = fresh(hang=hang)
    fake.make("other")
    for name in ("entry", "other"):
        fake.write(name, "inblob", REPORT_DATA)
    threads = [
        threading.Thread(target=fake.read, args=[name, "outblob", MOST]) for name in ("entry", "other")
    ]
    for thread in threads:
        thread.start()
    while not fake.reports:
        time.sleep(0.001)
    assert fake.reports == 1
    hang.set()
    for thread in threads:
        thread.join()
    assert fake.reports == 2
