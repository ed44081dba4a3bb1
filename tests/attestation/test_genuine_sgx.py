"""Evidence of real SGX enclaves, judged by the production verifier at the time it was captured."""

from __future__ import annotations

import pytest

from blindai.attestation import vendors
from blindai.attestation.trust import ProductionTrust, SimulationTrust, StapledSimulationTrust
from blindai.attestation.types import TDX_QUOTE, Evidence
from blindai.errors import EvidenceForged, EvidenceMalformed, EvidenceRejected, Reason
from tests import evidence
from tests.attestation.judging import with_lines, without
from tests.attestation.scene import assert_refused
from tests.evidence import refused

PRODUCTION = "v3-config-and-swhardening-00a067"
DEBUG = ["v3-debug-00a067", "ratls-gramine-debug"]
STATUS = 'tcb_status = ["ConfigurationAndSWHardeningNeeded"]'
ADVISORIES = 'allow_advisories = ["INTEL-SA-00289", "INTEL-SA-00615"]'
TCB = ("tcb_status", Reason.TCB_CONFIGURATION_NEEDED)
ADVISORY = ("tcb_advisories", Reason.TCB_ADVISORY)


@pytest.fixture
def sample():
    return evidence.read("sgx", PRODUCTION)


@pytest.fixture
def claims(sample):
    return sample.verify()


def test_the_claims_are_the_enclaves(sample, claims):
    """What the sample's author noted of it, and Intel's word on the platform."""
    assert claims.mr_enclave.hex().startswith("33d8736db756ed49")
    assert claims.mr_signer.hex().startswith("815f42f11cf64430")
    assert (claims.isv_prod_id, claims.isv_svn) == (0, 0)
    assert claims.report_data == b"Hello, world!".ljust(64, b"\0")
    assert claims.config_id == bytes(64)
    assert (claims.tcb_status, list(claims.advisories)) == (
        sample.expect["status"],
        sample.expect["advisories"],
    )
    assert sample.now < claims.not_after == sample.valid_to
    assert claims.simulated is False


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ((), [TCB, ADVISORY]),
        ((STATUS, ADVISORIES), []),
        (('relax = ["configuration-needed"]', ADVISORIES), []),
        ((STATUS,), [ADVISORY]),
        ((STATUS, 'allow_advisories = ["INTEL-SA-00289"]'), [ADVISORY]),
        ((ADVISORIES,), [TCB]),
        (('tcb_status = ["UpToDate", "SWHardeningNeeded", "ConfigurationNeeded"]', ADVISORIES), [TCB]),
        (('relax = ["hardening-needed", "out-of-date"]', ADVISORIES), [TCB]),
        ((STATUS, ADVISORIES, "min_tcb_evaluation = 17"), []),
        ((STATUS, ADVISORIES, "min_tcb_evaluation = 18"), [("tcb_evaluation", Reason.TCB_EVALUATION)]),
    ],
)
def test_the_platform_needs_its_status_and_every_advisory_named(sample, claims, lines, expected):
    """Strict refuses it; half of what is needed leaves the other half."""
    entry = with_lines(vendors.entry_toml(claims), *lines)
    assert refused(claims, entry, now=sample.now) == expected


def test_other_code_is_refused_for_exactly_that(sample, claims):
    """Another enclave, another signer, another product, an older version."""
    entry = with_lines(vendors.entry_toml(claims), STATUS, ADVISORIES)
    other = "ab" * 32
    signer = (f'mr_signer = "{claims.mr_signer.hex()}"', "isv_prod_id = 0", "min_isv_svn = 0")
    by_signer = with_lines(without(entry, "mr_enclave"), *signer)
    assert refused(claims, by_signer, now=sample.now) == []
    for changed, expected in (
        (with_lines(entry, f'mr_enclave = "{other}"'), ("mr_enclave", Reason.MEASUREMENT_MISMATCH)),
        (with_lines(by_signer, f'mr_signer = "{other}"'), ("mr_signer", Reason.SIGNER_MISMATCH)),
        (with_lines(by_signer, "isv_prod_id = 1"), ("isv_prod_id", Reason.SIGNER_MISMATCH)),
        (with_lines(by_signer, "min_isv_svn = 1"), ("isv_svn", Reason.SECURITY_VERSION_TOO_LOW)),
        (with_lines(entry, f'config_id = "{"ab" * 64}"'), ("config_id", Reason.MEASUREMENT_MISMATCH)),
    ):
        assert refused(claims, changed, now=sample.now) == [expected]


