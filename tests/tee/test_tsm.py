"""Evidence through configfs-tsm: what comes of a request, and of other writers."""

from __future__ import annotations

import errno
import os

import pytest

from blindai.attestation import vendors
from blindai.attestation.trust import SimulationTrust
from blindai.attestation.types import SNP_REPORT, TDX_QUOTE
from blindai.errors import TeeError, TeeFault
from blindai.tee import certificate_table
from blindai.tee.attester import Attester, Certified
from blindai.tee.tsm import Tsm
from blindai.testing import FakeSnp, FakeTdx
from blindai.testing.certificate_table import certificate_table as table_of
from blindai.testing.tsm import FakeTsm
from tests.tee.tsm_requests import ALWAYS, BOTH, NOW, REPORT_DATA, SNP, TDX, fault_of


@pytest.mark.parametrize(
    ("machine", "media_type"),
    [
        (TDX, TDX_QUOTE),
        (FakeTdx(now=NOW, quote_version=5), TDX_QUOTE),
        (FakeTdx(now=NOW, quote_version=5, body_type=3), TDX_QUOTE),
        (SNP, SNP_REPORT),
        (FakeSnp(now=NOW, product="Turin", version=5, leaf="vlek"), SNP_REPORT),
    ],
    ids=["tdx-v4", "tdx-v5", "tdx-v5-td15", "snp", "snp-turin-vlek"],
)
def test_the_verifier_accepts_what_comes_out(machine, media_type):
    """The production verifier takes the evidence, under the fake's root, with the report data asked for."""
    fake = FakeTsm(machine)
    tsm = Tsm(fake)
    attester: Attester = tsm
    certified: Certified = tsm
    evidence = attester.evidence(REPORT_DATA)
    claims = vendors.verify(
        evidence, machine.collateral(), trust=SimulationTrust([machine.root_sha256]), now=NOW
    )
    assert (evidence.media_type, claims.report_data) == (media_type, REPORT_DATA)
    assert (attester.tee, attester.simulated, certified.certificates) == (machine.tee, False, b"")
    assert fake.entries == {}


def test_each_request_has_an_entry_of_its_own():
    """Names are never used twice, the input goes in with one write, and nothing stays."""
    fake = FakeTsm(TDX)
    tsm = Tsm(fake)
    for _ in range(3):
        tsm.evidence(REPORT_DATA)
    assert len(set(fake.made)) == fake.reports == 3
    assert fake.written == [("inblob", REPORT_DATA)] * 3
    assert fake.entries == {}


def test_the_tee_is_what_the_kernel_says():
    """It is asked for once, without a report."""
    fake = FakeTsm(SNP)
    tsm = Tsm(fake)
    assert [tsm.tee, tsm.tee] == ["sev-snp"] * 2
    assert (len(fake.made), fake.reports, fake.entries) == (1, 0, {})


@pytest.mark.parametrize("report_data", [b"", bytes(63), bytes(65)])
def test_report_data_of_another_size_is_our_own_mistake(report_data):
    """Nothing is asked of the kernel."""
    fake = FakeTsm(TDX)
    with pytest.raises(ValueError, match="64 bytes"):
        Tsm(fake).evidence(report_data)
    assert fake.made == []


# SEV-SNP: levels and certificates


@pytest.mark.parametrize("floor", [0, 1, 3])
def test_the_most_privileged_level_that_there_is_is_asked_for(floor):
    """Level 0, unless a paravisor has taken it; the report says so."""
    fake = FakeTsm(SNP, privlevel_floor=floor)
    report = Tsm(fake).evidence(REPORT_DATA).value
    assert fake.written == [("privlevel", b"%d" % floor), ("inblob", REPORT_DATA)]
    assert report[0x30] == floor


def test_a_floor_that_is_no_number():
    """It is not taken for the absence of levels."""
    assert fault_of(FakeTsm(SNP, attributes={"privlevel_floor": b"-1\n"})).fault is TeeFault.MALFORMED
    assert fault_of(FakeTsm(SNP, errors={"privlevel_floor": [errno.EIO]})).fault is TeeFault.FAILED


def test_certificates_come_with_the_report():
    """They are those of the newest report, as the host wrote them."""
    fake = FakeTsm(SNP, auxblob=table_of(SNP))
    tsm = Tsm(fake)
    assert tsm.certificates == b""
    tsm.evidence(REPORT_DATA)
    assert certificate_table.parse(tsm.certificates).members() == SNP.collateral()["amd"]
    fake.auxblob = b""
    tsm.evidence(REPORT_DATA)
    assert tsm.certificates == b""


