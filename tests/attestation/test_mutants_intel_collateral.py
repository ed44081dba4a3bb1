"""Intel's stapled collateral at its edges: how large, how many certificates, which dates."""

from __future__ import annotations

import pytest

from blindai.attestation.intel import collateral as intel_collateral
from blindai.errors import EvidenceMalformed, Reason
from tests.attestation.scene import assert_refused

LIMIT = 256 * 1024


def test_collateral_of_256_kib_is_read_and_no_larger_one(tdx):
    """Blanks behind the JSON make it that large."""
    members = tdx.collateral()["intel"]
    blanks = " " * (LIMIT - sum(map(len, members.values())))
    assert intel_collateral.parse({**members, "tcb_info": members["tcb_info"] + blanks})
    assert_refused(
        lambda: intel_collateral.parse({**members, "tcb_info": members["tcb_info"] + blanks + " "}),
        Reason.COLLATERAL_TOO_LARGE,
        EvidenceMalformed,
    )


@pytest.mark.parametrize("count", range(6))
def test_a_chain_has_two_or_three_certificates(tdx, count):
    """A TCB signer and the root, or a PCK certificate, its authority and the root."""
    pem = tdx.root_pem.encode() * count
    if count in (2, 3):
        assert len(intel_collateral.certificates(pem)) == count
    else:
        assert_refused(
            lambda: intel_collateral.certificates(pem), Reason.CERTIFICATE_MALFORMED, EvidenceMalformed
        )
