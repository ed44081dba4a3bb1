"""Gramine's files: a quote of what was asked for, or an error that says what to do."""

from __future__ import annotations

import errno
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from blindai.attestation import vendors
from blindai.attestation.trust import ProductionTrust, SimulationTrust
from blindai.attestation.types import MAX_EVIDENCE_BYTES, SGX_QUOTE
from blindai.errors import AttestationError, Reason, TeeError, TeeFault
from blindai.tee.attester import Attester
from blindai.tee.gramine import GramineSgx
from blindai.tee.probe import Presence
from blindai.testing import FakeSgx
from blindai.testing.gramine import FakeGramine

NOW = 1_790_000_000
REPORT_DATA = bytes(range(64))
CANARY = b"what-a-device-sent"


def named(value):
    """Name a test by its knobs; functions have no name that every worker agrees on."""
    if not isinstance(value, dict):
        return str(value)
    return ",".join(name if callable(knob) else f"{name}={knob}"[:50] for name, knob in value.items())


@pytest.fixture(scope="module")
def machine():
    return FakeSgx(now=NOW)


def attester(fake):
    return GramineSgx(fake.folder, fake)


def refused(fake):
    """Return the error of a quote, after a look at what it tells."""
    with pytest.raises(TeeError) as caught:
        attester(fake).evidence(REPORT_DATA)
    assert CANARY.decode() not in f"{caught.value!r} {caught.value.hint}"
    return caught.value


def test_a_quote_verifies_and_carries_the_report_data(machine):
    """The production verifier accepts the quote under the machine's root, and finds our 64 bytes in it."""
    producer: Attester = attester(FakeGramine(machine=machine))
    assert (producer.tee, producer.simulated) == ("sgx", False)
    evidence = producer.evidence(REPORT_DATA)
    assert evidence.media_type == SGX_QUOTE
    trust = SimulationTrust([machine.root_sha256])
    claims = vendors.verify(evidence, machine.collateral(), trust=trust, now=NOW)
    assert claims.report_data == REPORT_DATA
    with pytest.raises(AttestationError) as caught:
        vendors.verify(evidence, machine.collateral(), trust=ProductionTrust(), now=NOW)
    assert caught.value.reason is Reason.ROOT_UNKNOWN


def test_zeros_behind_a_quote_stay_behind(machine):
    """What pads a quote is not evidence, and does not travel."""
    quotes = []

    def padded(quote):
        quotes.append(quote)
        return quote.ljust(8192, b"\0")

    assert attester(FakeGramine(machine=machine, edit_quote=padded)).evidence(REPORT_DATA).value == quotes[0]


def test_no_file_is_read_without_a_bound(machine):
    """The host decides how long a quote is: no more of it is read than evidence may have, and one byte."""
    fake, bounds = FakeGramine(machine=machine), {}

    class Files:
        write = fake.write

        def read(self, path, max_bytes):
            bounds[path.name] = max_bytes
            return fake.read(path, max_bytes)

    GramineSgx(fake.folder, Files()).evidence(REPORT_DATA)
    assert bounds == {"attestation_type": 65, "quote": MAX_EVIDENCE_BYTES + 1}


@pytest.mark.parametrize("size", [0, 32, 63, 65])
def test_report_data_have_64_bytes(machine, size):
    """Gramine would pad or cut other lengths in silence; they are not even asked for."""
    fake = FakeGramine(machine=machine)
    with pytest.raises(ValueError, match="64"):
        attester(fake).evidence(bytes(size))
    assert fake.written == []


