from __future__ import annotations

import hashlib
import json
import warnings

import dcap_qvl
import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from blindai.attestation.types import TDX_QUOTE
from blindai.tee.attester import Attester
from blindai.tee.measurement import simulated_measurements
from blindai.tee.simulated import EXPIRED, NOT_YET_VALID, Platform, SimulatedTdx
from blindai.tee.simulated.platform import DAY_SECONDS, TD_1_0, TD_1_5

NOW = 1_790_000_000
MEASUREMENTS = simulated_measurements(hashlib.sha256(b"some sources").hexdigest())
REPORT_DATA = bytes(range(64))
GENUINE = ["v4-uptodate-b0c06f", "v4-outofdate-00806f05", "v4-debug-td-50806f", "v5-uptodate-90c06f"]


def named(knobs):
    """Name a test by its knobs; functions have no name that every worker agrees on."""
    return ",".join(
        f"{name}={value}" if isinstance(value, int | str) else name for name, value in knobs.items()
    )


def machine(*, root=None, **knobs):
    return SimulatedTdx(now=NOW, measurements=MEASUREMENTS, platform=Platform(**knobs), root=root)


def verify(quote, collateral, *, root, now=NOW, policy=None):
    """Verify with the production library and return its claims; raises ValueError on refusal."""
    claims = dcap_qvl.QuoteVerifier(root).verify_with_policy(
        quote,
        dcap_qvl.QuoteCollateralV3.from_json(json.dumps(collateral)),
        now,
        dcap_qvl.QuotePolicy.strict(now) if policy is None else policy,
    )
    return json.loads(claims.to_json())


def strict(tdx, now=NOW):
    return verify(tdx.evidence(REPORT_DATA).value, tdx.collateral()["intel"], root=tdx.root_der, now=now)


def claims(tdx, now=NOW):
    return verify(
        tdx.evidence(REPORT_DATA).value,
        tdx.collateral()["intel"],
        root=tdx.root_der,
        now=now,
        policy=dcap_qvl.QuotePolicy.claims_only(now),
    )


@pytest.fixture(scope="module")
def healthy():
    return machine()


def test_it_is_an_attester(healthy):
    """The simulated machine fits the protocol that a server expects of every evidence producer."""
    attester: Attester = healthy
    assert (attester.tee, attester.simulated) == ("tdx", True)
    assert attester.evidence(REPORT_DATA).media_type == TDX_QUOTE
    assert set(attester.collateral()) == {"intel"}


@pytest.mark.parametrize(
    "knobs", [{}, {"quote_version": 5, "body_type": TD_1_0}, {"quote_version": 5, "body_type": TD_1_5}]
)
def test_a_strict_policy_accepts_it_under_its_own_root(knobs):
    """Evidence of a healthy machine is UpToDate and carries what was asked for, in v4 and v5."""
    verified = strict(machine(**knobs))
    assert (verified["tcb"]["status"], verified["tcb"]["advisory_ids"]) == ("UpToDate", [])
    report = verified["report"]
    body = report["TD15"]["base"] if "TD15" in report else report["TD10"]
    assert bytes.fromhex(body["report_data"]) == REPORT_DATA
    for theirs, ours in (("mr_td", "mrtd"), ("rt_mr0", "rtmr0"), ("rt_mr1", "rtmr1"), ("rt_mr2", "rtmr2")):
        assert bytes.fromhex(body[theirs]) == getattr(MEASUREMENTS, ours)


def test_intel_root_refuses_it(healthy):
    """Under the production root the same evidence is refused."""
    with pytest.raises(ValueError, match="Verification failed"):
        verify(healthy.evidence(REPORT_DATA).value, healthy.collateral()["intel"], root=None)


def test_another_simulation_refuses_it(healthy):
    """Two simulations do not trust each other, though their names are the same."""
    with pytest.raises(ValueError, match="Verification failed"):
        verify(healthy.evidence(REPORT_DATA).value, healthy.collateral()["intel"], root=machine().root_der)