@pytest.mark.parametrize(
    "lies",
    [{"errors": {"auxblob": [errno.EIO]}}, {"attributes": {"auxblob": bytes(64 * 1024 + 1)}}],
    ids=["unreadable", "too large"],
)
def test_certificates_that_cannot_be_had_cost_no_evidence(lies):
    """They are hints, and can be had elsewhere."""
    tsm = Tsm(FakeTsm(SNP, auxblob=table_of(SNP), **lies))
    assert len(tsm.evidence(REPORT_DATA).value) == 1184
    assert tsm.certificates == b""


# Other writers


@BOTH
@pytest.mark.parametrize("race", ["raced", "raced_after", "recreated"])
def test_another_writer_costs_a_try(machine, race):
    """Whenever the other one writes, the report is made again, and it is ours that is handed on."""
    fake = FakeTsm(machine, **{race: 3})
    evidence = Tsm(fake, sleep=lambda _: None).evidence(REPORT_DATA)
    claims = vendors.verify(
        evidence, machine.collateral(), trust=SimulationTrust([machine.root_sha256]), now=NOW
    )
    assert claims.report_data == REPORT_DATA
    assert 1 < len(fake.made) <= 4
    assert fake.entries == {}


@BOTH
@pytest.mark.parametrize("race", ["raced", "raced_after", "recreated"])
def test_another_writer_who_does_not_stop(machine, race):
    """Evidence about somebody else's data is never handed on."""
    fake = FakeTsm(machine, **{race: ALWAYS})
    assert fault_of(fake).fault is TeeFault.RACED
    assert len(fake.made) == 4


def test_a_raced_report_leaves_no_certificates():
    """What came with another's report is not shown beside ours."""
    fake = FakeTsm(SNP, auxblob=table_of(SNP), raced=ALWAYS)
    tsm = Tsm(fake, sleep=lambda _: None)
    with pytest.raises(TeeError):
        tsm.evidence(REPORT_DATA)
    assert tsm.certificates == b""


@pytest.mark.parametrize("generation", [b"", b"x\n", b"-1\n", b"1" * 65])
def test_a_generation_that_is_no_number(generation):
    """Nothing is counted from what cannot be counted."""
    assert fault_of(FakeTsm(TDX, attributes={"generation": generation})).fault in (
        TeeFault.MALFORMED,
        TeeFault.TOO_LARGE,
    )


@BOTH
def test_an_input_that_the_kernel_did_not_take(machine):
    """Closing the file says nothing of it; the report refuses to be made."""
    assert fault_of(FakeTsm(machine, lost=ALWAYS)).fault is TeeFault.REFUSED


def test_an_input_that_was_taken_in_part():
    """The rest is not sent after it: that would be another input."""
    fake = FakeTsm(TDX, taken=63)
    assert fault_of(fake).fault is TeeFault.FAILED
    assert fake.written == [("inblob", REPORT_DATA[:63])]


# Entries that cannot be removed


def test_evidence_survives_an_entry_that_stays():
    """It is removed with the next one."""
    fake = FakeTsm(TDX, errors={"remove": [errno.EBUSY, errno.EBUSY]})
    tsm = Tsm(fake)
    assert tsm.evidence(REPORT_DATA).value[568:632] == REPORT_DATA
    assert len(fake.entries) == 1
    tsm.evidence(REPORT_DATA)
    assert len(fake.entries) == 1  # the first is refused again, the second goes
    tsm.evidence(REPORT_DATA)
    assert fake.entries == {}


def test_a_fault_survives_an_entry_that_stays():
    """What is said is why there is no evidence."""
    fake = FakeTsm(TDX, errors={"remove": [errno.EBUSY], "outblob": [errno.EIO]})
    with pytest.raises(TeeError) as caught:
        Tsm(fake).evidence(REPORT_DATA)
    assert caught.value.fault is TeeFault.FAILED


def test_entries_that_stay_are_tried_so_often():
    """A folder from which nothing can be removed does not make every request dearer than the last."""
    removals: list[str] = []

    class Stuck(FakeTsm):
        def remove(self, entry: str) -> None:
            removals.append(entry)
            raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    tsm = Tsm(Stuck(TDX))
    for _ in range(40):
        tsm.evidence(REPORT_DATA)
    removals.clear()
    tsm.evidence(REPORT_DATA)
    assert len(removals) == 17
