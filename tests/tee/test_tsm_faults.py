"""What can go wrong with configfs-tsm: errors of every step, and answers that are no evidence."""

from __future__ import annotations

import errno
import itertools

import pytest

from blindai.errors import TeeFault
from blindai.tee.probe import Presence
from blindai.tee.tsm import Tsm
from blindai.testing.tsm import FakeTsm
from tests import evidence as genuine
from tests.tee.tsm_requests import ALWAYS, BOTH, REPORT_DATA, SNP, TDX, fault_of


@pytest.mark.parametrize(
    ("number", "fault"),
    [
        (errno.ENOENT, TeeFault.ABSENT),
        (errno.ENOTDIR, TeeFault.ABSENT),
        (errno.ENXIO, TeeFault.NOT_CONFIGURED),
        (errno.ENODEV, TeeFault.NOT_CONFIGURED),
        (errno.EACCES, TeeFault.NOT_ALLOWED),
        (errno.EPERM, TeeFault.NOT_ALLOWED),
        (errno.EROFS, TeeFault.NOT_ALLOWED),
        (errno.ENOSPC, TeeFault.FAILED),
        (errno.EEXIST, TeeFault.FAILED),
    ],
)
def test_an_entry_that_cannot_be_made(number, fault):
    """Each errno of mkdir has its own meaning, and is not tried again."""
    fake = FakeTsm(TDX, errors={"make": [number]})
    assert fault_of(fake).fault is fault
    assert fake.made == []


@BOTH
@pytest.mark.parametrize("attribute", ["generation", "provider", "inblob", "outblob"])
@pytest.mark.parametrize(
    ("number", "fault"),
    [
        (errno.ENOENT, TeeFault.NOT_CONFIGURED),
        (errno.EINVAL, TeeFault.REFUSED),
        (errno.EFBIG, TeeFault.TOO_LARGE),
        (errno.ETIMEDOUT, TeeFault.TIMEOUT),
        (errno.EIO, TeeFault.FAILED),
        (errno.ENXIO, TeeFault.FAILED),
        (errno.ENOTTY, TeeFault.FAILED),
        (errno.ENOMEM, TeeFault.FAILED),
        (errno.EACCES, TeeFault.NOT_ALLOWED),
        (errno.EPERM, TeeFault.NOT_ALLOWED),
    ],
)
def test_a_step_that_fails(machine, attribute, number, fault):
    """Each errno of each step has its own meaning, and the entry is gone."""
    error = fault_of(FakeTsm(machine, errors={attribute: [number]}))
    assert error.fault is fault
    assert attribute in str(error)


@pytest.mark.parametrize("number", [errno.ETIMEDOUT, errno.EIO])
def test_a_host_without_a_quoting_service_is_named(number):
    """The hint is where the operator has to look."""
    assert "QGS" in fault_of(FakeTsm(TDX, errors={"outblob": [number]})).hint


@pytest.mark.parametrize(
    ("use", "number"),
    [("make", errno.EBUSY), ("inblob", errno.EBUSY), ("outblob", errno.EBUSY), ("outblob", errno.EAGAIN)],
)
def test_a_busy_kernel_is_asked_again(use, number):
    """After a pause, each longer than the last; a new entry each time."""
    slept: list[float] = []
    fake = FakeTsm(TDX, errors={use: [number] * 3})
    assert Tsm(fake, sleep=slept.append).evidence(REPORT_DATA).value[568:632] == REPORT_DATA
    assert slept == sorted(set(slept))
    assert (len(slept), fake.entries) == (3, {})


@pytest.mark.parametrize("use", ["make", "outblob"])
def test_a_kernel_that_stays_busy(use):
    """After a few tries the answer is that it is busy."""
    assert fault_of(FakeTsm(TDX, errors={use: itertools.repeat(errno.EBUSY)})).fault is TeeFault.BUSY


@pytest.mark.parametrize("provider", [b"arm_cca_guest", b"", b"tdx_guest2", b"\xff" * 60])
def test_a_tee_that_no_client_can_verify(provider):
    """It is refused before a report is asked for, and its name is not repeated."""
    fake = FakeTsm(TDX, provider=provider)
    error = fault_of(fake)
    assert (error.fault, fake.reports) == (TeeFault.UNSUPPORTED, 0)
    assert "arm_cca" not in str(error)


# What is given


def test_padding_is_cut_off():
    """Hosts pad quotes to 8000 bytes; the evidence is the same as without."""
    padded = Tsm(FakeTsm(TDX, padded_to=8000)).evidence(REPORT_DATA)
    assert len(padded.value) == len(TDX.evidence(REPORT_DATA).value)


