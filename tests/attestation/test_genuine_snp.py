"""Evidence of real AMD hardware, judged by the production verifier at the time it was captured."""

from __future__ import annotations

import ssl

import pytest

from blindai.attestation import vendors
from blindai.attestation.trust import SimulationTrust, StapledSimulationTrust
from blindai.errors import EvidenceForged, EvidenceMalformed, EvidenceRejected, Reason
from tests import evidence
from tests.attestation.judging import with_lines, without
from tests.attestation.scene import assert_refused
from tests.evidence import refused
from tests.testing.genuine import read_file

# Serial number 0 is what makes a VCEK genuine.
pytestmark = pytest.mark.filterwarnings("ignore:Parsed a serial number")

PRODUCTS = {"Milan": "milan-vcek-ok", "Genoa": "genoa-vcek-ok", "Turin": "turin-vcek-ok"}
WRONG_LEAF, DEBUG = "milan-wrong-vcek", "milan-debug"
FLAGS, SIGNING_KEY = 0x48, 2  # offset; first of three bits
AS_RECORDED = 'relax = ["hyper-threading", "no-crl"]'
PAIRS = [(one, other) for one in PRODUCTS for other in PRODUCTS if one != other]


@pytest.fixture(params=PRODUCTS)
def product(request):
    return request.param


def sample_of(product):
    return evidence.read("snp", PRODUCTS[product])


def amd(sample, **members):
    return {"amd": {**sample.collateral, **members}}


def entry_of(claims, *lines):
    return with_lines(vendors.entry_toml(claims), *lines)


def test_each_product_is_accepted(product):
    """Reports of version 3 and 5, each in its product's TCB layout, by its own measurement and floor."""
    sample = sample_of(product)
    claims = sample.verify()
    assert (claims.product, claims.signing_key, claims.vmpl, claims.simulated) == (product, "vcek", 0, False)
    assert claims.report_data == bytes(64)
    assert sample.now < claims.not_after == sample.valid_to
    assert refused(claims, entry_of(claims, AS_RECORDED), now=sample.now) == []


def test_the_tcb_is_read_in_the_layout_of_the_product():
    """What the samples' authors noted: the same byte is another component on Turin."""
    assert {product: sample_of(product).verify().tcbs["reported_tcb"] for product in PRODUCTS} == {
        "Milan": {"bootloader": 4, "tee": 0, "snp": 24, "microcode": 219},
        "Genoa": {"bootloader": 10, "tee": 0, "snp": 23, "microcode": 84},
        "Turin": {"fmc": 1, "bootloader": 1, "tee": 1, "snp": 4, "microcode": 81},
    }


def test_a_strict_policy_refuses_what_the_samples_lack(product):
    """Hyper-threading is on, and nobody recorded AMD's CRL: each is accepted only by its name."""
    sample = sample_of(product)
    claims = sample.verify()
    smt, crl = ("smt", Reason.PLATFORM_CONFIGURATION), ("crl", Reason.CRL_MISSING)
    for line, expected in (
        ("", [smt, crl]),
        ('relax = ["hyper-threading"]', [crl]),
        ('relax = ["no-crl"]', [smt]),
    ):
        assert refused(claims, f"{entry_of(claims)}{line}\n", now=sample.now) == expected


def test_other_code_is_refused_for_exactly_that(product):
    """One bit of the measurement; and host_data that no policy names must be zero."""
    sample = sample_of(product)
    claims = sample.verify()
    other = f'measurement = "{claims.measurement[:-1].hex()}{claims.measurement[-1] ^ 1:02x}"'
    assert refused(claims, entry_of(claims, AS_RECORDED, other), now=sample.now) == [
        ("measurement", Reason.MEASUREMENT_MISMATCH)
    ]
    unnamed = without(entry_of(claims, AS_RECORDED), "host_data")
    assert refused(claims, unnamed, now=sample.now) == [("host_data", Reason.HOST_DATA_MISMATCH)]


