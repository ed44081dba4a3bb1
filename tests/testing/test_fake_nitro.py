"""The fake Nitro enclave and each of its faults, judged by a reference check of these tests' own."""

from __future__ import annotations

import time

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from blindai.attestation.trust import SIMULATION_MARK
from blindai.attestation.types import NITRO_DOCUMENT
from blindai.tee.attester import Attester
from blindai.testing import EXPIRED, NOT_YET_VALID, FakeNitro, NitroEnclave, Window
from tests.testing import genuine, nitro_reference
from tests.testing.nitro_reference import MEMBERS, NOW, REPORT_DATA, decode

GENUINE = ["prod-nonce-2022", "debug-2022", "debug-fastcrypto-2024"]


def document_of(nitro):
    return nitro.evidence(REPORT_DATA).value


def members_of(document):
    return dict(decode(decode(document)[2]))


def certificates(document):
    members = members_of(document)
    return [x509.load_der_x509_certificate(der) for der in (*members["cabundle"], members["certificate"])]


def faults(nitro):
    return nitro_reference.faults(document_of(nitro), nitro.root_der)


def test_it_is_an_attester():
    """The fake fits the protocol that a server expects of every evidence producer."""
    nitro = FakeNitro(now=NOW)
    attester: Attester = nitro
    assert (attester.tee, attester.simulated, attester.collateral()) == ("nitro", True, {})
    assert nitro.evidence(REPORT_DATA).media_type == NITRO_DOCUMENT
    assert members_of(document_of(nitro))["user_data"] == REPORT_DATA


def test_it_counts_from_the_clock_by_default():
    """Without `now` a document tells the time at which it was made, in milliseconds."""
    before = time.time()
    nitro = FakeNitro()
    document = document_of(nitro)
    assert before - 1 <= members_of(document)["timestamp"] / 1000 <= time.time() + 1
    assert nitro_reference.faults(document, nitro.root_der, now=int(time.time())) == set()


@pytest.mark.parametrize(
    "knobs",
    [
        {}, {"tagged": True}, {"indefinite": True}, {"public_key": b"\x01" * 300}, {"nonce": b"\x02" * 32},
        {"pcrs": {8: b"\x03" * 48}}, {"timestamp_offset": -240},
    ],
    ids=lambda knobs: ",".join(knobs) or "healthy",
)  # fmt: skip
def test_a_healthy_enclave_has_no_fault(knobs):
    """Every shape that genuine documents have passes the reference check."""
    assert faults(FakeNitro(now=NOW, **knobs)) == set()


def flip_signature(envelope):
    envelope[3] = bytes([envelope[3][0] ^ 1]) + envelope[3][1:]


def reverse_bundle(bundle):
    bundle.reverse()


NEGATIVES = [
    ({"debug": True}, {"debug"}),
    ({"timestamp_offset": -301}, {"timestamp"}),
    ({"timestamp_offset": 301}, {"timestamp"}),
    ({"payload": {"timestamp": NOW}}, {"timestamp"}),
    ({"digest": "SHA512"}, {"digest"}),
    ({"pcrs": {4: bytes(32)}}, {"digest"}),
    ({"protected": bytes.fromhex("a1013823")}, {"headers"}),
    ({"edit_envelope": lambda envelope: envelope[1].update({4: b"key"})}, {"headers"}),
    ({"repeated": "user_data"}, {"repeated"}),
    ({"left_out": ("nonce",)}, {"members"}),
    ({"payload": {"more": 1}}, {"members"}),
    ({"edit_payload": lambda members: members.pop("module_id")}, {"members"}),
    ({"signed_by_stranger": True}, {"signature"}),
    ({"edit_envelope": flip_signature}, {"signature"}),
    ({"flipped_bit_at": -1}, {"signature"}),
    ({"leaf_curve": "P-256"}, {"curve"}),
    ({"leaf_curve": "P-521"}, {"curve"}),
    ({"leaf_by_stranger": True}, {"issued 4"}),
    ({"authority_by_stranger": "region"}, {"issued 1"}),
    ({"authority_by_stranger": "zone"}, {"issued 2"}),
    ({"authority_by_stranger": "instance"}, {"issued 3"}),
    ({"leaf_is_ca": True}, {"authority 4"}),
    ({"no_ca": "zone"}, {"authority 2"}),
    ({"no_cert_sign": "zone"}, {"authority 2"}),
    ({"path_lengths": (1, 1, 0)}, {"path length 1"}),
    ({"path_lengths": (2, 0, 0)}, {"path length 2"}),
    ({"path_lengths": (None, None, None)}, set()),
    ({"leaf_window": EXPIRED}, {"dates 4"}),
    ({"leaf_window": NOT_YET_VALID}, {"dates 4"}),
    ({"instance_window": EXPIRED}, {"dates 3"}),
    ({"zone_window": NOT_YET_VALID}, {"dates 2"}),
    ({"region_window": EXPIRED}, {"dates 1"}),
    ({"root_window": Window(-20, -10)}, {"dates 0"}),
    ({"edit_bundle": lambda bundle: bundle.pop(2)}, {"issued 2"}),
    ({"edit_bundle": lambda bundle: bundle.pop(0)}, {"root"}),
    ({"edit_bundle": reverse_bundle}, {"root", "issued 1", "issued 2", "issued 3", "issued 4",
                                       "path length 0", "path length 1"}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("knobs", "expected"),
    NEGATIVES,
    ids=[f"{','.join(knobs)}: {sorted(names)}" for knobs, names in NEGATIVES],
)
def test_a_knob_turns_one_thing_wrong(knobs, expected):
    """Each negative has the fault that it is named after, and no other."""
    assert faults(FakeNitro(now=NOW, **knobs)) == expected


def test_a_foreign_root_can_be_put_in_front():
    """A document may show a trusted root that its chain does not come from, or come from another root."""
    trusted = FakeNitro(now=NOW)
    swapped = FakeNitro(now=NOW, edit_bundle=lambda bundle: bundle.__setitem__(0, trusted.root_der))
    assert nitro_reference.faults(document_of(swapped), trusted.root_der) == {"issued 1"}
    assert nitro_reference.faults(document_of(FakeNitro(now=NOW)), trusted.root_der) == {"root"}


def test_bytes_after_the_document_and_within_it():
    """Trailing bytes follow the envelope; `edit_payload_bytes` puts them inside the signature."""
    healthy = FakeNitro(now=NOW)
    outside = document_of(FakeNitro(now=NOW, trailing=b"\0\0"))
    inside = document_of(FakeNitro(now=NOW, edit_payload_bytes=lambda payload: payload + b"\0"))
    assert (outside[:8], outside[-2:]) == (document_of(healthy)[:8], b"\0\0")
    assert decode(inside)[2].endswith(b"\0")


def test_every_certificate_says_that_it_is_a_simulation():
    """Organisation and common name of the whole chain carry the mark, and so do the issuers' names."""
    for certificate in certificates(document_of(FakeNitro(now=NOW))):
        for name in (certificate.subject, certificate.issuer):
            assert name.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)[0].value == SIMULATION_MARK
            assert name.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value.startswith(SIMULATION_MARK)


