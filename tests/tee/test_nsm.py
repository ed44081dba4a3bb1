"""The Nitro security module: a document about what was asked for, or an error that says what to do."""

from __future__ import annotations

import errno
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from blindai.attestation import vendors
from blindai.attestation.trust import ProductionTrust, SimulationTrust
from blindai.attestation.types import NITRO_DOCUMENT
from blindai.errors import AttestationError, Reason, TeeError, TeeFault
from blindai.tee import nsm
from blindai.tee.attester import Attester
from blindai.tee.nsm import Nsm
from blindai.tee.probe import Presence
from blindai.testing import FakeNitro
from blindai.testing.cbor import Pairs, Raw, Tagged, encode
from blindai.testing.nsm import FakeNsm

NOW = 1_790_000_000
REPORT_DATA = bytes(range(64))
CANARY = "what-a-device-sent"


def named(value):
    """Name a test by its knobs; functions have no name that every worker agrees on."""
    if not isinstance(value, dict):
        return str(value)
    return ",".join(name if callable(knob) else f"{name}={knob}"[:50] for name, knob in value.items())


@pytest.fixture(scope="module")
def machine():
    return FakeNitro(now=NOW)


def attester(fake):
    return Nsm(fake.opener, fake.ioctl)


def refused(fake):
    """Return the error of a document, after a look at what it tells."""
    with pytest.raises(TeeError) as caught:
        attester(fake).evidence(REPORT_DATA)
    assert CANARY not in f"{caught.value!r} {caught.value.hint}"
    return caught.value


def test_a_document_verifies_and_carries_the_report_data(machine):
    """The production verifier accepts the document under the machine's root, and finds our 64 bytes in it."""
    producer: Attester = attester(FakeNsm(machine))
    assert (producer.tee, producer.simulated) == ("nitro", False)
    evidence = producer.evidence(REPORT_DATA)
    assert evidence.media_type == NITRO_DOCUMENT
    claims = vendors.verify(evidence, {}, trust=SimulationTrust([machine.root_sha256]), now=NOW)
    assert claims.report_data == REPORT_DATA
    with pytest.raises(AttestationError) as caught:
        vendors.verify(evidence, {}, trust=ProductionTrust(), now=NOW)
    assert caught.value.reason is Reason.ROOT_UNKNOWN


def test_the_request_is_the_one_that_aws_documents(machine):
    """Number, layout and every byte of both requests are pinned."""
    requests = []
    fake = FakeNsm(machine)

    def ioctl(descriptor, request, argument):
        address, length, response, room = nsm.RAW.unpack(argument)
        assert response != address
        requests.append((request, len(argument), room, nsm.ctypes.string_at(address, length)))
        return fake.ioctl(descriptor, request, argument)

    assert Nsm(fake.opener, ioctl).probe().presence is Presence.WORKS
    attestation = (
        "a1"  # map(1)
        "6b" + b"Attestation".hex() + "a3"  # map(3)
        "69" + b"user_data".hex() + "5840" + bytes(64).hex() + "65" + b"nonce".hex() + "f6"
        "6a" + b"public_key".hex() + "f6"
    )
    number = 3 << 30 | 32 << 16 | 0x0A << 8  # _IOWR(0x0A, 0, 32 bytes)
    assert requests == [
        (number, 32, 0x3000, b"\x6bDescribeNSM"),
        (number, 32, 0x3000, bytes.fromhex(attestation)),
    ]


@pytest.mark.parametrize("size", [0, 32, 63, 65])
def test_report_data_have_64_bytes(machine, size):
    """Other lengths are not padded, and not even asked for."""
    fake = FakeNsm(machine)
    with pytest.raises(ValueError, match="64"):
        attester(fake).evidence(bytes(size))
    assert fake.requests == []


DOCUMENT = {"Attestation": {"document": b""}}


