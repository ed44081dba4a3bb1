"""The negative matrix: every row that a verifier has to refuse, for every TEE that the row names.

Rows are those of the facts behind the design (attestation.md, F.1); row 11 is NVIDIA's, which this version
does not verify. Each case is told as a lie through the public `blindai.verify`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import pytest

from blindai.errors import Reason
from tests.attestation.lies import LIES, named, told
from tests.attestation.scene import FAKES, refusal, verify

ALL = tuple(FAKES)
INTEL = ("tdx", "sgx")


@dataclass(frozen=True)
class Case:
    """One case of a row: the reason that it ends in, and the lies that tell it, about each of `tees`."""

    row: int
    what: str
    reason: Reason
    tees: tuple[str, ...]
    lies: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.row}: {self.what}"


def case(row: int, what: str, reason: Reason, tees: tuple[str, ...], *lies: str) -> Case:
    return Case(row, what, reason, tees, lies)


AMD = ("sev-snp",)
AWS = ("nitro",)
TDX = ("tdx",)
CASES = [
    case(1, "debug", Reason.DEBUG_ENABLED, ALL, "debug"),
    case(2, "out of date", Reason.TCB_OUT_OF_DATE, INTEL, "status OutOfDate", "QE out of date"),
    case(2, "module out of date", Reason.TCB_OUT_OF_DATE, TDX, "module out of date"),
    case(2, "advisories", Reason.TCB_ADVISORY, INTEL, "advisory"),
    case(3, "hardening needed", Reason.TCB_HARDENING_NEEDED, INTEL, "status SWHardeningNeeded"),
    case(
        3,
        "configuration needed",
        Reason.TCB_CONFIGURATION_NEEDED,
        INTEL,
        "status ConfigurationNeeded",
        "status ConfigurationAndSWHardeningNeeded",
    ),
    case(4, "below all TCB levels", Reason.TCB_UNKNOWN, INTEL, "below every level"),
    case(
        4,
        "below all TCB levels, v5",
        Reason.TCB_UNKNOWN,
        TDX,
        "below every level, v5, body 2",
        "below every level, v5, body 3",
    ),
    case(5, "service domain bound", Reason.SERVICE_TD_BOUND, TDX, "service domain"),
    case(6, "TCB status Revoked", Reason.TCB_REVOKED, INTEL, "TCB revoked", "QE revoked"),
    case(6, "PCK revoked", Reason.CERTIFICATE_REVOKED, INTEL, "PCK revoked"),
    case(6, "an issuer revoked", Reason.ISSUER_REVOKED, INTEL, "platform CA revoked", "TCB signer revoked"),
    case(
        7,
        "collateral expired",
        Reason.COLLATERAL_EXPIRED,
        INTEL,
        "collateral expired",
        "tcb_info expired",
        "qe_identity expired",
    ),
    case(
        7,
        "collateral not yet valid",
        Reason.COLLATERAL_NOT_YET_VALID,
        INTEL,
        "collateral from the future",
        "tcb_info from the future",
        "qe_identity from the future",
        "pck_crl from the future",
        "root_crl from the future",
    ),
    case(7, "CRL only expired", Reason.CRL_EXPIRED, INTEL, "pck_crl expired", "root_crl expired"),
    case(7, "collateral of another FMSPC", Reason.COLLATERAL_MISMATCH, INTEL, "another FMSPC"),
    case(
        7,
        "collateral of another TEE",
        Reason.COLLATERAL_OTHER_TEE,
        INTEL,
        "TCB info of the other TEE",
        "QE identity of the other TEE",
        "collateral of the other TEE",
    ),
    case(8, "wrong leaf: chip", Reason.CHIP_MISMATCH, AMD, "wrong leaf: of another chip", "masked chip"),
    case(
        8,
        "wrong leaf: TCB",
        Reason.LEAF_TCB_MISMATCH,
        AMD,
        "wrong leaf: of another TCB",
        "wrong leaf: of a newer TCB",
    ),
    case(
        8,
        "wrong leaf: chain",
        Reason.CHAIN_INVALID,
        AMD,
        "leaf by a stranger",
        "issuer by a stranger",
        "wrong chain: the ASVK above a VCEK",
    ),
    case(
        8,
        "wrong leaf: signature",
        Reason.SIGNATURE_INVALID,
        AMD,
        "wrong leaf: of another key",
        "signed by a stranger",
    ),
    case(
        9,
        "VLEK for VCEK and back",
        Reason.SIGNING_KEY_MISMATCH,
        AMD,
        "VLEK called VCEK",
        "VCEK called VLEK",
        "VLEK stapled for a VCEK",
    ),
    case(
        9,
        "Turin for Milan",
        Reason.PRODUCT_MISMATCH,
        AMD,
        "Turin that shows a leaf of Milan",
        "Milan that shows a leaf of Genoa",
    ),
    case(
        9,
        "the layout of Turin for that of Milan",
        Reason.LEAF_TCB_MISMATCH,
        AMD,
        "Milan's TCB in Turin's order",
        "Turin's TCB in Milan's order",
    ),
    case(10, "expired leaf", Reason.CERTIFICATE_EXPIRED, AWS, "leaf expired", "three hours later"),
    case(10, "an old document", Reason.EVIDENCE_STALE, AWS, "an old document", "six minutes later"),
    case(10, "a replay", Reason.REPORT_DATA_MISMATCH, AWS, "another nonce"),
    case(12, "report data", Reason.REPORT_DATA_MISMATCH, ALL, "zero report data", "unbound keyset"),
    case(12, "nonce", Reason.REPORT_DATA_MISMATCH, ALL, "another nonce"),
    case(12, "nonce absent", Reason.CHALLENGE_MISSING, ALL, "nonce absent"),
    case(12, "SPKI", Reason.TLS_KEY_MISMATCH, ALL, "swapped key", "keyset of another key"),
    case(12, "name", Reason.NAME_MISMATCH, ALL, "another name"),
    case(13, "simulation under production trust", Reason.ROOT_UNKNOWN, ALL, "production trust"),
]
# One word for two cases, where what is checked is one: a hash over report data, nonce and keys tells that it
# differs and not in what; a TCB version read in another order is another TCB version; module, quoting enclave
# and platform have one status.
ONE_CHECK = {
    Reason.REPORT_DATA_MISMATCH: {"a replay", "report data", "nonce"},
    Reason.LEAF_TCB_MISMATCH: {"wrong leaf: TCB", "the layout of Turin for that of Milan"},
    Reason.TCB_OUT_OF_DATE: {"out of date", "module out of date"},
    Reason.TCB_UNKNOWN: {"below all TCB levels", "below all TCB levels, v5"},
}
# What the rows name: (row, TEE). Row 4 and 5 say "TDX v5".
NAMED = {
    *((1, tee) for tee in ALL),
    *[(2, "tdx"), (3, "sgx"), (4, "tdx"), (5, "tdx")],
    *((row, tee) for row in (6, 7) for tee in INTEL),
    *[(8, "sev-snp"), (9, "sev-snp"), (10, "nitro")],
    *((row, tee) for row in (12, 13) for tee in ALL),
}


@pytest.mark.parametrize("row", CASES, ids=str)
def test_each_case_is_refused_for_what_it_is(row):
    """Through the public function, for every TEE, with a verdict that names the reason."""
    for tee in row.tees:
        for name in row.lies:
            machine, client, lies = told(named(tee, name))
            error = refusal(lambda told=(machine, client, lies): verify(told[0], told[1], **told[2]))
            assert (str(row), tee, name, error.reason) == (str(row), tee, name, row.reason)
            assert row.reason in error.verdict.reasons


def test_every_row_and_every_tee_of_it_is_there():
    """The rows that concern verification, each for the TEEs that it names."""
    assert {row.row for row in CASES} == {*range(1, 11), 12, 13}
    assert {(row.row, tee) for row in CASES for tee in row.tees} >= NAMED


def test_each_case_has_a_reason_of_its_own():
    """Two cases have one word only where one check refuses both."""
    counted = Counter(row.reason for row in CASES)
    shared = {
        reason: {row.what for row in CASES if row.reason is reason}
        for reason, count in counted.items()
        if count > 1
    }
    assert shared == ONE_CHECK


def test_every_lie_of_a_case_is_about_the_reason_of_the_case():
    """The table and the lies that it names agree before anything is told."""
    for row in CASES:
        assert {named(tee, name).reason for tee in row.tees for name in row.lies} == {row.reason}


def test_every_tee_is_lied_about_in_every_class():
    """Malformed, forged and rejected: no TEE is spared one."""
    assert Counter((lie.tee, lie.kind) for lie in LIES).keys() == {
        (tee, kind) for tee in ALL for kind in {lie.kind for lie in LIES}
    }
