"""The fake SGX machine and each of its faults, judged by the bare library."""

from __future__ import annotations

import json

import dcap_qvl
import pytest

from blindai.attestation.types import SGX_QUOTE
from blindai.tee.attester import Attester
from blindai.testing import EXPIRED, NOT_YET_VALID, FakeSgx, FakeTdx, SgxPlatform
from tests import evidence

NOW = 1_790_000_000
REPORT_DATA = bytes(range(64))
GENUINE = ["v3-config-and-swhardening-00a067", "v3-debug-00a067"]
MR_ENCLAVE_AT = 112
REPORT_DATA_AT = 368


def named(knobs):
    """Name a test by its knobs; functions have no name that every worker agrees on."""
    return ",".join(
        f"{name}={value}" if isinstance(value, int | str) else name for name, value in knobs.items()
    )


def quote_of(sgx):
    return sgx.evidence(REPORT_DATA).value


def verify(quote, collateral, *, root, now=NOW, policy=None):
    """Verify with the production library and return its claims; raises ValueError on refusal."""
    claims = dcap_qvl.QuoteVerifier(root).verify_with_policy(
        quote,
        dcap_qvl.QuoteCollateralV3.from_json(json.dumps(collateral)),
        now,
        dcap_qvl.QuotePolicy.claims_only(now) if policy is None else policy,
    )
    return json.loads(claims.to_json())


def claims(sgx, **arguments):
    return verify(quote_of(sgx), sgx.collateral()["intel"], root=sgx.root_der, **arguments)


def strict(sgx):
    return claims(sgx, policy=dcap_qvl.QuotePolicy.strict(NOW))


@pytest.fixture(scope="module")
def healthy():
    return FakeSgx(now=NOW)


def test_it_is_an_attester(healthy):
    """The fake fits the protocol that a server expects of every evidence producer."""
    attester: Attester = healthy
    assert (attester.tee, attester.simulated) == ("sgx", True)
    assert attester.evidence(REPORT_DATA).media_type == SGX_QUOTE
    assert set(attester.collateral()) == {"intel"}


def test_a_strict_policy_accepts_it_under_its_own_root(healthy):
    """Evidence of a healthy machine is UpToDate and carries the report data."""
    verified = strict(healthy)
    assert (verified["tcb"]["status"], verified["tcb"]["advisory_ids"]) == ("UpToDate", [])
    assert bytes.fromhex(verified["report"]["SgxEnclave"]["report_data"]) == REPORT_DATA


def test_neither_intel_nor_another_simulation_vouches_for_it(healthy):
    """Under the production root, and under another fake's, the same evidence is refused."""
    for root in (None, FakeSgx(now=NOW).root_der, FakeTdx(now=NOW).root_der):
        with pytest.raises(ValueError, match="Verification failed"):
            verify(quote_of(healthy), healthy.collateral()["intel"], root=root)


@pytest.mark.parametrize("name", GENUINE)
def test_the_simulation_root_refuses_genuine_evidence(healthy, name):
    """Evidence of real hardware is refused where a simulation is trusted."""
    sample = evidence.read("sgx", name)
    with pytest.raises(ValueError, match="Verification failed"):
        verify(
            sample.quote,
            sample.collateral,
            root=healthy.root_der,
            now=sample.now,
            policy=dcap_qvl.QuotePolicy.claims_only(sample.now),
        )


@pytest.mark.parametrize("make", [FakeSgx, FakeTdx])
def test_a_root_can_vouch_for_a_machine_of_either_tee(make):
    """With `root=` a second fake verifies under the first one's anchor, whichever TEE that one has."""
    first = make(now=NOW)
    second = FakeSgx(now=NOW, root=first.root, tcb_evaluation=17)
    assert second.root_sha256 == first.root_sha256
    assert strict(second)["tcb"]["eval_data_number"] == 17


