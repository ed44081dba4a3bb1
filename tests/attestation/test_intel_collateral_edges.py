"""Intel's stapled collateral at its edges: how large, how many certificates, which dates."""

from __future__ import annotations

import dataclasses
import ssl

import pytest

from blindai.attestation.intel import collateral as intel_collateral
from blindai.attestation.intel.quote import parse_tdx
from blindai.errors import EvidenceForged, EvidenceMalformed, EvidenceRejected, Reason
from blindai.testing import FakeSnp, FakeTdx
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


def parsed_of(**knobs):
    """Return the parsed collateral of a machine, and the chain of its platform's certificate."""
    machine = FakeTdx(now=NOW, **knobs)
    chain = parse_tdx(machine.evidence(bytes(64)).value).pck_chain_pem.removesuffix(b"\0")
    return intel_collateral.parse(machine.collateral()["intel"]), intel_collateral.certificates(chain)


@pytest.mark.parametrize("place", [1, 2])
def test_the_root_itself_issues_the_signer_of_tcb_data(place):
    """One authority more in between, and any authority could issue a signer of that name."""
    parsed, _ = parsed_of()
    intel_collateral.check_signers(parsed)
    signer, root = parsed.chains[place]
    chains = list(parsed.chains)
    chains[place] = (signer, root, root)
    other = dataclasses.replace(parsed, chains=tuple(chains))
    assert_refused(lambda: intel_collateral.check_signers(other), Reason.SIGNATURE_INVALID, EvidenceForged)


@pytest.mark.parametrize("piece", ["tcb_info", "qe_identity"])
@pytest.mark.parametrize("version", [None, 1, 4, "3", "2"])
def test_another_version_of_a_signed_text_is_malformed(piece, version):
    """Before its signature is looked at: the library below reads some of them by other rules."""
    parsed, _ = parsed_of()
    intel_collateral.check_tee(parsed, "tdx")
    other = dataclasses.replace(parsed, **{piece: {**getattr(parsed, piece), "version": version}})
    assert_refused(
        lambda: intel_collateral.check_tee(other, "tdx"), Reason.COLLATERAL_MALFORMED, EvidenceMalformed
    )


@pytest.mark.parametrize("piece", ["tcb_info", "qe_identity"])
@pytest.mark.parametrize("name", ["issueDate", "nextUpdate"])
@pytest.mark.parametrize(
    "date",
    [
        "2030-01-01T00:00:00+00:00", "2030-01-01T00:00:00", "2030-01-01", "20300101T000000Z",
        "2030-01-01T00:00:00Z ", "2030-01-01 00:00:00Z", "2030-01-01T00:00:00.5Z", "2030-02-30T00:00:00Z",
        "2030-01-01T24:61:00Z", None, 1,
    ],
)  # fmt: skip
def test_a_date_has_one_form(piece, name, date):
    """Python reads many more, some of them as local time."""
    parsed, pck_chain = parsed_of()
    other = dataclasses.replace(parsed, **{piece: {**getattr(parsed, piece), name: date}})
    assert_refused(
        lambda: list(intel_collateral.validity(other, pck_chain)),
        Reason.COLLATERAL_MALFORMED,
        EvidenceMalformed,
    )


def test_a_revoked_authority_is_found_in_the_platforms_own_chain():
    """Though another certificate of the same authority comes with its CRL."""
    parsed, pck_chain = parsed_of(platform_ca_revoked=True)
    renewed = dataclasses.replace(parsed, chains=parsed.chains[1:])
    assert_refused(
        lambda: intel_collateral.check_revocation(renewed, pck_chain), Reason.ISSUER_REVOKED, EvidenceRejected
    )


def test_each_crl_speaks_for_its_own_issuer():
    """A serial number names a certificate only beside who issued it."""
    parsed, pck_chain = parsed_of(pck_revoked=True)
    assert_refused(
        lambda: intel_collateral.check_revocation(parsed, pck_chain),
        Reason.CERTIFICATE_REVOKED,
        EvidenceRejected,
    )
    swapped = dataclasses.replace(parsed, pck_crl=parsed.root_crl, root_crl=parsed.pck_crl)
    intel_collateral.check_revocation(swapped, pck_chain)