def test_a_genuine_padded_quote_is_read():
    """One from a cloud's host: 8000 bytes, of which 4935 or so are the quote."""
    sample = genuine.read("tdx", "v4-outofdate-00806f05")
    assert len(sample.quote) == 8000
    tsm = Tsm(FakeTsm(TDX, edit_outblob=lambda _: sample.quote))
    evidence = tsm.evidence(sample.quote[568:632])
    assert sample.quote.rstrip(b"\0") == evidence.value.rstrip(b"\0")
    assert len(evidence.value) < 5100


@pytest.mark.parametrize("name", ["milan-vcek-ok", "genoa-vcek-ok", "turin-vcek-ok"])
def test_a_genuine_report_is_read(name):
    """Of each product."""
    sample = genuine.read("snp", name)
    tsm = Tsm(FakeTsm(SNP, edit_outblob=lambda _: sample.quote))
    assert tsm.evidence(sample.quote[0x50:0x90]).value == sample.quote


@pytest.mark.parametrize("size", [8193, 20_000, 32 * 1024])
def test_a_dice_quote_is_refused_by_name(size):
    """Above 8 KiB the kernel's documentation expects a CWT, which no client of ours verifies."""
    error = fault_of(FakeTsm(TDX, cwt_bytes=size))
    assert error.fault is TeeFault.UNSUPPORTED
    assert "DICE" in str(error)


def test_a_large_quote_of_a_known_version_is_no_dice_quote():
    """What it is is told by its header; here 10,000 bytes, most of them padding."""
    assert Tsm(FakeTsm(TDX, padded_to=10_000)).evidence(REPORT_DATA).value[568:632] == REPORT_DATA


def test_a_report_that_is_too_large():
    """Nothing beyond the cap for evidence is read, whatever a newer kernel may give."""
    fake = FakeTsm(TDX, attributes={"outblob": bytes(10**6)})
    assert fault_of(fake).fault is TeeFault.TOO_LARGE


@BOTH
@pytest.mark.parametrize(
    "edit",
    [
        lambda _: b"",
        lambda _: b"\0",
        lambda _: bytes(1184),
        lambda _: bytes(5000),
        lambda _: b"\xff" * 8192,
        lambda given: given[:-1],
        lambda given: given[:600],
        lambda given: given + b"\1",
        lambda given: b"\x09" + given[1:],
    ],
    ids=["empty", "one byte", "zeros", "more zeros", "ones", "cut", "cut short", "trailing", "version"],
)
def test_what_is_no_evidence_is_not_handed_on(machine, edit):
    """It is refused here, where the operator sees it, and not by every client."""
    assert fault_of(FakeTsm(machine, edit_outblob=edit)).fault is TeeFault.MALFORMED


def test_evidence_of_the_other_kind():
    """A provider that gives the other vendor's evidence is not believed."""
    swapped = {b"tdx_guest": SNP, b"sev_guest": TDX}
    for provider, machine in swapped.items():
        assert fault_of(FakeTsm(machine, provider=provider)).fault is TeeFault.MALFORMED


# probe


@BOTH
def test_a_probe_asks_for_a_report(machine):
    """It works because it gave one."""
    fake = FakeTsm(machine)
    found = Tsm(fake).probe()
    assert (found.interface, found.tee, found.presence) == ("configfs-tsm", machine.tee, Presence.WORKS)
    assert (fake.reports, fake.entries) == (1, {})


@pytest.mark.parametrize(
    ("knobs", "tee", "presence", "word"),
    [
        ({"errors": {"make": [errno.ENOENT]}}, "", Presence.ABSENT, "configfs"),
        ({"errors": {"make": [errno.ENXIO]}}, "", Presence.BROKEN, "modprobe"),
        ({"errors": {"make": [errno.EACCES]}}, "", Presence.BROKEN, "root"),
        ({"errors": {"outblob": [errno.ETIMEDOUT]}}, "tdx", Presence.BROKEN, "QGS"),
        ({"edit_outblob": lambda _: b""}, "tdx", Presence.BROKEN, "QGS"),
        ({"provider": b"arm_cca_guest"}, "", Presence.BROKEN, "sev_guest"),
        ({"cwt_bytes": 9000}, "tdx", Presence.BROKEN, "ECDSA"),
        ({"raced": ALWAYS}, "tdx", Presence.BROKEN, "stop it"),
    ],
)
def test_a_probe_says_what_is_wrong(knobs, tee, presence, word):
    """And what to do about it; that the folder exists proves nothing."""
    found = Tsm(FakeTsm(TDX, **knobs), sleep=lambda _: None).probe()
    assert (found.tee, found.presence) == (tee, presence)
    assert word in found.hint
    assert found.seen


def test_a_probe_of_this_machine_does_not_raise():
    """Whatever this machine is."""
    assert Tsm(sleep=lambda _: None).probe().interface == "configfs-tsm"
