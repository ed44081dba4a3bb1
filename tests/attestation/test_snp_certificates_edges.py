"""AMD's stapled certificates, member by member and byte by byte: what parses as a leaf, and what does not."""

from __future__ import annotations

import dataclasses
import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from blindai.attestation.amd import endorsement, product
from blindai.errors import EvidenceForged, EvidenceMalformed, Reason
from blindai.tee.simulated import authority, snp_vendor
from blindai.testing import FakeSnp, SnpMachine, Window
from tests.attestation.scene import NOW, assert_refused, healthy

# `cryptography` mentions the serial number 0 of every VCEK; the package's own filter is not pytest's.
pytestmark = pytest.mark.filterwarnings("ignore:Parsed a serial number")

AMD = "1.3.6.1.4.1.3704.1."
MEMBERS = ("leaf", "issuer_chain", "crl")
LIMIT = 256 * 1024


def stapled(**knobs):
    return FakeSnp(now=NOW, **knobs).collateral()["amd"]


def leaf_with(product="Milan", **extensions):
    """Return what parses from a machine whose leaf has these of AMD's extensions: number, DER."""
    added = {AMD + number: der for number, der in extensions.items()}
    return endorsement.parse(stapled(product=product, edit_leaf=lambda found: found.update(added))).leaf


def assert_malformed(judge, reason=Reason.CERTIFICATE_MALFORMED):
    assert_refused(judge, reason, EvidenceMalformed)


@pytest.mark.parametrize("member", MEMBERS)
@pytest.mark.parametrize("value", [1, None, True, ["00"], {"pem": ""}], ids=repr)
def test_one_member_that_is_no_string_is_refused(member, value):
    """Though all others are."""
    collateral = {**healthy("sev-snp").collateral()["amd"], member: value}
    assert_malformed(lambda: endorsement.parse(collateral), Reason.COLLATERAL_MALFORMED)


def test_collateral_of_256_kib_is_read_and_no_larger_one():
    """The characters of all members are counted together, before any is decoded."""
    collateral = healthy("sev-snp").collateral()["amd"]
    collateral["crl"] = "z" * (LIMIT - len(collateral["leaf"]) - len(collateral["issuer_chain"]))
    assert_malformed(lambda: endorsement.parse(collateral), Reason.COLLATERAL_MALFORMED)
    collateral["crl"] += "z"
    assert_malformed(lambda: endorsement.parse(collateral), Reason.COLLATERAL_TOO_LARGE)


def test_a_leaf_whose_extensions_cannot_be_read_is_refused():
    """Constraints that are no DER: nothing else in the certificate may be believed."""
    machine = {"edit_leaf": lambda found: found.update({"2.5.29.19": b"\xff"})}
    assert_malformed(lambda: endorsement.parse(stapled(**machine)))


def test_a_leaf_with_another_kind_of_key_is_refused():
    """A key of Ed25519 has no curve to compare."""
    snp = healthy("sev-snp")
    extensions = [
        (x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), der), False)
        for oid, der in snp_vendor.extensions(SnpMachine()).items()
    ]
    leaf = authority.issue(
        "SEV-VCEK",
        Window(-1, 1),
        NOW,
        key=ed25519.Ed25519PrivateKey.generate(),
        issuer=snp.issuer,
        extensions=extensions,
    )
    collateral = {**snp.collateral()["amd"], "leaf": leaf.pem}
    assert_malformed(lambda: endorsement.parse(collateral))


@pytest.mark.parametrize(
    ("of", "size"),
    [("Milan", 64), ("Genoa", 64), ("Turin", 8)],
)
def test_a_chips_id_has_the_size_of_its_product(of, size):
    """Filled up with zeros, a shorter one would be the id of another chip."""
    assert endorsement.parse(stapled(product=of, leaf_chip_id=b"c" * size)).leaf.hwid == b"c" * size
    for other in {0, 8, 64, size - 1, size + 1} - {size}:
        assert_malformed(
            lambda other=other: endorsement.parse(stapled(product=of, leaf_chip_id=b"c" * other))
        )


@pytest.mark.parametrize(
    ("der", "number"),
    [("020100", 0), ("02017f", 127), ("02020080", 128), ("020200ff", 255)],
)
def test_a_tcb_number_is_a_der_integer_of_one_byte(der, number):
    """From 128 on with a zero before it, since DER's integers have a sign."""
    assert leaf_with(**{"3.8": bytes.fromhex(der)}).tcb[7] == number


@pytest.mark.parametrize(
    "der",
    [
        "", "02", "0201", "0200", "0200007f", "020180", "0201ff", "0202007f", "02020180", "0202ff80",
        "02010000", "0202008000", "020101ff", "030101", "020201", "02030080", "03020080", "04017f",
        "0202000080", "0a017f", "027f",
    ],
)  # fmt: skip
def test_another_encoding_of_a_tcb_number_is_refused(der):
    """Negative, longer than need be, larger than a byte, cut, with something behind, or no integer."""
    assert_malformed(lambda: leaf_with(**{"3.8": bytes.fromhex(der)}))