@pytest.mark.parametrize(
    ("knobs", "fault"),
    [
        ({"open_error": errno.ENOENT}, TeeFault.ABSENT),
        ({"open_error": errno.ENXIO}, TeeFault.ABSENT),
        ({"open_error": errno.ENODEV}, TeeFault.ABSENT),
        ({"open_error": errno.EACCES}, TeeFault.NOT_ALLOWED),
        ({"open_error": errno.EPERM}, TeeFault.NOT_ALLOWED),
        ({"open_error": errno.EMFILE}, TeeFault.FAILED),
        ({"ioctl_error": errno.EPERM}, TeeFault.NOT_ALLOWED),
        ({"ioctl_error": errno.EACCES}, TeeFault.NOT_ALLOWED),
        ({"ioctl_error": errno.EMSGSIZE}, TeeFault.TOO_LARGE),
        ({"ioctl_error": errno.EBUSY}, TeeFault.BUSY),
        ({"ioctl_error": errno.EAGAIN}, TeeFault.BUSY),
        ({"ioctl_error": errno.ETIMEDOUT}, TeeFault.TIMEOUT),
        ({"ioctl_error": errno.EINVAL}, TeeFault.REFUSED),
        ({"ioctl_error": errno.ENOTTY}, TeeFault.REFUSED),
        ({"ioctl_error": errno.EIO}, TeeFault.FAILED),
        ({"ioctl_error": errno.ENODATA}, TeeFault.FAILED),
        ({"ioctl_error": errno.ENODEV}, TeeFault.FAILED),  # it was there when it was opened
        ({"error": "InvalidArgument"}, TeeFault.REFUSED),
        ({"error": "InvalidIndex"}, TeeFault.REFUSED),
        ({"error": "ReadOnlyIndex"}, TeeFault.REFUSED),
        ({"error": "InvalidOperation"}, TeeFault.REFUSED),
        ({"error": "InvalidResponse"}, TeeFault.MALFORMED),
        ({"error": "BufferTooSmall"}, TeeFault.TOO_LARGE),
        ({"error": "InputTooLarge"}, TeeFault.TOO_LARGE),
        ({"error": "InternalError"}, TeeFault.FAILED),
        ({"error": "Success"}, TeeFault.FAILED),
        ({"error": CANARY}, TeeFault.FAILED),
        ({"answer": {"Error": {CANARY: 1}}}, TeeFault.FAILED),
        ({"answer": {"Error": None}}, TeeFault.FAILED),
        ({"length": 0}, TeeFault.MALFORMED),
        ({"length": 0x3001}, TeeFault.MALFORMED),
        ({"length": 2**64 - 1}, TeeFault.MALFORMED),
        ({"length": 100}, TeeFault.MALFORMED),
        ({"length": 0x3000}, TeeFault.MALFORMED),  # zeros follow
        ({"answer": Raw(b"")}, TeeFault.MALFORMED),
        ({"answer": Raw(b"\xff")}, TeeFault.MALFORMED),
        ({"answer": Raw(CANARY.encode())}, TeeFault.MALFORMED),
        ({"answer": Raw(b"\x81" * 0x3000)}, TeeFault.MALFORMED),
        ({"answer": CANARY}, TeeFault.MALFORMED),
        ({"answer": "Attestation"}, TeeFault.MALFORMED),
        ({"answer": {}}, TeeFault.MALFORMED),
        ({"answer": [DOCUMENT]}, TeeFault.MALFORMED),
        ({"answer": Tagged(18, DOCUMENT)}, TeeFault.MALFORMED),
        ({"answer": {"Attestation": CANARY}}, TeeFault.MALFORMED),
        ({"answer": {"Attestation": {}}}, TeeFault.MALFORMED),
        ({"answer": {"Attestation": {"document": CANARY}}}, TeeFault.MALFORMED),
        ({"answer": {"Attestation": {"document": CANARY.encode()}}}, TeeFault.MALFORMED),
        ({"answer": DOCUMENT}, TeeFault.MALFORMED),
        ({"answer": {"DescribeNSM": {"document": b""}}}, TeeFault.MALFORMED),
        ({"answer": {**DOCUMENT, "Error": "InternalError"}}, TeeFault.MALFORMED),
        ({"answer": Pairs((*DOCUMENT.items(), *DOCUMENT.items()))}, TeeFault.MALFORMED),
        ({"edit_document": lambda document: document[:-1]}, TeeFault.MALFORMED),
        ({"edit_document": lambda document: document + b"\0"}, TeeFault.MALFORMED),
        ({"edit_document": lambda document: document + bytes(0x3000)}, TeeFault.MALFORMED),
        ({"user_data": bytes(64)}, TeeFault.MALFORMED),
        ({"user_data": REPORT_DATA[:63]}, TeeFault.MALFORMED),
        ({"user_data": REPORT_DATA + b"\0"}, TeeFault.MALFORMED),
    ],
    ids=named,
)
def test_each_fault_has_its_word(machine, knobs, fault):
    """What goes wrong is told apart, with what to do about it, and nothing of what the module sent."""
    error = refused(FakeNsm(machine, **knobs))
    assert error.fault is fault
    assert error.hint


def test_the_length_that_the_driver_tells_is_not_believed(machine):
    """An answer fills the room for it to the last byte at most; what lies behind is not ours."""
    fields = {"document": machine.evidence(REPORT_DATA).value, "more": b""}
    fields["more"] = bytes(nsm.RESPONSE_BYTES - len(encode({"Attestation": fields})) - 2)
    fake = FakeNsm(machine, answer={"Attestation": fields})
    assert len(encode(fake.answer)) == nsm.RESPONSE_BYTES
    assert attester(fake).evidence(REPORT_DATA).value == fields["document"]
    fake.length = nsm.RESPONSE_BYTES + 1
    assert refused(fake).fault is TeeFault.MALFORMED


