"""Detection asks each interface, survives whatever it does, and takes the first that works."""

from __future__ import annotations

import errno
import os
import threading

import pytest

from blindai.attestation.types import Evidence
from blindai.errors import TeeError, TeeFault, UsageError
from blindai.tee.detect import detect, known_interfaces, no_attester
from blindai.tee.gramine import GramineSgx
from blindai.tee.nsm import Nsm
from blindai.tee.probe import Finding, Presence
from blindai.tee.sev_guest import SevGuest
from blindai.tee.tdx_guest import TdxGuest
from blindai.tee.tsm import ConfigfsReports, Tsm
from blindai.testing import FakeSnp
from blindai.testing.gramine import FakeGramine
from blindai.testing.nsm import FakeNsm
from blindai.testing.sev_guest import FakeSevGuest
from blindai.testing.tsm import FakeTsm

CANARY = "what-a-device-sent"


class Interface:
    """An interface to a TEE that is what a test says; `probe` runs it."""

    simulated = False

    def __init__(self, interface, tee, answer):
        self.interface, self.tee, self._answer = interface, tee, answer
        self.tried = 0

    def probe(self) -> Finding:
        self.tried += 1
        return self._answer() if callable(self._answer) else self._finding(self._answer)

    def evidence(self, report_data: bytes) -> Evidence:
        raise NotImplementedError

    def _finding(self, presence):
        return Finding(self.interface, self.tee, presence, f"it is {presence}", f"mend {self.interface}")


def raising(error):
    def answer():
        raise error

    return answer


def test_a_machine_without_a_tee():
    """Nothing works: there is no attester, and the error lists all that was tried and how to go on."""
    detection = detect([Interface(name, "", Presence.ABSENT) for name in ("first", "second")])
    assert (detection.attester, detection.interface, detection.found) == (None, "", ())
    error = no_attester(detection)
    assert isinstance(error, UsageError)
    assert "no TEE was found" in str(error)
    assert "absent  first   it is absent" in str(error)
    assert "second" in str(error)
    assert "mend" not in str(error)  # what is not there needs no mending
    assert "blindai doctor" in error.hint
    assert "--simulation" in error.hint


def test_the_first_that_works_is_the_attester():
    """What works is taken in the order of the interfaces; all of them are tried, and listed in that order."""
    interfaces = [
        Interface("a", "sgx", Presence.ABSENT),
        Interface("b", "sev-snp", Presence.BROKEN),
        Interface("c", "sev-snp", Presence.WORKS),
        Interface("d", "sev-snp", Presence.WORKS),
    ]
    detection = detect(interfaces)
    assert detection.attester is interfaces[2]
    assert detection.interface == "c"
    assert [finding.interface for finding in detection.findings] == ["a", "b", "c", "d"]
    assert [finding.interface for finding in detection.found] == ["c", "d"]
    assert [interface.tried for interface in interfaces] == [1, 1, 1, 1]


def test_what_is_broken_is_said_with_what_to_do():
    """An interface that is there and does not work is no TEE; the error says what to do about it."""
    detection = detect([Interface("tsm", "tdx", Presence.BROKEN)])
    assert detection.attester is None
    message = str(no_attester(detection))
    assert "is there, and gives no evidence" in message
    assert "broken  tsm  it is broken (tdx)" in message
    assert "hint: mend tsm" in message