def test_a_floor_above_any_component_is_refused(product):
    """Each component counts by itself: a newer microcode does not make up for an older boot loader."""
    sample = sample_of(product)
    claims = sample.verify()
    found = claims.tcbs["reported_tcb"]
    for component, number in found.items():
        floor = ", ".join(f"{name} = {least}" for name, least in {**found, component: number + 1}.items())
        entry = entry_of(claims, AS_RECORDED, f"min_tcb = {{ {floor} }}")
        assert {reason for _, reason in refused(claims, entry, now=sample.now)} == {Reason.TCB_TOO_LOW}


def test_certificates_hold_only_in_their_time(product):
    """The first and the last second are inside; the ones beside them are refused for the date."""
    sample = sample_of(product)
    for now in (sample.valid_from, sample.valid_to - 1):
        assert sample.verify(now=now).product == product
    for now, reason in (
        (sample.valid_from - 1, Reason.CERTIFICATE_NOT_YET_VALID),
        (0, Reason.CERTIFICATE_NOT_YET_VALID),
        (sample.valid_to, Reason.CERTIFICATE_EXPIRED),
        (sample.valid_to + 10**9, Reason.CERTIFICATE_EXPIRED),
    ):
        assert_refused(lambda now=now: sample.verify(now=now), reason, EvidenceRejected)


@pytest.mark.parametrize("name", [*PRODUCTS.values(), DEBUG])
@pytest.mark.parametrize("trust", [SimulationTrust(["ab" * 32]), StapledSimulationTrust()])
def test_real_hardware_is_refused_where_a_simulation_is_expected(name, trust):
    """A client that opted into a simulation cannot be given real evidence."""
    sample = evidence.read("snp", name)
    assert_refused(lambda: sample.verify(trust=trust), Reason.ROOT_UNKNOWN, EvidenceForged)


def test_a_genuine_debug_guest_is_refused():
    """Its host reads everything. At any time that its certificates allow, and before a policy is asked."""
    sample = evidence.read("snp", DEBUG)
    for now in (sample.valid_from, sample.now, sample.valid_to - 1):
        assert_refused(lambda now=now: sample.verify(now=now), Reason.DEBUG_ENABLED, EvidenceRejected)


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_the_endorsement_of_another_product_is_refused(one, other):
    """A genuine report of one product, with the genuine leaf and chain of another."""
    sample = sample_of(one)
    collateral = amd(sample_of(other))
    assert_refused(lambda: sample.verify(collateral=collateral), Reason.PRODUCT_MISMATCH, EvidenceForged)


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_the_chain_of_another_product_is_refused(one, other):
    """The right leaf under the root of another product: one root must not vouch for another's chips."""
    sample = sample_of(one)
    collateral = amd(sample, issuer_chain=sample_of(other).collateral["issuer_chain"])
    assert_refused(lambda: sample.verify(collateral=collateral), Reason.ROOT_UNKNOWN, EvidenceForged)


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_the_signing_key_of_another_product_is_refused(one, other):
    """Leaf and root are right; the ASK between them is genuine and another's."""
    sample = sample_of(one)
    ask, ark = halves(sample_of(other))[0], halves(sample)[1]
    collateral = amd(sample, issuer_chain=ask + ark)
    assert_refused(lambda: sample.verify(collateral=collateral), Reason.CHAIN_INVALID, EvidenceForged)


def halves(sample):
    end = "-----END CERTIFICATE-----\n"
    ask, ark, rest = sample.collateral["issuer_chain"].split(end)
    assert rest == ""
    return ask + end, ark + end


def test_a_chain_in_another_order_or_length_is_refused(product):
    """Exactly ASK, then ARK."""
    sample = sample_of(product)
    ask, ark = halves(sample)
    for chain, reason, kind in (
        (ark + ask, Reason.ROOT_UNKNOWN, EvidenceForged),
        (ark + ark, Reason.CHAIN_INVALID, EvidenceForged),
        (ask + ask, Reason.ROOT_UNKNOWN, EvidenceForged),
        (ask, Reason.CERTIFICATE_MALFORMED, EvidenceMalformed),
        (ask + ask + ark, Reason.CERTIFICATE_MALFORMED, EvidenceMalformed),
        ("", Reason.CERTIFICATE_MALFORMED, EvidenceMalformed),
        (sample.collateral["leaf"] + ark, Reason.CHAIN_INVALID, EvidenceForged),
    ):
        collateral = amd(sample, issuer_chain=chain)
        assert_refused(lambda collateral=collateral: sample.verify(collateral=collateral), reason, kind)


