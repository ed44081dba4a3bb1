"""Evidence through /dev/sev-guest: reports, the host's certificates, and everything that can go wrong."""

from __future__ import annotations

import errno
import itertools
import os

import pytest

from blindai.attestation import vendors
from blindai.attestation.trust import SimulationTrust
from blindai.attestation.types import SNP_REPORT
from blindai.devices.sev_guest import SNP_GET_EXT_REPORT, SNP_GET_REPORT
from blindai.errors import TeeError, TeeFault
from blindai.tee import certificate_table
from blindai.tee.attester import Attester, Certified
from blindai.tee.probe import Presence
from blindai.tee.sev_guest import SevGuest
from blindai.testing import FakeSnp
from blindai.testing.certificate_table import certificate_table as table_of
from blindai.testing.sev_guest import BUSY, INVALID_LENGTH, FakeSevGuest

NOW = 1_790_000_000
REPORT_DATA = bytes(range(64))
SNP = FakeSnp(now=NOW)
EVERY_REPORT = (SNP_GET_EXT_REPORT, SNP_GET_REPORT)


def guest_of(**knobs) -> FakeSevGuest:
    return FakeSevGuest(machine=SNP, **knobs)


def refusing(number: int, exitinfo2: int = 0) -> dict:
    """Return errors that never end, of both ways to a report."""
    return {"errors": {request: itertools.repeat((number, exitinfo2)) for request in EVERY_REPORT}}


def attester_of(guest: FakeSevGuest, **options) -> SevGuest:
    return SevGuest(guest.opener, guest.ioctl, sleep=lambda _: None, **options)


def fault_of(guest: FakeSevGuest) -> TeeError:
    """Return what a request comes to; whatever that is, the device is closed again."""
    opened = []

    def opener() -> int:
        opened.append(guest.opener())
        return opened[-1]

    with pytest.raises(TeeError) as caught:
        SevGuest(opener, guest.ioctl, sleep=lambda _: None).evidence(REPORT_DATA)
    for descriptor in opened:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(descriptor)
    return caught.value


@pytest.mark.parametrize("leaf", ["vcek", "vlek"])
@pytest.mark.parametrize("product", ["Milan", "Genoa", "Turin"])
def test_the_verifier_accepts_what_comes_out(product, leaf):
    """With the host's own certificates as collateral, under the fake's root."""
    machine = FakeSnp(now=NOW, product=product, leaf=leaf)
    guest = FakeSevGuest(machine=machine, certificates=table_of(machine))
    snp = attester_of(guest)
    attester: Attester = snp
    certified: Certified = snp
    evidence = attester.evidence(REPORT_DATA)
    collateral = {"amd": certificate_table.parse(certified.certificates).members()}
    claims = vendors.verify(evidence, collateral, trust=SimulationTrust([machine.root_sha256]), now=NOW)
    assert (evidence.media_type, claims.report_data) == (SNP_REPORT, REPORT_DATA)
    assert (attester.tee, attester.simulated) == ("sev-snp", False)


@pytest.mark.parametrize("too_little", [errno.EIO, errno.ENOSPC, errno.EINVAL])
def test_the_room_for_certificates_is_asked_for_once(too_little):
    """Hosts count requests: after the first time every report takes one."""
    guest = guest_of(certificates=table_of(SNP), too_little=too_little)
    snp = attester_of(guest)
    snp.evidence(REPORT_DATA)
    assert guest.requests == [SNP_GET_EXT_REPORT] * 2
    snp.evidence(REPORT_DATA)
    assert guest.requests == [SNP_GET_EXT_REPORT] * 3


def test_certificates_that_grow():
    """A host that renews them may need more room than before."""
    guest = guest_of(certificates=table_of(SNP))
    snp = attester_of(guest)
    snp.evidence(REPORT_DATA)
    guest.certificates += bytes(4096)
    snp.evidence(REPORT_DATA)
    assert snp.certificates.startswith(guest.certificates)


def test_a_host_without_certificates():
    """One request, and an empty table."""
    guest = guest_of()
    snp = attester_of(guest)
    assert len(snp.evidence(REPORT_DATA).value) == 1184
    assert (snp.certificates, guest.requests) == (b"", [SNP_GET_EXT_REPORT])


@pytest.mark.parametrize("need", [0, 1, 4095, 4097, 0x5000, 2**32 - 1])
def test_the_host_cannot_make_us_set_memory_aside(need):
    """Room that no kernel would take is not made: the report comes alone."""
    guest = guest_of(certificates=table_of(SNP), certificates_need=need)
    snp = attester_of(guest)
    assert len(snp.evidence(REPORT_DATA).value) == 1184
    assert (snp.certificates, guest.requests) == (b"", [SNP_GET_EXT_REPORT, SNP_GET_REPORT])


def test_a_host_that_never_has_enough_room():
    """It is asked twice, then the report comes alone."""
    refusals = itertools.repeat((errno.EIO, INVALID_LENGTH))
    guest = guest_of(certificates=table_of(SNP), errors={SNP_GET_EXT_REPORT: refusals})
    snp = attester_of(guest)
    assert len(snp.evidence(REPORT_DATA).value) == 1184
    assert snp.certificates == b""


@pytest.mark.parametrize("number", [errno.ENOTTY, errno.EIO, errno.EINVAL, errno.ENOMEM])
def test_without_extended_reports_a_report_comes_alone(number):
    """And certificates of an earlier one are not shown beside it."""
    guest = guest_of(certificates=table_of(SNP))
    snp = attester_of(guest)
    snp.evidence(REPORT_DATA)
    guest.errors = {SNP_GET_EXT_REPORT: itertools.repeat((number, 0))}
    guest._refusals.clear()
    assert snp.evidence(REPORT_DATA).value[0x50:0x90] == REPORT_DATA
    assert snp.certificates == b""