@pytest.mark.parametrize("name", GENUINE)
def test_the_simulation_root_refuses_genuine_evidence(healthy, genuine_tdx, name):
    """Evidence of real hardware is refused where a simulation is trusted."""
    sample = genuine_tdx(name)
    with pytest.raises(ValueError, match="Verification failed"):
        verify(
            sample.quote,
            sample.collateral,
            root=healthy.root_der,
            now=sample.now,
            policy=dcap_qvl.QuotePolicy.claims_only(sample.now),
        )


def test_a_root_can_vouch_for_a_second_machine(healthy):
    """With `root=` another machine, with another key, verifies under the same anchor."""
    second = machine(root=healthy.root, tcb_evaluation=17)
    assert second.root_sha256 == healthy.root_sha256
    assert strict(second)["tcb"]["eval_data_number"] == 17


@pytest.mark.parametrize(
    "knobs",
    [
        {"debug": True},
        {"td_attributes": bytes(8)},  # SEPT_VE_DISABLE off
        {"quote_version": 5, "body_type": TD_1_5, "mr_service_td": b"\1" * 48},
        {"tcb_status": "Revoked"},
        {"tcb_status": None},
        {"tcb_status": None, "quote_version": 5, "body_type": TD_1_5},
        {"module_status": "Revoked"},
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
        {"tcb_info_id": "SGX"},
        {"qe_identity_id": "QE"},
        {"qe_identity_mrsigner": bytes(32)},
        {"flipped_bit_at": 48 + 520},  # report data
        {"flipped_bit_at": 48 + 136},  # mrtd
        {"edit_tcb_info": lambda info: info.update(version=2)},
        {"edit_qe_identity": lambda identity: identity.update(isvprodid=1)},
        {"edit_signed": lambda signed: signed.__setitem__(2, 3)},  # another kind of attestation key
    ],
    ids=named,
)
def test_a_fault_is_refused_under_every_policy(knobs):
    """Faults of evidence, collateral or revocation are errors, whatever TCB status a policy allows."""
    tdx = machine(**knobs)
    with pytest.raises(ValueError, match="Verification failed"):
        claims(tdx)


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
    tdx = machine(tcb_status=status, advisories=("INTEL-SA-00960", "INTEL-SA-00982"))
    tcb = claims(tdx)["tcb"]
    assert tcb["status"] == status
    assert sorted(tcb["advisory_ids"]) == ["INTEL-SA-00960", "INTEL-SA-00982"]
    with pytest.raises(ValueError, match=status):
        strict(tdx)


def test_what_is_edited_is_signed():
    """`edit_signed` changes header and body before the signature: the library finds nothing wrong."""
    verified = strict(machine(edit_signed=lambda signed: signed.__setitem__(slice(568, 632), b"\7" * 64)))
    assert bytes.fromhex(verified["report"]["TD10"]["report_data"]) == b"\7" * 64


@pytest.mark.parametrize("knob", ["module_status", "qe_status"])
def test_an_old_module_or_quoting_enclave_lowers_the_status(knob):
    """The status of the TDX module and of the quoting enclave converge into the platform's."""
    assert claims(machine(**{knob: "OutOfDate"}))["tcb"]["status"] == "OutOfDate"


@pytest.mark.parametrize("flag", ["dynamic_platform", "cached_keys", "smt"])
def test_a_platform_flag_is_a_claim_that_strict_refuses(flag):
    """The configuration flags of the PCK certificate reach the claims; strict refuses each of them."""
    tdx = machine(**{flag: True})
    pck = claims(tdx)["platform"]["pck"]
    names = {"dynamic_platform": "dynamic_platform", "cached_keys": "cached_keys", "smt": "smt_enabled"}
    assert {name: pck[theirs] for name, theirs in names.items()} == {
        name: str(name == flag) for name in names
    }
    with pytest.raises(ValueError, match="not allowed by policy"):
        strict(tdx)