def test_an_issuer_is_no_leaf(product):
    """ASK and ARK are AMD's, and name no chip."""
    sample = sample_of(product)
    for authority in halves(sample):
        collateral = amd(sample, leaf=authority)
        assert_refused(
            lambda collateral=collateral: sample.verify(collateral=collateral),
            Reason.CERTIFICATE_MALFORMED,
            EvidenceMalformed,
        )


def test_the_leaf_of_another_chip_is_refused():
    """Three genuine VCEKs of Milan, each with each other's report: all at different TCB versions."""
    leaves = {
        "milan-vcek-ok": "vcek.der",
        DEBUG: "vcek.der",
        WRONG_LEAF: "vcek-right.der",
    }
    for name in leaves:
        sample = evidence.read("snp", name)
        for other in leaves.keys() - {name}:
            leaf = ssl.DER_cert_to_PEM_cert(read_file("snp", other, leaves[other]))
            assert_refused(
                lambda sample=sample, leaf=leaf: sample.verify(
                    collateral=amd(sample, leaf=leaf), now=evidence.read("snp", "milan-vcek-ok").valid_from
                ),
                Reason.LEAF_TCB_MISMATCH,
                EvidenceForged,
            )


def test_a_leaf_that_amd_did_not_sign_is_refused():
    """The sample with the wrong VCEK: its signature does not chain. With the right one: accepted."""
    sample = evidence.read("snp", WRONG_LEAF)
    assert_refused(sample.verify, Reason.CHAIN_INVALID, EvidenceForged)
    right = ssl.DER_cert_to_PEM_cert(read_file("snp", WRONG_LEAF, "vcek-right.der"))
    claims = sample.verify(collateral=amd(sample, leaf=right))
    assert (claims.product, claims.version) == ("Milan", 2)
    assert claims.tcbs["reported_tcb"] == {"bootloader": 3, "tee": 0, "snp": 8, "microcode": 115}


def test_a_report_of_another_signing_key_is_refused(product):
    """A VCEK does not stand for a VLEK's report; a report without a signature (7) is none."""
    sample = sample_of(product)
    for key, reason, kind in (
        (1, Reason.SIGNING_KEY_MISMATCH, EvidenceForged),
        (2, Reason.REPORT_MALFORMED, EvidenceMalformed),
        (7, Reason.REPORT_MALFORMED, EvidenceMalformed),
    ):
        report = bytearray(sample.quote)
        report[FLAGS] |= key << SIGNING_KEY
        assert_refused(lambda report=bytes(report): sample.verify(value=report), reason, kind)


def test_without_stapled_certificates_nothing_is_proven(product):
    """Missing, of another vendor, or incomplete."""
    sample = sample_of(product)
    collateral = dict(sample.collateral)
    leaf = {"leaf": collateral["leaf"]}
    for stapled, reason in (
        ({}, Reason.COLLATERAL_MISSING),
        ({"intel": collateral}, Reason.COLLATERAL_MISSING),
        ({"amd": leaf}, Reason.COLLATERAL_MALFORMED),
        ({"amd": {**collateral, "vlek": ""}}, Reason.COLLATERAL_MALFORMED),
        ({"amd": {**collateral, "crl": ""}}, Reason.COLLATERAL_MALFORMED),
        ({"amd": {**collateral, "leaf": collateral["leaf"] * 2}}, Reason.CERTIFICATE_MALFORMED),
    ):
        assert_refused(lambda stapled=stapled: sample.verify(collateral=stapled), reason, EvidenceMalformed)
