"""What is said about a verified SEV-SNP machine, and how strict an entry is that names nothing."""

from __future__ import annotations

import dataclasses
from collections import Counter

import pytest

from blindai.attestation.amd import snp_policy
from blindai.attestation.policy import Policy
from blindai.attestation.types import Floor
from blindai.attestation.verdict import Outcome
from blindai.errors import Reason
from blindai.testing import Window
from tests.attestation.judging import ALIASES_CHECKED, claims_of, policy_of_entry, quiet_snp, with_lines
from tests.attestation.policy_texts import SNP_FULL, refused
from tests.attestation.scene import NOW

# `cryptography` mentions the serial number 0 of every VCEK; the package's own filter is not pytest's.
pytestmark = pytest.mark.filterwarnings("ignore:Parsed a serial number")

TCBS = ("reported_tcb", "current_tcb", "committed_tcb", "launch_tcb")


def judged(**knobs):
    """Return what nobody's policy says about a machine: the claims of each outcome."""
    checks = snp_policy.appraise(snp_policy.DEFAULTS, claims_of(quiet_snp(now=NOW, **knobs)), now=NOW)
    assert max(Counter(check.claim for check in checks).values()) == 1
    return {outcome: {c.claim: c.reason for c in checks if c.outcome is outcome} for outcome in Outcome}


def test_a_quiet_machine_meets_the_defaults():
    """No line has to be written for it; how old its firmware is, nobody says."""
    found = judged()
    assert found[Outcome.FAIL] == {}
    assert set(found[Outcome.UNKNOWN]) == set(TCBS)


@pytest.mark.parametrize(
    ("claim", "reason", "knobs"),
    [
        ("vmpl", Reason.VMPL_TOO_HIGH, {"vmpl": 1}),
        ("smt", Reason.PLATFORM_CONFIGURATION, {"platform_info": ALIASES_CHECKED | 1}),
        ("migration", Reason.GUEST_POLICY, {"migrate_ma": True}),
        ("alias_check_complete", Reason.PLATFORM_CONFIGURATION, {"platform_info": 0}),
        ("crl", Reason.CRL_MISSING, {"crl": None}),
        ("host_data", Reason.HOST_DATA_MISMATCH, {"host_data": b"c" * 32}),
    ],
)
def test_what_nobody_allowed_is_refused(claim, reason, knobs):
    """The defaults are the strictest values that there are."""
    assert judged(**knobs)[Outcome.FAIL] == {claim: reason}


def test_the_chips_id_is_not_shown():
    """It names one processor for life: a log of claims must not tell where a workload ran."""
    claims = claims_of(quiet_snp(now=NOW))
    assert claims.chip_id
    assert "chip_id" not in repr(claims)
    assert repr(claims.chip_id) not in repr(claims)


def test_who_signed_is_told_as_it_is():
    """A VCEK vouches for one chip, a VLEK for any machine of a cloud."""
    of_chip, of_cloud = (claims_of(quiet_snp(now=NOW, leaf=leaf)).verified for leaf in ("vcek", "vlek"))
    assert "for this chip and TCB version" in of_chip["signature"]
    assert "it names a cloud, not a chip" in of_cloud["signature"]


def test_revocation_is_claimed_only_where_it_was_checked():
    """Without a CRL nothing was looked up."""
    assert "revocation" in claims_of(quiet_snp(now=NOW)).verified
    assert "revocation" not in claims_of(quiet_snp(now=NOW, crl=None)).verified


def words(claim, *, demands=None, **knobs):
    """Return what a verdict says was found and expected, whatever the outcome."""
    accept = dataclasses.replace(snp_policy.DEFAULTS, **(demands or {}))
    checks = snp_policy.appraise(accept, claims_of(quiet_snp(now=NOW, **knobs)), now=NOW)
    return next((check.found, check.expected) for check in checks if check.claim == claim)


@pytest.mark.parametrize(
    ("claim", "knobs", "found"),
    [
        ("migration", {"migrate_ma": True}, "allowed"),
        ("migration", {}, "not allowed"),
        ("smt", {"platform_info": ALIASES_CHECKED | 1}, "on"),
        ("smt", {}, "off"),
        ("alias_check_complete", {"platform_info": 0}, "no"),
        ("alias_check_complete", {}, "yes"),
        ("guest_policy", {"single_socket": True}, "single_socket, smt"),
        ("guest_policy", {"smt": False}, "none"),
        ("platform_info", {}, "alias_check_complete"),
        ("platform_info", {"platform_info": 0}, "none"),
    ],
)
def test_a_verdict_says_what_is_so(claim, knobs, found):
    """Who reads it decides what to allow."""
    assert words(claim, **knobs)[0] == found


def test_missing_mitigations_are_named_by_their_bits():
    """All that there are, then those of the policy that are not among them."""
    five = {"version": 5, "launch_mitigations": 0b101, "current_mitigations": 0b101}
    assert words("mitigations", **five) == ("0x5", "")
    for bits, found in (({0, 2}, "0x5"), ({0, 1, 3}, "0x5 without bits [1, 3]")):
        demands = {"require_mitigations": frozenset(bits)}
        assert words("mitigations", demands=demands, **five) == (found, f"bits {sorted(bits)}")


def test_the_last_mitigation_is_bit_63():
    """The vector has 64 bits; a bit behind it can never be met."""
    entry = with_lines(SNP_FULL, "require_mitigations = [63]")
    assert Policy.from_toml(policy_of_entry(entry)).accept[0].require_mitigations == {63}


def test_what_only_ever_grows_is_read_from_the_crl():
    """Its number and its date, so that an older list is noticed; without one there is nothing to compare."""
    freshness = claims_of(quiet_snp(now=NOW, crl_number=7, crl=Window(-60, 60))).freshness
    assert freshness == Floor(root_crl=7, root_crl_date=NOW - 60)
    assert claims_of(quiet_snp(now=NOW, crl=None)).freshness == Floor()


def test_the_least_privileged_level_is_3():
    """A guest has no other: a higher number would be a demand that nothing fails."""
    entry = policy_of_entry(with_lines(SNP_FULL, "max_vmpl = 3"))
    assert Policy.from_toml(entry).accept[0].max_vmpl == 3
    assert "max_vmpl is at most 3" in refused(policy_of_entry(with_lines(SNP_FULL, "max_vmpl = 4")))
