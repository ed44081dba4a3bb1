"""The fake SEV-SNP machine beside genuine ones: with their values for knobs, it mints their bytes."""

from __future__ import annotations

import pytest
from cryptography import x509

from blindai.testing import FakeSnp, SnpTcb
from tests.testing import genuine
from tests.testing.snp_reference import NOW, PRODUCTS, amd_extensions, certificates

# Serial number 0 is what makes a VCEK genuine.
pytestmark = pytest.mark.filterwarnings("ignore:Parsed a serial number")

GENUINE = {"Milan": "milan-vcek-ok", "Genoa": "genoa-vcek-ok", "Turin": "turin-vcek-ok"}


def imitation(product, report):
    """Return the knobs that describe the machine of a genuine report."""
    turin = product == "Turin"
    fmc, *levels = report[0x180:0x184] if turin else (0, *report[0x180:0x182], report[0x186])
    return {
        "product": product,
        "version": report[0],
        "reported_tcb": SnpTcb(*levels, report[0x187], fmc=fmc),
        "chip_id": report[0x1A0:0x1E0],
        "guest_svn": report[4],
        "family_id": report[0x10:0x20],
        "image_id": report[0x20:0x30],
        "measurement": report[0x90:0xC0],
        "host_data": report[0xC0:0xE0],
        "id_key_digest": report[0xE0:0x110],
        "report_id": report[0x140:0x160],
        "platform_info": report[0x40],
        "firmware": tuple(reversed(report[0x1E8:0x1EB])),
        "launch_mitigations": report[0x1F8],
        "current_mitigations": report[0x200],
    }


@pytest.mark.parametrize("product", PRODUCTS)
def test_a_genuine_report_is_imitated_to_the_byte(product):
    """With the genuine values for knobs, the signed region and the zero bytes behind the signature agree."""
    report = genuine.read_file("snp", GENUINE[product], "report.bin")
    snp = FakeSnp(now=NOW, **imitation(product, report))
    minted = snp.evidence(bytes(64)).value
    assert minted[:0x2A0] == report[:0x2A0]
    for padding_at in (slice(0x2D0, 0x2E8), slice(0x318, 0x4A0)):
        assert minted[padding_at] == report[padding_at]


@pytest.mark.parametrize("product", PRODUCTS)
def test_genuine_certificates_are_imitated(product):
    """Leaf extensions agree byte by byte; serial, key, signature algorithm and CA extensions in kind."""
    report = genuine.read_file("snp", GENUINE[product], "report.bin")
    leaf = x509.load_der_x509_certificate(genuine.read_file("snp", GENUINE[product], "vcek.der"))
    chain = x509.load_pem_x509_certificates(genuine.read_file("snp", GENUINE[product], "ask_ark.pem"))
    minted = certificates(FakeSnp(now=NOW, **imitation(product, report)))
    assert list(minted[0].extensions) == list(leaf.extensions)
    assert minted[0].serial_number == leaf.serial_number == 0
    for one, other in zip(minted, (leaf, *chain), strict=True):
        assert shape(one) == shape(other)


def shape(certificate):
    extensions = [(extension.oid, extension.critical) for extension in certificate.extensions]
    kept = [
        extension.value
        for extension in certificate.extensions
        if isinstance(extension.value, x509.BasicConstraints | x509.KeyUsage)
    ]
    pss = certificate.signature_algorithm_parameters
    algorithm = certificate.signature_algorithm_oid, certificate.signature_hash_algorithm.name
    return certificate.version, algorithm, pss._salt_length, pss._mgf._algorithm.name, extensions, kept


FIELDS = [
    ({"signature_algo": 2}, 0x34, "02000000"),
    ({"vmpl": 3}, 0x30, "03000000"),
    ({"reported_tcb": SnpTcb(1, 2, 3, 4)}, 0x180, "0102000000000304"),
    ({"reported_tcb": SnpTcb(1, 2, 3, 4)}, 0x1E0, "0102000000000304"),
    ({"current_tcb": SnpTcb(bootloader=9)}, 0x38, "0900000000000000"),
    ({"committed_tcb": SnpTcb(microcode=8)}, 0x1E0, "0000000000000008"),
    ({"launch_tcb": SnpTcb(snp=7)}, 0x1F0, "0000000000000700"),
    ({"product": "Turin", "launch_tcb": SnpTcb(1, 2, 3, 4, fmc=5)}, 0x1F0, "0501020300000004"),
    ({"cpuid": (0x19, 0x0F, 2)}, 0x188, "190f0200"),
    ({"version": 2}, 0x188, "00000000"),
    ({"firmware": (1, 58, 3)}, 0x1E8, "033a0100033a0100"),
    ({"firmware": (1, 58, 3), "committed_firmware": (1, 55, 2)}, 0x1E8, "033a010002370100"),
    ({"report_id_ma": b"\x05" * 32}, 0x160, "05" * 32),
    (
        {"version": 5, "launch_mitigations": 1, "current_mitigations": 2},
        0x1F8,
        "01" + "00" * 7 + "02" + "00" * 7,
    ),
    ({"version": 4, "launch_mitigations": 1, "current_mitigations": 2}, 0x1F8, "00" * 16),
]


@pytest.mark.parametrize(("knobs", "at", "expected"), FIELDS)
def test_fields_lie_where_the_firmware_puts_them(knobs, at, expected):
    """What genuine samples do not vary is at its documented offset; TCBs default to the reported one."""
    report = FakeSnp(now=NOW, **knobs).evidence(bytes(64)).value
    assert report[at : at + len(expected) // 2].hex() == expected


def test_a_vlek_names_its_cloud_and_no_chip():
    """A VLEK has the plain product name and the cloud's name where a VCEK has the hardware ID."""
    leaf, issuer, _ = certificates(FakeSnp(now=NOW, leaf="vlek", csp_id="CN=one.example"))
    found = amd_extensions(leaf)
    assert (found["2"], found["5"]) == (b"\x16\x05Milan", b"\x16\x0eCN=one.example")
    assert "4" not in found
    assert leaf.serial_number > 0
    assert "VLEK" in issuer.subject.rfc4514_string()


def test_authorities_can_have_the_size_of_genuine_keys():
    """`rsa_bits` is the size of the keys of ARK and ASK."""
    _, *authorities = certificates(FakeSnp(now=NOW, rsa_bits=3072))
    assert [certificate.public_key().key_size for certificate in authorities] == [3072, 3072]
