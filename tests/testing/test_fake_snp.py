"""The fake SEV-SNP machine and each of its faults, judged by a reference check of these tests' own."""

from __future__ import annotations

import datetime

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from blindai.attestation.trust import SIMULATION_MARK
from blindai.attestation.types import SNP_REPORT
from blindai.tee.attester import Attester
from blindai.testing import EXPIRED, NOT_YET_VALID, FakeSnp, SnpMachine, SnpTcb
from tests.testing.snp_reference import (
    NOW,
    PRODUCTS,
    REPORT_DATA,
    amd_extensions,
    certificates,
    faults,
    report_of,
)

# Serial number 0 is what makes a VCEK genuine.
pytestmark = pytest.mark.filterwarnings("ignore:Parsed a serial number")


def test_it_is_an_attester():
    """The fake fits the protocol that a server expects of every evidence producer."""
    snp = FakeSnp(now=NOW)
    attester: Attester = snp
    assert (attester.tee, attester.simulated) == ("sev-snp", True)
    assert snp.evidence(REPORT_DATA).media_type == SNP_REPORT
    assert report_of(snp)[0x50:0x90] == REPORT_DATA


def test_it_counts_from_the_clock_by_default():
    """Without `now` the certificates are valid at this moment."""
    leaf, *_ = certificates(FakeSnp())
    now = datetime.datetime.now(datetime.UTC)
    assert leaf.not_valid_before_utc < now < leaf.not_valid_after_utc


@pytest.mark.parametrize("product", PRODUCTS)
@pytest.mark.parametrize("leaf", ["vcek", "vlek"])
@pytest.mark.parametrize("version", [2, 3, 4, 5])
def test_a_healthy_machine_has_no_fault(product, leaf, version):
    """Every product, key kind and report version passes the reference check, on one root for all."""
    snp = FakeSnp(now=NOW, product=product, leaf=leaf, version=version)
    assert faults(snp) == set()
    assert report_of(snp)[0] == version


NEGATIVES = [
    ({"leaf_chip_id": b"\x01" * 64}, {"chip"}),
    ({"chip_id": bytes(64), "leaf_chip_id": b"\x01" * 64}, {"chip"}),
    ({"leaf_tcb": SnpTcb(4, 0, 24, 218)}, {"tcb"}),
    ({"product": "Turin", "version": 5, "tcb_layout": "Milan"}, {"tcb"}),
    ({"tcb_layout": "Turin"}, {"tcb"}),
    ({"leaf_product": "Genoa"}, {"product"}),
    ({"signing_key": 1}, {"kind", "product"}),
    ({"leaf": "vlek", "signing_key": 0}, {"kind", "product"}),
    ({"signing_key": 7}, set()),
    ({"leaf_by_stranger": True}, {"leaf signature"}),
    ({"leaf": "vlek", "leaf_by_stranger": True}, {"leaf signature"}),
    ({"issuer_by_stranger": True}, {"issuer signature"}),
    ({"leaf_curve": "P-256"}, {"curve"}),
    ({"leaf_window": EXPIRED}, {"leaf dates"}),
    ({"leaf_window": NOT_YET_VALID}, {"leaf dates"}),
    ({"issuer_window": EXPIRED}, {"issuer dates"}),
    ({"issuer_window": NOT_YET_VALID}, {"issuer dates"}),
    ({"root_window": EXPIRED}, {"root dates"}),
    ({"crl": EXPIRED}, {"crl dates"}),
    ({"crl": NOT_YET_VALID}, {"crl dates"}),
    ({"crl": None}, {"crl missing"}),
    ({"crl_by_stranger": True}, {"crl signature"}),
    ({"leaf": "vlek", "leaf_revoked": True}, {"leaf revoked"}),
    ({"issuer_revoked": True}, {"issuer revoked"}),
    ({"signed_by_stranger": True}, {"signature"}),
    ({"unsigned": True}, {"signature"}),
    ({"flipped_bit_at": 0x90}, {"signature"}),
    ({"flipped_bit_at": 0x2A0}, {"signature"}),
    ({"trailing": b"\0"}, {"length"}),
    ({"product": "Turin", "leaf_chip_id": bytes(8)}, {"chip"}),
]


@pytest.mark.parametrize(("knobs", "expected"), NEGATIVES, ids=[",".join(knobs) for knobs, _ in NEGATIVES])
def test_a_knob_turns_one_thing_wrong(knobs, expected):
    """Each negative has the fault that it is named after, and no other."""
    assert faults(FakeSnp(now=NOW, **knobs)) == expected