@pytest.mark.parametrize("where", ["open_error", "ioctl_error"])
def test_a_missing_right_is_named(machine, where):
    """Who may not use the device learns which right the kernel wants."""
    assert "CAP_SYS_ADMIN" in refused(FakeNsm(machine, **{where: errno.EPERM})).hint


def test_a_document_signed_for_another_protocol_is_refused(machine):
    """A nonce or a key beside our data would make the proof worth nothing to a client."""
    for beside in ({"nonce": b"n" * 32}, {"public_key": b"k" * 32}):
        other = FakeNitro(now=NOW, root=machine.root, **beside)
        assert refused(FakeNsm(other)).fault is TeeFault.MALFORMED


def test_a_document_without_a_length_is_read(machine):
    """Some genuine documents are maps of open length; the module's own answer may be one as well."""
    other = FakeNitro(now=NOW, root=machine.root, indefinite=True)
    document = other.evidence(REPORT_DATA).value
    fake = FakeNsm(
        machine,
        answer=Pairs((("Attestation", Pairs((("document", document),), indefinite=True)),), indefinite=True),
    )
    assert attester(fake).evidence(REPORT_DATA).value == document


@pytest.mark.parametrize("knobs", [{}, {"ioctl_error": errno.EIO}, {"length": 0}, {"error": "InternalError"}])
def test_the_device_is_closed(machine, knobs):
    """Whatever it answers, no descriptor of the device stays open."""
    fake = FakeNsm(machine, **knobs)
    opened = []

    def opener():
        opened.append(fake.opener())
        return opened[-1]

    finding = Nsm(opener, fake.ioctl).probe()
    assert len(opened) == (1 if "ioctl_error" in knobs or "length" in knobs else 2), finding
    for descriptor in opened:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(descriptor)


def test_a_device_that_is_not_the_module():
    """The real ioctl on a device that does not know the request is refused by name."""
    with pytest.raises(TeeError) as caught:
        Nsm(opener=lambda: os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)).evidence(REPORT_DATA)
    assert caught.value.fault is TeeFault.REFUSED
    assert "another driver" in caught.value.hint


def test_threads_get_their_own_documents(machine):
    """Calls at the same time, one of which hangs a while, do not mix."""
    fake = FakeNsm(machine, hang=threading.Event())
    wanted = [bytes([number]) * 64 for number in range(4)]
    with ThreadPoolExecutor(len(wanted)) as pool:
        asked = [pool.submit(attester(fake).evidence, report_data) for report_data in wanted]
        fake.hang.set()
        for future, report_data in zip(asked, wanted, strict=True):
            assert report_data in future.result().value


def test_a_probe_asks_twice(machine):
    """The module describes itself, and then really signs a document about zeros."""
    fake = FakeNsm(machine)
    finding = attester(fake).probe()
    assert (finding.interface, finding.tee, finding.presence) == ("nsm", "nitro", Presence.WORKS)
    assert finding.hint == ""
    asked = {"user_data": bytes(64), "nonce": None, "public_key": None}
    assert fake.requests == ["DescribeNSM", {"Attestation": asked}]


def test_a_probe_says_what_clients_will_not_accept():
    """A debug enclave gives evidence, which is worth nothing to a client: its operator learns it here."""
    finding = attester(FakeNsm(FakeNitro(now=NOW, debug=True))).probe()
    assert finding.presence is Presence.WORKS
    assert "debug" in finding.seen
    assert "--debug-mode" in finding.hint


@pytest.mark.parametrize(
    ("knobs", "presence", "requests"),
    [
        ({"open_error": errno.ENOENT}, Presence.ABSENT, 0),
        ({"ioctl_error": errno.EPERM}, Presence.BROKEN, 0),
        ({"digest": "SHA512"}, Presence.BROKEN, 1),
        ({"digest": CANARY}, Presence.BROKEN, 1),
        ({"error": "InternalError"}, Presence.BROKEN, 2),
        ({"user_data": b"other"}, Presence.BROKEN, 2),
    ],
    ids=named,
)
def test_a_probe_raises_nothing(machine, knobs, presence, requests):
    """What does not work is a finding, with the hint of the error; a wrong description is enough."""
    fake = FakeNsm(machine, **knobs)
    finding = attester(fake).probe()
    assert (finding.presence, len(fake.requests)) == (presence, requests)
    assert finding.hint
    assert CANARY not in f"{finding}"