def test_the_numbers_against_roll_back_reach_the_claims():
    """TCB evaluation and CRL numbers are the ones asked for."""
    verified = strict(machine(tcb_evaluation=21, pck_crl_number=7, root_crl_number=9))
    pck = verified["platform"]
    assert verified["tcb"]["eval_data_number"] == 21
    assert (pck["pck_crl_num"], pck["root_ca_crl_num"]) == (7, 9)


@pytest.mark.parametrize(
    "knobs",
    [
        {"pck_crl": NOT_YET_VALID},
        {"root_crl": NOT_YET_VALID},
        {"trailing": bytes(64)},
        {"trailing": b"junk"},
        {"advisories": ("INTEL-SA-00960",)},
        {"mr_seam": bytes(48)},
        {"fmspc": b"SIM\0\0\1"},
    ],
    ids=named,
)
def test_what_the_library_does_not_refuse(knobs):
    """These faults verify as UpToDate: whoever uses the library must check them."""
    assert strict(machine(**knobs))["tcb"]["status"] == "UpToDate"


def test_collateral_ends_after_thirty_days(healthy):
    """Collateral is valid from a day before `now` to thirty days after it."""
    for moment in (NOW - DAY_SECONDS, NOW + 30 * DAY_SECONDS - 1):
        assert strict(healthy, now=moment)["tcb"]["status"] == "UpToDate"
    for moment in (NOW - DAY_SECONDS - 1, NOW + 30 * DAY_SECONDS + 1):
        with pytest.raises(ValueError, match="Verification failed"):
            claims(healthy, now=moment)


def test_every_certificate_says_that_it_is_a_simulation(healthy):
    """Organization and common name of every certificate carry the mark."""
    intel = healthy.collateral()["intel"]
    chains = [intel[key] for key in intel if key.endswith("_chain")]
    chains.append(dcap_qvl.Quote.parse(healthy.evidence(REPORT_DATA).value).cert_chain_pem_bytes().decode())
    for chain in chains:
        for certificate in x509.load_pem_x509_certificates(chain.rstrip("\0").encode()):
            for oid in (NameOID.ORGANIZATION_NAME, NameOID.COMMON_NAME):
                (mark,) = certificate.subject.get_attributes_for_oid(oid)
                assert mark.value.startswith("SIMULATION - NOT A TEE")


def test_the_root_is_given_in_three_forms(healthy):
    """DER, PEM and fingerprint speak of the same certificate."""
    root = x509.load_pem_x509_certificate(healthy.root_pem.encode())
    assert x509.load_der_x509_certificate(healthy.root_der) == root
    assert hashlib.sha256(healthy.root_der).hexdigest() == healthy.root_sha256


def test_collateral_is_a_copy(healthy):
    """Whoever changes the collateral they were given does not change the machine's."""
    healthy.collateral()["intel"].clear()
    assert len(healthy.collateral()["intel"]) == 9


def test_report_data_have_64_bytes(healthy):
    """Report data of another length are not padded in silence."""
    with pytest.raises(ValueError, match="64"):
        healthy.evidence(bytes(63))


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"quote_version": 4, "body_type": TD_1_5}, "v4 with"),
        ({"quote_version": 3}, "v4 with"),
        ({"mr_service_td": b"\1" * 48}, "TD 1.5"),
        ({"td_attributes": b"\1"}, "8 bytes"),
        ({"fmspc": b"long FMSPC"}, "6 bytes"),
        ({"cpu_svn": bytes(8)}, "16 bytes"),
    ],
)
def test_knobs_that_would_not_do_what_they_say_raise(knobs, message):
    """A knob that the quote has no place for is an error, not a fake that silently lacks it."""
    with pytest.raises(ValueError, match=message):
        Platform(**knobs)


def test_nothing_warns():
    """Minting raises no deprecation warning of the certificate library."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        machine(pck_revoked=True).evidence(REPORT_DATA)