POLICY_BITS = [
    ({}, 0x3001F), ({"debug": True}, 0xB001F), ({"migrate_ma": True}, 0x7001F), ({"smt": False}, 0x2001F),
    ({"single_socket": True}, 0x13001F), ({"abi_major": 1, "abi_minor": 51}, 0x30133),
    ({"more_policy": 1 << 24}, 0x103001F), ({"policy": 0x1}, 0x1),
]  # fmt: skip


@pytest.mark.parametrize(("knobs", "expected"), POLICY_BITS)
def test_guest_policy_bits(knobs, expected):
    """The guest policy has its bits where the firmware puts them; the default is that of the samples."""
    report = report_of(FakeSnp(now=NOW, **knobs))
    assert int.from_bytes(report[8:16], "little") == expected


def test_flags_tell_author_mask_and_key():
    """Bit 0: an author key was used; bit 1: the chip key is masked; bits 2 to 4: which key signed."""
    snp = FakeSnp(now=NOW, author_key_digest=b"\x01" * 48, mask_chip_key=True, signing_key=7)
    assert report_of(snp)[0x48:0x50] == bytes([0b11111, 0, 0, 0, 0, 0, 0, 0])


def test_an_edited_report_is_signed_as_edited():
    """`edit` works before the signature, `edit_signed` after it: both reach reserved bytes."""
    before = FakeSnp(now=NOW, edit=lambda report: report.__setitem__(0x4C, 1))
    after = FakeSnp(now=NOW, edit_signed=lambda report: report.__setitem__(0x49F, 1))
    assert (report_of(before)[0x4C], faults(before)) == (1, set())
    assert (report_of(after)[0x49F], faults(after)) == (1, set())


def test_leaf_extensions_can_be_edited():
    """An extension of the leaf can be dropped or spoilt under a good signature."""
    snp = FakeSnp(now=NOW, edit_leaf=lambda found: found.pop("1.3.6.1.4.1.3704.1.4"))
    leaf, *_ = certificates(snp)
    assert "4" not in amd_extensions(leaf)
    assert faults(snp) == {"kind"}


def test_crl_number_and_revocations_are_told():
    """The CRL has the number it was given, and lists a VLEK by its serial number."""
    snp = FakeSnp(now=NOW, leaf="vlek", leaf_revoked=True, crl_number=7)
    crl = x509.load_der_x509_crl(snp.crl)
    assert crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == 7
    assert [entry.serial_number for entry in crl] == [certificates(snp)[0].serial_number]


def test_every_certificate_says_that_it_is_a_simulation():
    """Organisation and common name of all three carry the mark, and so do the issuers' names."""
    for certificate in certificates(FakeSnp(now=NOW)):
        for name in (certificate.subject, certificate.issuer):
            organization = name.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)[0].value
            common_name = name.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
            assert organization == SIMULATION_MARK
            assert common_name.startswith(SIMULATION_MARK)


def test_a_root_is_shared_on_demand():
    """Two fakes have different roots unless the second is given the first one's."""
    first = FakeSnp(now=NOW)
    assert FakeSnp(now=NOW).root_sha256 != first.root_sha256
    second = FakeSnp(now=NOW + 86400, product="Genoa", root=first.root)
    assert (second.root_sha256, second.root_der) == (first.root_sha256, first.root_der)
    assert faults(second) == set()


@pytest.mark.parametrize(
    "knobs",
    [
        {"product": "Rome"}, {"tcb_layout": "Rome"}, {"leaf": "ask"}, {"measurement": b"short"},
        {"chip_id": bytes(8)}, {"leaf_revoked": True},
    ],
    ids=",".join,
)  # fmt: skip
def test_an_impossible_machine_raises(knobs):
    """A knob that cannot be turned that far is an error, not a healthy machine."""
    with pytest.raises(ValueError, match=next(iter(knobs)).split("_")[0]):
        FakeSnp(now=NOW, **knobs)


def test_a_knob_that_does_not_exist_raises():
    """A misspelt knob is an error, not a healthy machine."""
    with pytest.raises(TypeError):
        FakeSnp(now=NOW, debugg=True)


def test_report_data_have_64_bytes():
    """Other lengths would shift nothing and overwrite much."""
    with pytest.raises(ValueError, match="64"):
        FakeSnp(now=NOW).evidence(bytes(32))


def test_the_defaults_are_a_machine_without_opinions():
    """`FakeSnp()` is `SnpMachine()`: knobs are its fields and nothing else."""
    assert FakeSnp(now=NOW).machine == SnpMachine()
    assert FakeSnp(now=NOW, vmpl=3).machine == SnpMachine(vmpl=3)