@pytest.mark.parametrize("name", [PRODUCTION, *DEBUG])
@pytest.mark.parametrize(
    ("edge", "seconds", "reason"),
    [
        ("valid_from", -1, Reason.COLLATERAL_NOT_YET_VALID),
        ("valid_from", -(10**8), Reason.COLLATERAL_NOT_YET_VALID),
        ("valid_to", 0, Reason.COLLATERAL_EXPIRED),
        ("valid_to", 10**8, Reason.COLLATERAL_EXPIRED),
    ],
)
def test_genuine_collateral_holds_only_in_its_time(name, edge, seconds, reason):
    """A second before it starts, and when it ends: also a debug enclave is refused for that first."""
    sample = evidence.read("sgx", name)
    now = getattr(sample, edge) + seconds
    assert_refused(lambda: sample.verify(now=now), reason, EvidenceRejected)


def test_genuine_collateral_holds_throughout_its_time(sample):
    """The first and the last second of the window are inside it."""
    for now in (sample.valid_from, sample.valid_to - 1):
        assert sample.verify(now=now).tee == "sgx"


@pytest.mark.parametrize("name", DEBUG)
def test_a_genuine_debug_enclave_is_refused(name):
    """Its host reads everything, whatever its signature is worth: throughout its time."""
    sample = evidence.read("sgx", name)
    for now in (sample.valid_from, sample.now, sample.valid_to - 1):
        assert_refused(lambda now=now: sample.verify(now=now), Reason.DEBUG_ENABLED, EvidenceRejected)


@pytest.mark.parametrize("name", [PRODUCTION, *DEBUG])
@pytest.mark.parametrize("trust", [SimulationTrust(["ab" * 32]), StapledSimulationTrust()])
def test_real_hardware_is_refused_where_a_simulation_is_expected(name, trust):
    """A client that opted into a simulation cannot be given real evidence."""
    sample = evidence.read("sgx", name)
    assert_refused(lambda: sample.verify(trust=trust), Reason.ROOT_UNKNOWN, EvidenceForged)


def test_collateral_of_another_tee_is_refused(sample):
    """A TDX platform's collateral, genuine and of the same authority."""
    stapled = evidence.read("tdx", "v4-uptodate-b0c06f").stapled
    assert_refused(lambda: sample.verify(collateral=stapled), Reason.COLLATERAL_OTHER_TEE, EvidenceForged)


def test_collateral_of_another_platform_is_refused(sample):
    """Another authority's CRL never names this platform; another family's TCB levels are not its own."""
    other = evidence.read("sgx", "ratls-gramine-debug")
    assert_refused(
        lambda: sample.verify(collateral=other.stapled, now=other.now), Reason.CRL_FORGED, EvidenceForged
    )


def test_a_quote_under_another_label_is_refused(sample):
    """The media type says which parser reads it, and that parser asks whether it is of its TEE."""
    assert_refused(
        lambda: vendors.verify(
            Evidence(TDX_QUOTE, sample.quote), sample.stapled, trust=ProductionTrust(), now=sample.now
        ),
        Reason.QUOTE_MALFORMED,
        EvidenceMalformed,
    )


def test_without_collateral_nothing_is_proven(sample):
    """Missing, of another vendor, or with one member less."""
    for stapled, reason in (
        ({}, Reason.COLLATERAL_MISSING),
        ({"amd": sample.collateral}, Reason.COLLATERAL_MISSING),
        *(
            ({"intel": {key: text for key, text in sample.collateral.items() if key != left_out}},
             Reason.COLLATERAL_MALFORMED)
            for left_out in sample.collateral
        ),
    ):  # fmt: skip
        assert_refused(lambda stapled=stapled: sample.verify(collateral=stapled), reason, EvidenceMalformed)
