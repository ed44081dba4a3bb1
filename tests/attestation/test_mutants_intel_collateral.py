"""Intel's stapled collateral at its edges: how large, how many certificates, which dates."""

from __future__ import annotations

import ssl

import pytest

from blindai.attestation.intel import collateral as intel_collateral
from blindai.errors import EvidenceMalformed, Reason
from blindai.testing import FakeSnp
from tests.attestation.scene import NOW, assert_refused

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


@pytest.mark.parametrize("member", ["root_ca_crl", "pck_crl", "tcb_info_signature", "qe_identity_signature"])
@pytest.mark.parametrize(
    "edit",
    [
        lambda text: f"{text[:2]} {text[2:]}",
        lambda text: text[:-1],
        lambda _: "",
        lambda text: f"{text[:-1]}g",
        lambda text: f"{text}\n",
    ],
    ids=["a blank", "an odd number", "nothing", "no digit", "a line end"],
)
def test_hexadecimal_is_digits_and_nothing_else(tdx, member, edit):
    """One member that `bytes.fromhex` or the library below reads otherwise, though all others are right."""
    members = tdx.collateral()["intel"]
    changed = {**members, member: edit(members[member])}
    assert_refused(lambda: intel_collateral.parse(changed), Reason.COLLATERAL_MALFORMED, EvidenceMalformed)


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
def test_every_serial_number_of_a_chain_is_positive(tdx):
    """A CRL cannot name the one that is not, wherever it stands."""
    zero = ssl.DER_cert_to_PEM_cert(FakeSnp(now=NOW).leaf_der)
    for chain in (zero + tdx.root_pem, tdx.root_pem + zero):
        assert_refused(
            lambda chain=chain: intel_collateral.certificates(chain.encode()),
            Reason.CERTIFICATE_MALFORMED,
            EvidenceMalformed,
        )