@pytest.mark.parametrize(
    ("error", "seen", "hint"),
    [
        (
            TeeError(TeeFault.NOT_ALLOWED, "the device cannot be opened", hint="run as its owner"),
            "the device cannot be opened [not-allowed]",
            "run as its owner",
        ),
        (PermissionError(1, "Operation not permitted", "/dev/x"), "Operation not permitted", ""),
        (OSError(), "trying it failed with OSError", ""),
        (RuntimeError(CANARY), "trying it failed with RuntimeError", ""),
        (UnicodeDecodeError("ascii", CANARY.encode(), 0, 1, CANARY), "UnicodeDecodeError", ""),
        (SystemExit(CANARY), "trying it failed with SystemExit", ""),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_probe_that_raises(error, seen, hint):
    """It is broken, not fatal; foreign words are not repeated, and the next interface is tried."""
    good = Interface("good", "tdx", Presence.WORKS)
    detection = detect([Interface("bad", "sgx", raising(error)), good], timeout_seconds=60)
    broken = detection.findings[0]
    assert (broken.interface, broken.presence, broken.hint) == ("bad", Presence.BROKEN, hint)
    assert seen in broken.seen
    assert CANARY not in detection.describe()
    assert detection.attester is good


def test_a_probe_that_hangs():
    """It is given up after its time, and the next one is tried; what it says later counts for nothing."""
    release, ended = threading.Event(), threading.Event()

    def hang():
        release.wait(60)
        ended.set()
        return Finding("hanging", "sgx", Presence.WORKS, "awake")

    good = Interface("good", "tdx", Presence.WORKS)
    try:
        detection = detect([Interface("hanging", "sgx", hang), good], timeout_seconds=0.05)
        prober = next(thread for thread in threading.enumerate() if thread.name == "probe-hanging")
        assert prober.daemon
    finally:
        release.set()
    prober.join(60)
    assert ended.is_set()
    hanging = detection.findings[0]
    assert hanging.presence is Presence.BROKEN
    assert "did not answer within 0.05 s" in hanging.seen
    assert "--timeout" in hanging.hint
    assert detection.attester is good


@pytest.fixture(scope="module")
def snp():
    """The device and the configfs of one SEV-SNP guest, and the interfaces to them."""
    machine = FakeSnp()
    device, tsm = FakeSevGuest(machine=machine), FakeTsm(machine)
    return tsm, device, [Tsm(tsm), SevGuest(device.opener, device.ioctl)]


def test_a_sev_snp_guest_has_two_ways_that_work(snp):
    """configfs-tsm is taken; both were asked for a report, and nothing stays in configfs."""
    tsm, device, interfaces = snp
    detection = detect(interfaces)
    assert [finding.presence for finding in detection.findings] == [Presence.WORKS] * 2
    assert (detection.attester, detection.interface) == (interfaces[0], "configfs-tsm")
    assert detection.attester.tee == detection.found[0].tee == "sev-snp"
    assert tsm.reports == 1
    assert device.requests
    assert tsm.entries == {}


def test_a_sev_snp_guest_of_an_older_kernel(tmp_path):
    """Without configfs-tsm the device is the attester."""
    device = FakeSevGuest(machine=FakeSnp())
    interfaces = [Tsm(ConfigfsReports(tmp_path / "none")), SevGuest(device.opener, device.ioctl)]
    detection = detect(interfaces)
    assert detection.findings[0].presence is Presence.ABSENT
    assert (detection.attester, detection.interface) == (interfaces[1], "sev-guest")


def test_an_enclave_of_gramine_and_one_of_nitro():
    """Each is found by the evidence that it gives."""
    gramine, nsm = FakeGramine(), FakeNsm()
    assert detect([GramineSgx(gramine.folder, gramine)]).found[0].tee == "sgx"
    assert detect([Nsm(nsm.opener, nsm.ioctl)]).found[0].tee == "nitro"


def test_a_report_that_does_not_come(snp):
    """A quoting service that hangs in the kernel is a broken interface, once its time is over."""
    hang = threading.Event()
    try:
        detection = detect([Tsm(FakeTsm(FakeSnp(), hang=hang)), *snp[2][1:]], timeout_seconds=1)
        prober = next(thread for thread in threading.enumerate() if thread.name == "probe-configfs-tsm")
    finally:
        hang.set()
    prober.join(60)
    assert detection.findings[0].presence is Presence.BROKEN
    assert detection.interface in ("sev-guest", "")  # "" on a machine too busy for a second's work


def test_an_attestation_folder_that_proves_nothing(tmp_path):
    """Neither an empty /dev/attestation nor that of gramine-direct, which has keys alone, is an enclave."""
    assert detect([GramineSgx(tmp_path)]).findings[0].presence is Presence.ABSENT
    (tmp_path / "keys").mkdir()
    assert detect([GramineSgx(tmp_path)]).attester is None
    (tmp_path / "attestation_type").write_text("none")
    detection = detect([GramineSgx(tmp_path)])
    assert detection.attester is None
    assert detection.findings[0].presence is Presence.BROKEN
    assert "sgx.remote_attestation" in detection.findings[0].hint


class NoProvider(ConfigfsReports):
    """configfs-tsm as the kernel has it while no TEE's driver is loaded."""

    def make(self, entry):
        raise OSError(errno.ENXIO, os.strerror(errno.ENXIO))


def test_configfs_without_a_tee_behind_it(tmp_path):
    """Neither the folder without a driver behind it nor a plain folder of that name is a TEE."""
    for reports in (NoProvider(tmp_path), ConfigfsReports(tmp_path)):
        detection = detect([Tsm(reports)])
        assert detection.attester is None
        assert detection.findings[0].presence is Presence.BROKEN
        assert detection.findings[0].hint
    assert list(tmp_path.iterdir()) == []


def forbidden() -> int:
    raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))