@pytest.mark.parametrize(
    ("knobs", "fault", "hint"),
    [
        ({"direct": True}, TeeFault.ABSENT, "gramine-direct has no enclave"),
        ({"attestation_type": b"none"}, TeeFault.NOT_CONFIGURED, 'sgx.remote_attestation = "dcap"'),
        ({"attestation_type": b"none\n"}, TeeFault.NOT_CONFIGURED, 'sgx.remote_attestation = "dcap"'),
        ({"attestation_type": b"epid"}, TeeFault.UNSUPPORTED, 'sgx.remote_attestation = "dcap"'),
        ({"attestation_type": CANARY}, TeeFault.UNSUPPORTED, 'sgx.remote_attestation = "dcap"'),
        ({"attestation_type": b""}, TeeFault.UNSUPPORTED, 'sgx.remote_attestation = "dcap"'),
        ({"attestation_type": b"dcap" * 17}, TeeFault.TOO_LARGE, ""),
        ({"errors": {"quote": errno.EACCES}}, TeeFault.FAILED, "aesmd"),
        ({"errors": {"quote": errno.EPERM}}, TeeFault.NOT_ALLOWED, "loader.uid"),
        ({"errors": {"quote": errno.ENOENT}}, TeeFault.ABSENT, ""),
        ({"errors": {"quote": errno.ENOMEM}}, TeeFault.FAILED, "log"),
        ({"errors": {"quote": errno.EBUSY}}, TeeFault.BUSY, "next try"),
        ({"errors": {"quote": errno.EAGAIN}}, TeeFault.BUSY, "next try"),
        ({"errors": {"quote": errno.ETIMEDOUT}}, TeeFault.TIMEOUT, "next try"),
        ({"errors": {"user_report_data": errno.EACCES}}, TeeFault.NOT_ALLOWED, "loader.uid"),
        ({"errors": {"attestation_type": errno.EACCES}}, TeeFault.NOT_ALLOWED, "loader.uid"),
        ({"errors": {"attestation_type": errno.EIO}}, TeeFault.FAILED, "log"),
        ({"errors": {"attestation_type": errno.ENOTDIR}}, TeeFault.ABSENT, ""),
        ({"taken": 0}, TeeFault.FAILED, ""),
        ({"taken": 32}, TeeFault.FAILED, ""),
        ({"raced": 3}, TeeFault.RACED, "let it stop"),
        ({"edit_quote": lambda quote: b""}, TeeFault.MALFORMED, "quote provider"),
        ({"edit_quote": lambda quote: CANARY}, TeeFault.MALFORMED, "quote provider"),
        ({"edit_quote": lambda quote: quote[:400]}, TeeFault.MALFORMED, "quote provider"),
        ({"edit_quote": lambda quote: quote[:-1]}, TeeFault.MALFORMED, "quote provider"),
        ({"edit_quote": lambda quote: quote + CANARY}, TeeFault.MALFORMED, "quote provider"),
        ({"edit_quote": lambda quote: b"\4" + quote[1:]}, TeeFault.MALFORMED, "quote provider"),
        ({"edit_quote": lambda quote: quote + bytes(MAX_EVIDENCE_BYTES)}, TeeFault.TOO_LARGE, ""),
    ],
    ids=named,
)
def test_each_fault_has_its_word(machine, knobs, fault, hint):
    """What goes wrong is told apart, with what to do about it, and nothing of what the host sent."""
    error = refused(FakeGramine(machine=machine, **knobs))
    assert error.fault is fault
    assert hint in error.hint


def test_the_type_is_asked_before_anything_is_written(machine):
    """An enclave without attestation is left as it was: no report data, no quote."""
    fake = FakeGramine(machine=machine, attestation_type=b"none")
    refused(fake)
    assert (fake.written, fake.quotes) == ([], 0)


def test_a_race_that_was_lost_is_run_again(machine):
    """A quote with another thread's report data is not handed out: it is asked for again."""
    fake = FakeGramine(machine=machine, raced=2)
    assert attester(fake).evidence(REPORT_DATA).value[368:432] == REPORT_DATA
    assert fake.quotes == 3
    refused(fake := FakeGramine(machine=machine, raced=9))
    assert fake.quotes == 3


def test_threads_take_turns(machine):
    """Threads with attesters of their own get their own report data, each at the first try."""
    fake = FakeGramine(machine=machine, seconds=0.01)
    wanted = [bytes([number]) * 64 for number in range(8)]
    start = threading.Barrier(len(wanted))

    def ask(report_data):
        start.wait()
        return attester(fake).evidence(report_data).value[368:432]

    with ThreadPoolExecutor(len(wanted)) as pool:
        assert list(pool.map(ask, wanted)) == wanted
    assert fake.quotes == len(wanted)


def test_a_quote_that_hangs_makes_others_wait_and_no_more(machine):
    """While a quote does not come nobody gets another's; when it comes both get theirs."""
    fake = FakeGramine(machine=machine, hang=threading.Event())
    wanted = [bytes([number]) * 64 for number in range(2)]
    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(attester(fake).evidence, report_data) for report_data in wanted]
        try:
            assert not any(future.done() for future in asked)
        finally:
            fake.hang.set()
        assert [future.result().value[368:432] for future in asked] == wanted