@pytest.mark.parametrize(
    "knobs",
    [
        {"debug": True},
        {"tcb_status": "Revoked"},
        {"tcb_status": None},
        {"qe_status": "Revoked"},
        {"cpu_svn": bytes(16)},
        {"pck_revoked": True},
        {"platform_ca_revoked": True},
        {"tcb_signer_revoked": True},
        {"certificates": EXPIRED},
        {"certificates": NOT_YET_VALID},
        {"collateral": EXPIRED},
        {"collateral": NOT_YET_VALID},
        {"tcb_info": EXPIRED},
        {"tcb_info": NOT_YET_VALID},
        {"qe_identity": EXPIRED},
        {"qe_identity": NOT_YET_VALID},
        {"pck_crl": EXPIRED},
        {"root_crl": EXPIRED},
        {"tcb_info_fmspc": b"other!"},
        {"tcb_info_id": "TDX"},
        {"qe_identity_id": "TD_QE"},
        {"qe_identity_mrsigner": bytes(32)},
        {"flipped_bit_at": REPORT_DATA_AT},
        {"flipped_bit_at": MR_ENCLAVE_AT},
        {"edit_tcb_info": lambda info: info.update(tcbLevels=[])},
        {"edit_qe_identity": lambda identity: identity.update(isvprodid=2)},
        {"edit_signed": lambda signed: signed.__setitem__(0, 4)},
    ],
    ids=named,
)
def test_a_fault_is_refused_under_every_policy(knobs):
    """Faults of evidence, collateral or revocation are errors, whatever TCB status a policy allows."""
    sgx = FakeSgx(now=NOW, **knobs)
    with pytest.raises(ValueError, match=r"Verification failed|[Pp]arse"):
        claims(sgx)


@pytest.mark.parametrize(
    "status",
    [
        "OutOfDate",
        "OutOfDateConfigurationNeeded",
        "SWHardeningNeeded",
        "ConfigurationNeeded",
        "ConfigurationAndSWHardeningNeeded",
    ],
)
def test_a_tcb_status_is_a_claim_that_strict_refuses(status):
    """A lower TCB status verifies, with its advisories, and only the strict policy refuses it."""
    sgx = FakeSgx(now=NOW, tcb_status=status, advisories=("INTEL-SA-00289", "INTEL-SA-00615"))
    tcb = claims(sgx)["tcb"]
    assert tcb["status"] == status
    assert sorted(tcb["advisory_ids"]) == ["INTEL-SA-00289", "INTEL-SA-00615"]
    with pytest.raises(ValueError, match=status):
        strict(sgx)


def test_an_old_quoting_enclave_lowers_the_status():
    """The status of the quoting enclave converges into the platform's."""
    assert claims(FakeSgx(now=NOW, qe_status="OutOfDate"))["tcb"]["status"] == "OutOfDate"


def test_the_numbers_against_roll_back_reach_the_claims():
    """TCB evaluation and CRL numbers are the ones asked for."""
    verified = strict(FakeSgx(now=NOW, tcb_evaluation=21, pck_crl_number=7, root_crl_number=9))
    assert verified["tcb"]["eval_data_number"] == 21
    platform = verified["platform"]
    assert (platform["pck_crl_num"], platform["root_ca_crl_num"]) == (7, 9)


@pytest.mark.parametrize(
    "knobs",
    [
        {"pck_crl": NOT_YET_VALID},
        {"root_crl": NOT_YET_VALID},
        {"trailing": b"junk"},
        {"edit_tcb_info": lambda info: info.update(version=2)},
        {"mr_enclave": bytes(32)},
        {"attributes": bytes.fromhex("1500000000000000e700000000000000")},  # with the provisioning key
        {"misc_select": b"\1\0\0\0"},
        {"isv_svn": 0},
    ],
    ids=named,
)
def test_what_the_library_does_not_refuse(knobs):
    """These faults verify as UpToDate: whoever uses the library must check them."""
    assert strict(FakeSgx(now=NOW, **knobs))["tcb"]["status"] == "UpToDate"


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"mr_enclave": b"\1"}, "32 bytes"),
        ({"attributes": bytes(8)}, "16 bytes"),
        ({"cpu_svn": bytes(8)}, "16 bytes"),
        ({"isv_svn": 0x10000}, "16 bits"),
    ],
)
def test_knobs_that_would_not_do_what_they_say_raise(knobs, message):
    """A knob that the quote has no place for is an error, not a fake that silently lacks it."""
    with pytest.raises(ValueError, match=message):
        SgxPlatform(**knobs)


@pytest.mark.parametrize("knob", ["debugg", "module_status", "td_attributes"])
def test_a_knob_that_does_not_exist_raises(knob):
    """A misspelt knob, or one of the other TEE, is an error, not a healthy machine."""
    with pytest.raises(TypeError):
        FakeSgx(now=NOW, **{knob: True})


def test_report_data_have_64_bytes(healthy):
    """Report data of another length are not padded in silence."""
    with pytest.raises(ValueError, match="64"):
        healthy.evidence(bytes(63))
