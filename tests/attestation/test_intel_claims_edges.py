"""How strict an entry for Intel's TEEs is that names nothing, and what its verdict says was found."""

from __future__ import annotations

import dataclasses

import pytest

from blindai.attestation.intel import sgx_policy, tdx_policy
from blindai.attestation.policy import Policy
from blindai.attestation.verdict import Outcome
from blindai.errors import Reason
from blindai.testing import FakeSgx, FakeTdx
from tests.attestation.judging import MACHINES, claims_of, entry_of, policy_of_entry, strict
from tests.attestation.judging import failed as refusals
from tests.attestation.policy_texts import refused
from tests.attestation.scene import NOW

POLICIES = {"tdx": tdx_policy, "sgx": sgx_policy}
FEATURES = ("dynamic_platform", "cached_keys", "smt")


@pytest.fixture(params=POLICIES)
def tee(request):
    return request.param


def checks_of(tee, *, platform=None, **knobs):
    """Return what the defaults, with these demands of the platform, say about a machine: by claim."""
    policy = POLICIES[tee]
    demanded = dataclasses.replace(policy.DEFAULTS.platform, **(platform or {}))
    accept = dataclasses.replace(policy.DEFAULTS, platform=demanded)
    checks = policy.appraise(accept, claims_of(MACHINES[tee](now=NOW, **knobs)), now=NOW)
    assert len({check.claim for check in checks}) == len(checks)
    return {check.claim: check for check in checks}


def failed(tee, **knobs):
    return {
        claim: check.reason
        for claim, check in checks_of(tee, **knobs).items()
        if check.outcome is Outcome.FAIL
    }


def test_a_healthy_machine_meets_the_defaults(tee):
    """No line has to be written for it, whatever number its vendor's evaluations have reached."""
    assert failed(tee) == {}
    assert failed(tee, tcb_evaluation=0) == {}
    assert refusals(strict(tee), MACHINES[tee](now=NOW, tcb_evaluation=0)) == []


@pytest.mark.parametrize("feature", FEATURES)
def test_a_feature_that_nobody_allowed_is_refused(tee, feature):
    """The defaults are strict about each by itself, and the verdict says which is on."""
    assert failed(tee, **{feature: True}) == {feature: Reason.PLATFORM_CONFIGURATION}
    assert checks_of(tee, **{feature: True})[feature].found == "on"
    assert checks_of(tee)[feature].found == "off"


@pytest.mark.parametrize(
    ("knobs", "reason"),
    [
        ({"tcb_status": "OutOfDate"}, Reason.TCB_OUT_OF_DATE),
        ({"tcb_status": "SWHardeningNeeded"}, Reason.TCB_HARDENING_NEEDED),
        ({"tcb_status": "ConfigurationNeeded"}, Reason.TCB_CONFIGURATION_NEEDED),
    ],
)
def test_a_platform_that_is_not_up_to_date_is_refused(tee, knobs, reason):
    """Whatever Intel calls it."""
    assert failed(tee, **knobs) == {"tcb_status": reason}


def test_advisories_are_named_where_there_are_any(tee):
    """Those of the platform, and those that were allowed."""
    check = checks_of(tee)["tcb_advisories"]
    assert (check.found, check.expected) == ("none", "none")
    check = checks_of(
        tee,
        advisories=("INTEL-SA-2", "INTEL-SA-1"),
        platform={"allow_advisories": frozenset({"INTEL-SA-3", "INTEL-SA-1"})},
    )["tcb_advisories"]
    assert set(check.found.split(", ")) == {"INTEL-SA-1", "INTEL-SA-2"}
    assert check.expected == "INTEL-SA-1, INTEL-SA-3"


def with_attributes(value):
    return policy_of_entry(f'{strict("tdx")}td_attributes = "{value}"\n')


@pytest.mark.parametrize("value", ["0000001000000000", "00" * 8, "fe" + "ff" * 7, "00" + "01" * 7])
def test_attributes_may_be_any_but_debug(value):
    """Eight bytes, of which the lowest bit of the first means debug."""
    (entry,) = Policy.from_toml(with_attributes(value)).accept
    assert entry.td_attributes == bytes.fromhex(value)


@pytest.mark.parametrize("value", ["0100000000000000", "ff" * 8, "0100001000000000"])
def test_attributes_with_debug_are_refused(value):
    """Together with others, too."""
    assert "has the debug bit" in refused(with_attributes(value))


@pytest.mark.parametrize("value", ["", "00" * 7, "00" * 9, "0" * 15, "1"])
def test_attributes_have_eight_bytes(value):
    """Fewer would be read as other attributes."""
    assert "td_attributes" in refused(with_attributes(value))


def keys_of(entry):
    return [line.partition(" = ")[0] for line in entry.splitlines()[1:]]


def test_the_offered_entry_says_no_more_than_it_must():
    """What is zero or usual is what an entry that does not name it demands; what is not has a line."""
    identity = ["tee", "mrtd", "rtmr1", "rtmr2"]
    assert keys_of(strict("tdx")) == identity
    unusual = FakeTdx(now=NOW, td_attributes=bytes.fromhex("0000001000000080"))
    assert keys_of(entry_of(unusual)) == [*identity, "td_attributes"]
    assert refusals(entry_of(unusual), unusual) == []
    assert [check.claim for check in refusals(strict("tdx"), unusual)] == ["td_attributes"]
    assert [check.claim for check in refusals(entry_of(unusual), FakeTdx(now=NOW))] == ["td_attributes"]


@pytest.mark.parametrize("digest", ["ab", "zz" * 48, "00" * 47, "00" * 49])
def test_one_event_that_is_no_digest_spoils_the_list(digest):
    """Left out, it would be one digest fewer to look for."""
    entry = f'{strict("tdx")}rtmr1_events = ["{"ab" * 48}", "{digest}"]\n'
    assert "must hold digests of 96 hexadecimal digits" in refused(policy_of_entry(entry))


def test_config_svn_is_two_bytes_of_the_report():
    """Behind ISVSVN, little-endian; the next byte is reserved, and no part of it."""

    def edit(signed):
        signed[48 + 260 : 48 + 263] = b"\1\2\4"

    assert claims_of(FakeSgx(now=NOW, edit_signed=edit)).config_svn == 0x0201


def sgx_entry(*lines):
    return policy_of_entry("\n".join([strict("sgx").rstrip("\n"), *lines]) + "\n")


def test_a_mask_may_not_hide_what_the_value_demands():
    """One bit that is demanded and not compared would be no demand, whatever the others are."""
    value = 'attributes_xfrm = "0700000000000001"'
    for mask in ("0700000000000001", "ff" * 8, "ff000000000000ff"):
        assert Policy.from_toml(sgx_entry(value, f'attributes_mask_xfrm = "{mask}"')).accept
    for mask in ("0600000000000001", "0700000000000000", "00" * 8, "03ffffffffffffff"):
        message = refused(sgx_entry(value, f'attributes_mask_xfrm = "{mask}"'))
        assert "attributes_mask_xfrm leaves out bits" in message


def test_the_offered_entry_names_a_configured_version():
    """Zero is what an entry that does not name it demands."""

    def edit(signed):
        signed[48 + 260] = 7

    configured = FakeSgx(now=NOW, edit_signed=edit)
    assert keys_of(strict("sgx")) == ["tee", "mr_enclave"]
    assert keys_of(entry_of(configured)) == ["tee", "mr_enclave", "config_svn"]
    assert "config_svn = 7\n" in entry_of(configured)
    assert refusals(entry_of(configured), configured) == []