@pytest.mark.parametrize(
    ("of", "numbers", "expected"),
    [
        ("Milan", {"3.4": 4, "3.5": 5, "3.6": 6, "3.7": 7}, [4, 0, 4, 5, 6, 7, 24, 219]),
        ("Genoa", {"3.4": 4, "3.5": 5, "3.6": 6, "3.7": 7}, [10, 0, 4, 5, 6, 7, 23, 84]),
        ("Turin", {"3.5": 5, "3.6": 6, "3.7": 7}, [1, 1, 1, 4, 5, 6, 7, 81]),
    ],
)
def test_spare_numbers_stand_between_the_named_ones(of, numbers, expected):
    """A report with anything in those bytes needs a leaf that says the same."""
    ders = {number: bytes([2, 1, level]) for number, level in numbers.items()}
    assert list(leaf_with(of, **ders).tcb) == expected
    for number in numbers:
        assert_malformed(lambda number=number: leaf_with(of, **{**ders, number: b""}))


@pytest.mark.parametrize(
    "der",
    [b"", b"\x16", b"\x16\x00", b"\x16\x04Milan", b"\x16\x06Milan", b"\x0c\x05Milan", b"\x16\x05Mil\xe1n",
     b"\x16\x05MilanX", b"\x16\x05milan"],
)  # fmt: skip
def test_a_product_is_named_by_one_spelling(der):
    """An IA5String of the length that it says, and of a product that is known."""
    assert_malformed(lambda: leaf_with(**{"2": der}))


def test_a_leaf_is_of_a_chip_or_of_a_cloud():
    """One that says neither, or both, is of no known kind."""
    both = {AMD + "4": b"c" * 64, AMD + "5": b"\x16\x01c"}
    assert_malformed(lambda: endorsement.parse(stapled(edit_leaf=lambda found: found.update(both))))
    for kind, number in (("vcek", "4"), ("vlek", "5")):
        knobs = {"leaf": kind, "edit_leaf": lambda found, number=number: found.pop(AMD + number)}
        assert_malformed(lambda knobs=knobs: endorsement.parse(stapled(**knobs)))


def test_a_product_is_read_up_to_its_stepping():
    """Genuine leaves say Milan-B0; the root is the one of Milan."""
    for name in ("Milan", "Milan-B0", "Milan-B1"):
        assert (
            leaf_with(**{"2": bytes([0x16, len(name)]) + name.encode()}).product is product.PRODUCTS["Milan"]
        )


KEY = authority.ec_key()
AUTHORITY = (authority.basic_constraints(is_ca=True), authority.key_usage("key_cert_sign"))


def issued(subject, issuer, *extensions):
    """Return a certificate for `KEY`, signed with it; subject and issuer are lists of common names."""
    moment = datetime.datetime.fromtimestamp(NOW, datetime.UTC)
    subject, issuer = (
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text) for text in names])
        for names in (subject, issuer)
    )
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(KEY.public_key())
    builder = builder.serial_number(1).not_valid_before(moment).not_valid_after(moment)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(KEY, hashes.SHA384())


def signed_again(certificate, old, new):
    """Return the certificate with other bytes of the same length in it."""
    tbs, whole = certificate.tbs_certificate_bytes, certificate.public_bytes(Encoding.DER)
    assert old in tbs
    changed = tbs.replace(old, new)
    start = whole.index(tbs) + len(tbs)
    signature = b"\0" + KEY.sign(changed, ec.ECDSA(hashes.SHA384()))
    content = changed + whole[start : start + 12] + bytes([3, len(signature)]) + signature
    return x509.load_der_x509_certificate(b"\x30\x82" + len(content).to_bytes(2, "big") + content)


def assert_issues(leaf, issuer, *, vleks):
    """Assert that this issuer is the authority for one kind of key, and not for the other."""
    chain = (leaf, issuer, issued(["ARK"], ["ARK"], *AUTHORITY))
    parsed = endorsement.parse(healthy("sev-snp").collateral()["amd"]).leaf
    for is_vlek in (True, False):
        key = dataclasses.replace(parsed, hwid=None if is_vlek else parsed.hwid)
        stapled = endorsement.Endorsement(chain, None, key)
        if is_vlek == vleks:
            endorsement.check_signatures(stapled)
        else:
            assert_refused(
                lambda stapled=stapled: endorsement.check_signatures(stapled),
                Reason.SIGNING_KEY_MISMATCH,
                EvidenceForged,
            )


@pytest.mark.parametrize(
    ("names", "vleks"),
    [
        (["SEV-VLEK-Milan"], True),
        (["SEV-VLEK-Turin", "SEV-Turin"], True),
        (["SEV-Turin", "SEV-VLEK-Turin"], True),
        (["SEV-Milan"], False),
        (["SEV"], False),
        ([], False),
    ],
    ids=str,
)
def test_the_authority_for_vleks_is_known_by_its_name(names, vleks):
    """One name that says so is enough; none at all says nothing."""
    assert_issues(issued(["leaf"], names), issued(names, ["ARK"], *AUTHORITY), vleks=vleks)


def test_an_authority_with_an_unreadable_name_is_not_the_one_for_vleks():
    """A name of a type that has no text: `cryptography` raises only when it is asked for."""
    text, strange = b"\x0c\x0eSEV-VLEK-Milan", b"\x03\x0e\0EV-VLEK-Milan"
    leaf, issuer = (
        signed_again(certificate, text, strange)
        for certificate in (
            issued(["leaf"], ["SEV-VLEK-Milan"]),
            issued(["SEV-VLEK-Milan"], ["ARK"], *AUTHORITY),
        )
    )
    assert_issues(leaf, issuer, vleks=False)