def test_a_root_is_shared_on_demand():
    """Two fakes have different roots unless the second is given the first one's."""
    first = FakeNitro(now=NOW)
    assert FakeNitro(now=NOW).root_sha256 != first.root_sha256
    second = FakeNitro(now=NOW, root=first.root)
    assert (second.root_sha256, second.root_pem) == (first.root_sha256, first.root_pem)
    assert faults(second) == set()


def test_a_knob_that_does_not_exist_raises():
    """A misspelt knob, or an authority that there is not, is an error and not a healthy enclave."""
    with pytest.raises(TypeError):
        FakeNitro(now=NOW, debugg=True)
    with pytest.raises(ValueError, match="no_ca"):
        FakeNitro(now=NOW, no_ca="root")
    assert FakeNitro(now=NOW, debug=True).enclave == NitroEnclave(debug=True)


@pytest.mark.parametrize("name", GENUINE)
def test_a_genuine_document_is_imitated(name):
    """With the genuine values for knobs, everything but certificates and signature agrees to the byte."""
    document = genuine.read_file("nitro", name, "attestation_doc.cbor")
    members = members_of(document)
    assert list(members) == MEMBERS
    imitation = FakeNitro(now=NOW, payload={**members, "pcrs": dict(members["pcrs"])})
    assert decode(document_of(imitation))[:3] == decode(document)[:3]
    assert document_of(imitation)[:-96] == document[:-96]
    assert document_of(FakeNitro(now=NOW))[:6] == document[:6]


@pytest.mark.parametrize("name", GENUINE)
def test_a_genuine_chain_is_imitated(name):
    """Each certificate has the extensions, constraints and key uses of the genuine one in its place."""
    document = genuine.read_file("nitro", name, "attestation_doc.cbor")
    for one, other in zip(certificates(document_of(FakeNitro(now=NOW))), certificates(document), strict=True):
        assert one.signature_algorithm_oid == other.signature_algorithm_oid
        assert one.public_key().curve.name == other.public_key().curve.name
        for kind in (x509.BasicConstraints, x509.KeyUsage):
            assert one.extensions.get_extension_for_class(kind) == other.extensions.get_extension_for_class(
                kind
            )
    leaf = certificates(document_of(FakeNitro(now=NOW)))[-1]
    genuine_leaf = certificates(document)[-1]
    assert list(leaf.extensions) == list(genuine_leaf.extensions)
    life = leaf.not_valid_after_utc - leaf.not_valid_before_utc
    assert life == genuine_leaf.not_valid_after_utc - genuine_leaf.not_valid_before_utc


@pytest.mark.parametrize("name", GENUINE)
def test_the_reference_check_knows_genuine_documents(name):
    """What judges the fakes finds no forgery in genuine documents, and sees which are of debug enclaves."""
    document = genuine.read_file("nitro", name, "attestation_doc.cbor")
    members = members_of(document)
    found = nitro_reference.faults(document, members["cabundle"][0], now=members["timestamp"] // 1000)
    assert found == ({"debug"} if name.startswith("debug") else set())
