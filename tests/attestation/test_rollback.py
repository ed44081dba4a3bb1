"""Collateral older than what this client has seen before is refused, though it has not expired."""

from __future__ import annotations

import pytest

from blindai.attestation.intel import collateral as intel_collateral
from blindai.attestation.types import Floor
from blindai.errors import EvidenceRejected, Reason
from blindai.testing import FakeTdx, Window
from tests import evidence
from tests.attestation.scene import NOW, Client, assert_refused, attest, refusal

DAY_SECONDS = 24 * 3600
NUMBERS = {"tcb_evaluation": "tcb_evaluation", "leaf_crl": "pck_crl_number", "root_crl": "root_crl_number"}


@pytest.mark.parametrize("number", NUMBERS)
def test_an_older_number_than_seen_before_is_refused(number):
    """Each of the numbers that only grow has a floor of its own."""
    new = FakeTdx(now=NOW, **{NUMBERS[number]: 30})
    seen = attest(new)
    assert getattr(seen.freshness, number) == 30
    old = FakeTdx(now=NOW, root=new.root, **{NUMBERS[number]: 29})
    client = Client(floors={seen.platform: seen.freshness})
    assert_refused(lambda: attest(old, client), Reason.TCB_ROLLED_BACK, EvidenceRejected)
    error = refusal(lambda: attest(old, client))
    assert len(error.verdict.failures) == 1


@pytest.mark.parametrize("number", NUMBERS)
def test_the_same_or_a_newer_number_is_accepted(number):
    """A floor is what was seen, not one more."""
    new = FakeTdx(now=NOW, **{NUMBERS[number]: 30})
    for least in (29, 30):
        client = Client(floors={attest(new).platform: Floor(**{number: least})})
        assert attest(new, client).verdict.accepted


def test_floors_are_kept_per_platform_and_root():
    """What one family of processors or one simulation has seen says nothing about another."""
    first = FakeTdx(now=NOW, tcb_evaluation=30)
    floors = {attest(first).platform: attest(first).freshness}
    other_family = FakeTdx(now=NOW, root=first.root, fmspc=b"SIM\1\1\1")
    other_root = FakeTdx(now=NOW)
    for machine in (other_family, other_root):
        assert attest(machine, Client(floors=floors)).platform not in floors


def test_a_floor_never_sinks():
    """Raising keeps the greatest of each number."""
    assert Floor(5, 1, 9).raised_to(Floor(4, 2, 9)) == Floor(5, 2, 9)


def test_a_platform_key_tells_no_serial_number():
    """The key of a floor is a root and a processor family: nothing that identifies one machine."""
    root, _, family = attest(FakeTdx(now=NOW)).platform.partition("/")
    assert (len(root), family) == (64, "tdx-" + b"SIM\0\0\0".hex())


def test_genuine_collateral_of_another_month_ranks_higher():
    """Intel numbers all its CRLs 1: with one TCB evaluation, something else must tell months apart."""
    june, october = (
        intel_collateral.freshness(intel_collateral.parse(evidence.read("tdx", name).collateral))
        for name in ("v4-uptodate-b0c06f", "v4-outofdate-00806f05")
    )
    assert june.tcb_evaluation == october.tcb_evaluation
    assert june != october
    assert june.raised_to(october) == october


@pytest.mark.parametrize("piece", ["pck_crl", "root_crl"])
def test_an_older_crl_with_the_same_number_is_refused(piece):
    """A vendor that never counts must not make roll-back possible: dates only grow, too."""
    new = FakeTdx(now=NOW)
    seen = attest(new)
    old = FakeTdx(now=NOW, root=new.root, **{piece: Window(-20 * DAY_SECONDS, 30 * DAY_SECONDS)})
    assert attest(old).verdict.accepted
    client = Client(floors={seen.platform: seen.freshness})
    assert_refused(lambda: attest(old, client), Reason.TCB_ROLLED_BACK, EvidenceRejected)