def test_a_failure_leaves_the_turn_free(machine):
    """After an error the next call goes on."""
    fake = FakeGramine(machine=machine, errors={"quote": errno.EACCES})
    refused(fake)
    fake.errors = {}
    assert attester(fake).evidence(REPORT_DATA).value[368:432] == REPORT_DATA


def test_a_probe_really_asks_for_a_quote(machine):
    """What works is said after a quote of zeros, and not before."""
    fake = FakeGramine(machine=machine)
    finding = attester(fake).probe()
    assert (finding.interface, finding.tee, finding.presence) == ("gramine", "sgx", Presence.WORKS)
    assert (fake.written, fake.quotes, finding.hint) == ([bytes(64)], 1, "")


def test_a_probe_says_what_clients_will_not_accept():
    """A debug enclave gives evidence, which is worth nothing to a client: its operator learns it here."""
    finding = attester(FakeGramine(machine=FakeSgx(now=NOW, debug=True))).probe()
    assert finding.presence is Presence.WORKS
    assert "debug" in finding.seen
    assert "sgx.debug = false" in finding.hint


@pytest.mark.parametrize(
    ("knobs", "presence"),
    [
        ({"direct": True}, Presence.ABSENT),
        ({"attestation_type": b"none"}, Presence.BROKEN),
        ({"errors": {"quote": errno.EACCES}}, Presence.BROKEN),
        ({"raced": 3}, Presence.BROKEN),
        ({"edit_quote": lambda quote: CANARY}, Presence.BROKEN),
    ],
    ids=named,
)
def test_a_probe_raises_nothing(machine, knobs, presence):
    """What does not work is a finding, with the hint of the error."""
    finding = attester(FakeGramine(machine=machine, **knobs)).probe()
    assert finding.presence is presence
    assert finding.hint
    assert CANARY.decode() not in f"{finding}"


def test_files_that_are_served_one_by_one(machine, tmp_path: Path):
    """Through real files: one write of 64 bytes, then the quote, read to its end."""
    (tmp_path / "attestation_type").write_bytes(b"dcap")
    with kernel(machine, tmp_path) as received:
        evidence = GramineSgx(tmp_path).evidence(REPORT_DATA)
    assert received == [REPORT_DATA]
    claims = vendors.verify(
        evidence, machine.collateral(), trust=SimulationTrust([machine.root_sha256]), now=NOW
    )
    assert claims.report_data == REPORT_DATA


@contextmanager
def kernel(machine, folder):
    """Serve both files once, by a thread that answers what it was written."""
    asked, quote = folder / "user_report_data", folder / "quote"
    for path in (asked, quote):
        os.mkfifo(path)
    received = []

    def serve():
        received.append(asked.read_bytes())
        if received[0]:
            quote.write_bytes(machine.evidence(received[0]).value)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield received
    finally:
        for path in (asked, quote):  # a thread that still waits for the other end sees it come and go
            os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK))
        thread.join()


def test_files_that_nothing_stands_behind(machine, tmp_path: Path):
    """A quote that lies there, however genuine, is not one of what was asked."""
    (tmp_path / "attestation_type").write_bytes(b"dcap")
    (tmp_path / "user_report_data").touch()
    (tmp_path / "quote").write_bytes(machine.evidence(bytes(64)).value)
    with pytest.raises(TeeError) as caught:
        GramineSgx(tmp_path).evidence(REPORT_DATA)
    assert caught.value.fault is TeeFault.RACED
    assert (tmp_path / "user_report_data").read_bytes() == REPORT_DATA


def test_an_empty_folder_proves_nothing(tmp_path: Path):
    """As in gramine-direct, where only `keys` is there: nothing is found, and nothing is made."""
    (tmp_path / "keys").mkdir()
    assert GramineSgx(tmp_path).probe().presence is Presence.ABSENT
    (tmp_path / "attestation_type").write_bytes(b"dcap")
    assert GramineSgx(tmp_path).probe().presence is Presence.ABSENT
    assert sorted(path.name for path in tmp_path.iterdir()) == ["attestation_type", "keys"]