@pytest.mark.parametrize("kind", [SevGuest, Nsm])
def test_a_device_that_this_process_may_not_open(kind):
    """A device that gives EPERM is broken, with a hint, and no attester."""
    detection = detect([kind(opener=forbidden)])
    assert detection.attester is None
    assert detection.findings[0].presence is Presence.BROKEN
    assert "root" in detection.findings[0].hint
    assert "is there, and gives no evidence" in str(no_attester(detection))


@pytest.mark.parametrize("kind", [SevGuest, Nsm])
def test_a_device_that_is_something_else(kind):
    """A file of the device's name opens, and takes none of its requests."""
    detection = detect([kind(opener=lambda: os.open("/dev/null", os.O_RDWR))])
    assert detection.attester is None
    assert detection.findings[0].presence is Presence.BROKEN


def test_a_device_that_never_answers():
    """An ioctl that hangs holds up its own thread only."""
    release = threading.Event()

    def ioctl(_descriptor, _request, _argument):
        release.wait(60)
        raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))

    hanging = Nsm(opener=lambda: os.open("/dev/null", os.O_RDWR), ioctl=ioctl)
    try:
        detection = detect([hanging, Interface("good", "tdx", Presence.WORKS)], timeout_seconds=0.05)
        prober = next(thread for thread in threading.enumerate() if thread.name == "probe-nsm")
    finally:
        release.set()
    prober.join(60)
    assert detection.findings[0].interface == "nsm"
    assert detection.findings[0].presence is Presence.BROKEN
    assert detection.interface == "good"


def test_an_interface_without_a_name_is_called_by_its_class():
    """An outside prober that raises before it could say its name is still told apart."""

    class Odd:
        tee, simulated = "", False

        def probe(self):
            raise ValueError(CANARY)

    assert detect([Odd()]).findings[0].interface == "Odd"


def test_what_is_tried_on_a_machine():
    """Gramine first, for a host's devices seen from an enclave would speak for the host."""
    names = [type(interface).__name__ for interface in known_interfaces()]
    assert names == ["GramineSgx", "Tsm", "SevGuest", "Nsm", "TdxGuest"]


def test_this_machine_is_looked_at_without_harm():
    """The real interfaces answer, whatever they are here, one finding each, and none is simulated."""
    detection = detect()
    assert len(detection.findings) == len(known_interfaces())
    assert len({finding.interface for finding in detection.findings}) == len(detection.findings)
    if detection.attester is not None:
        assert not detection.attester.simulated


def test_a_tdx_device_alone(tmp_path):
    """/dev/tdx_guest without configfs is a broken TEE, with what to do; beside configfs it is not needed."""
    device, reports = tmp_path / "tdx_guest", tmp_path / "report"
    guest = TdxGuest(device, reports)
    assert guest.probe().presence is Presence.ABSENT
    device.touch()
    alone = detect([guest])
    assert alone.attester is None
    assert alone.findings[0].presence is Presence.BROKEN
    for what in ("6.7", "modprobe tdx_guest", "mount -t configfs"):
        assert what in alone.findings[0].hint
    reports.mkdir()
    assert detect([guest]).findings[0].presence is Presence.ABSENT
    with pytest.raises(TeeError) as refusal:
        guest.evidence(bytes(64))
    assert refusal.value.fault is TeeFault.UNSUPPORTED