@pytest.mark.parametrize("number", [errno.EIO, errno.EAGAIN])
def test_a_throttling_host_is_asked_again(number):
    """After a pause, each longer than the last."""
    slept: list[float] = []
    guest = guest_of(errors={SNP_GET_EXT_REPORT: [(number, BUSY)] * 3})
    evidence = SevGuest(guest.opener, guest.ioctl, sleep=slept.append).evidence(REPORT_DATA)
    assert evidence.value[0x50:0x90] == REPORT_DATA
    assert slept == sorted(set(slept))
    assert len(slept) == 3


def test_a_host_that_keeps_throttling():
    """The other kind of request is not tried: it is the guest that is throttled."""
    guest = guest_of(**refusing(errno.EIO, BUSY))
    assert fault_of(guest).fault is TeeFault.BUSY
    assert guest.requests == [SNP_GET_EXT_REPORT] * 4


def test_a_host_that_throttled_for_a_minute():
    """The kernel has tried for us: asking on would take minutes more."""
    guest = guest_of(**refusing(errno.ETIMEDOUT, BUSY))
    assert fault_of(guest).fault is TeeFault.BUSY
    assert guest.requests == [SNP_GET_EXT_REPORT]


@pytest.mark.parametrize(
    ("number", "fault"),
    [
        (errno.ENOTTY, TeeFault.FAILED),
        (errno.EIO, TeeFault.FAILED),
        (errno.ENOMEM, TeeFault.FAILED),
        (errno.EINVAL, TeeFault.REFUSED),
        (errno.ETIMEDOUT, TeeFault.TIMEOUT),
        (errno.EPERM, TeeFault.NOT_ALLOWED),
        (errno.EACCES, TeeFault.NOT_ALLOWED),
        (errno.EBUSY, TeeFault.BUSY),
        (errno.EAGAIN, TeeFault.BUSY),
    ],
)
def test_a_request_that_is_refused(number, fault):
    """Each errno has its own meaning; the message says what the firmware said."""
    error = fault_of(guest_of(**refusing(number, 0xFF)))
    assert (error.fault, bool(error.hint)) == (fault, True)
    assert "0xff" in str(error)


@pytest.mark.parametrize(
    ("number", "fault"),
    [
        (errno.ENOENT, TeeFault.ABSENT),
        (errno.ENXIO, TeeFault.ABSENT),
        (errno.ENODEV, TeeFault.ABSENT),
        (errno.EACCES, TeeFault.NOT_ALLOWED),
        (errno.EPERM, TeeFault.NOT_ALLOWED),
        (errno.EBUSY, TeeFault.BUSY),
        (errno.EIO, TeeFault.FAILED),
    ],
)
def test_a_device_that_cannot_be_opened(number, fault):
    """Each errno has its own meaning."""
    error = fault_of(guest_of(open_error=number))
    assert (error.fault, bool(error.hint)) == (fault, True)


def test_under_a_paravisor():
    """Level 0 belongs to the paravisor; the guest's own level works."""
    error = fault_of(guest_of(vmpl=2))
    assert error.fault is TeeFault.REFUSED
    assert "paravisor" in error.hint
    assert attester_of(guest_of(vmpl=2), vmpl=2).evidence(REPORT_DATA).value[0x30] == 2


@pytest.mark.parametrize("size", [0, 1183, 1185])
def test_a_report_of_another_size(size):
    """It is not handed on."""
    assert fault_of(guest_of(report_size=size)).fault is TeeFault.MALFORMED


def test_a_report_about_other_data():
    """It is not handed on."""
    assert fault_of(guest_of(signed_data=bytes(64))).fault is TeeFault.MALFORMED


@pytest.mark.parametrize(
    "edit", [lambda report: report.__setitem__(0, 9), lambda report: report.__setitem__(0x4C, 1)]
)
def test_a_report_that_no_client_could_read(edit):
    """It is refused here, where the operator sees it."""
    machine = FakeSnp(now=NOW, edit=edit)
    assert fault_of(FakeSevGuest(machine=machine)).fault is TeeFault.MALFORMED


@pytest.mark.parametrize("report_data", [b"", bytes(63), bytes(65)])
def test_report_data_of_another_size_is_our_own_mistake(report_data):
    """Nothing is asked of the firmware."""
    guest = guest_of()
    with pytest.raises(ValueError, match="64 bytes"):
        attester_of(guest).evidence(report_data)
    assert guest.requests == []


@pytest.mark.parametrize(
    ("knobs", "presence", "word"),
    [
        ({}, Presence.WORKS, ""),
        ({"open_error": errno.ENOENT}, Presence.ABSENT, "modprobe"),
        ({"open_error": errno.EACCES}, Presence.BROKEN, "root"),
        ({"vmpl": 1}, Presence.BROKEN, "paravisor"),
        ({"errors": {request: itertools.repeat((errno.ENOTTY, 0)) for request in EVERY_REPORT}},
         Presence.BROKEN, "VMPCK"),
    ],
)  # fmt: skip
def test_a_probe_asks_for_a_report(knobs, presence, word):
    """It works if one comes; else what is wrong, and what to do about it."""
    found = attester_of(guest_of(**knobs)).probe()
    assert (found.interface, found.tee, found.presence) == ("sev-guest", "sev-snp", presence)
    assert word in found.hint


def test_a_probe_of_this_machine_does_not_raise():
    """Whatever this machine is."""
    assert SevGuest(sleep=lambda _: None).probe().interface == "sev-guest"
