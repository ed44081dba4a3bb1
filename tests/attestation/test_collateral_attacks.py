"""Collateral that is signed, but not by whom, not for what, or not as it looks."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from blindai.attestation.intel import collateral as intel_collateral
from blindai.attestation.trust import (
    ProductionTrust,
    SimulationTrust,
    fingerprint,
)
from blindai.errors import (
    AttestationError,
    EvidenceForged,
    EvidenceMalformed,
    EvidenceRejected,
    Reason,
)
from blindai.tee.simulated import pki
from tests.attestation.scene import NOW, Client, assert_refused, refusal
from tests.attestation.scene import attest as attest_answer
from tests.attestation.vendor_tricks import Workshop, hidden

TCB_INFO = ("tcb_info", "tcb_info_signature")
QE_IDENTITY = ("qe_identity", "qe_identity_signature")
LABELS = ["X509 CERTIFICATE", "TRUSTED CERTIFICATE", "CERTIFICATE REQUEST", "ANYTHING"]


def test_the_workshop_is_honest_until_told_otherwise():
    """The machine that the attacks below start from is accepted, so a refusal is about the attack."""
    assert Workshop.make().attest().verdict.accepted


@pytest.mark.parametrize("piece", ["tcb_info", "qe_identity"])
def test_a_platform_key_cannot_sign_tcb_data(piece):
    """One PCK key taken out of any old machine must not decide which machines are up to date.

    It chains to the vendor's root like the TCB signer does. If it could sign TCB info, an out-of-date host
    would call itself UpToDate; if it could sign a QE identity, its owner's own enclave would be the quoting
    enclave.
    """
    workshop = Workshop.make()
    forged = workshop.signed_by(workshop.vendor.pck)
    workshop.replace(forged, piece, f"{piece}_signature")
    workshop.published[f"{piece}_issuer_chain"] = workshop.vendor.pck_chain_pem
    assert isinstance(refusal(workshop.attest), EvidenceForged)


def test_an_out_of_date_platform_cannot_call_itself_up_to_date():
    """The same attack to its end: refused as out of date, or as forged, but never accepted."""
    workshop = Workshop.make(tcb_status="OutOfDate", advisories=("INTEL-SA-00001",))
    forged = workshop.signed_by(workshop.vendor.pck, tcb_status="UpToDate")
    workshop.replace(forged, *TCB_INFO)
    workshop.published["tcb_info_issuer_chain"] = workshop.vendor.pck_chain_pem
    assert isinstance(refusal(workshop.attest), EvidenceForged)


@pytest.mark.parametrize("label", LABELS)
def test_an_issuer_cannot_be_hidden_from_our_parser(label):
    """Both PEM readers must see the same chain: else a rule about it is checked on another one."""
    workshop = Workshop.make(tcb_status="OutOfDate")
    vendor = workshop.vendor
    workshop.replace(workshop.signed_by(vendor.pck, tcb_status="UpToDate"), *TCB_INFO)
    chain = vendor.pck.pem + hidden(vendor.platform_ca.pem, label) + vendor.root.pem
    workshop.published["tcb_info_issuer_chain"] = chain
    assert isinstance(refusal(workshop.attest), AttestationError)


@pytest.mark.parametrize("label", LABELS)
def test_a_chain_has_one_kind_of_block(label):
    """A certificate under another label is malformed, even where everything else is true."""
    workshop = Workshop.make()
    vendor = workshop.vendor
    workshop.published["tcb_info_issuer_chain"] = hidden(vendor.tcb_signer.pem, label) + vendor.root.pem
    assert_refused(workshop.attest, Reason.CERTIFICATE_MALFORMED, EvidenceMalformed)


@pytest.mark.parametrize(
    "edit",
    [
        lambda chain: "a comment\n" + chain,
        lambda chain: chain + "a comment\n",
        lambda chain: chain.replace("\n", "\r\n"),
        lambda chain: chain.replace("\n", ""),
        lambda chain: chain.replace("\n", "\v"),
        lambda chain: (
            chain + "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
        ),
    ],
    ids=["text before", "text after", "CRLF", "no line ends", "vertical tabs", "another block"],
)
def test_a_chain_has_one_spelling(edit):
    """Text around certificates and other line ends are refused: nothing unread is let through."""
    workshop = Workshop.make()
    workshop.published["tcb_info_issuer_chain"] = edit(workshop.published["tcb_info_issuer_chain"])
    assert_refused(workshop.attest, Reason.CERTIFICATE_MALFORMED, EvidenceMalformed)


@pytest.mark.parametrize("signer", ["root", "platform_ca"])
def test_an_authority_cannot_sign_tcb_data(signer):
    """Only the TCB signing certificate speaks about TCB levels, not those who may issue it."""
    workshop = Workshop.make()
    holder = getattr(workshop.vendor, signer)
    workshop.replace(workshop.signed_by(holder), *TCB_INFO)
    workshop.published["tcb_info_issuer_chain"] = holder.pem + workshop.vendor.root.pem
    assert_refused(workshop.attest, Reason.SIGNATURE_INVALID, EvidenceForged)


def test_a_root_alone_is_no_chain():
    """A root vouches for others; what it signed itself comes from nobody who may speak about platforms."""
    workshop = Workshop.make()
    workshop.replace(workshop.signed_by(workshop.vendor.root), *TCB_INFO)
    workshop.published["tcb_info_issuer_chain"] = workshop.vendor.root.pem
    assert_refused(workshop.attest, Reason.CERTIFICATE_MALFORMED, EvidenceMalformed)


@pytest.mark.parametrize("piece", ["tcb_info", "qe_identity"])
@pytest.mark.parametrize(
    ("names", "accepted"),
    [
        (["Intel SGX TCB Signing"], True),
        (["Intel SGX TCB Reporting"], False),
        (["Intel SGX TCB Signing", "Intel SGX TCB Reporting"], False),
        (["Intel SGX TCB Reporting", "Intel SGX TCB Signing"], False),
        ([], False),
    ],
    ids=["the signer", "another name", "named twice", "named second", "no name"],
)
def test_the_root_names_who_signs_tcb_data(piece, names, accepted, monkeypatch):
    """Whatever else the root issues directly, today or one day, does not speak about TCB levels."""
    workshop = Workshop.make()
    common = [x509.NameAttribute(NameOID.COMMON_NAME, name) for name in names]
    monkeypatch.setattr(pki, "_name", lambda role: x509.Name(common))
    root = workshop.vendor.root
    signer = pki._issue("", workshop.platform.certificates, NOW, issuer=root, path_length=None)
    workshop.replace(workshop.signed_by(signer), piece, f"{piece}_signature")
    workshop.published[f"{piece}_issuer_chain"] = signer.pem + root.pem
    if accepted:
        assert workshop.attest().verdict.accepted
    else:
        assert_refused(workshop.attest, Reason.SIGNATURE_INVALID, EvidenceForged)


def test_a_crl_of_another_issuer_does_not_clear_a_revoked_platform():
    """The vendor has two CAs for platforms: the list of the other one is genuine, and says nothing here."""
    workshop = Workshop.make(pck_revoked=True)
    assert_refused(workshop.attest, Reason.CERTIFICATE_REVOKED, EvidenceRejected)
    platform = workshop.platform
    root = workshop.vendor.root
    processor_ca = pki._issue("PCK Processor CA", platform.certificates, NOW, issuer=root, path_length=0)
    crl = pki.crl(processor_ca, [], number=9, window=platform.collateral, now=NOW)
    workshop.published |= {
        "pck_crl": crl.hex(),
        "pck_crl_issuer_chain": processor_ca.pem + root.pem,
    }
    assert_refused(workshop.attest, Reason.CRL_FORGED, EvidenceForged)


@pytest.mark.parametrize("chain", ["pck_crl_issuer_chain", "tcb_info_issuer_chain"])
def test_the_roots_crl_does_not_stand_in_for_the_platform_cas(chain):
    """CRLs are not interchangeable, even when both are signed and valid."""
    workshop = Workshop.make(pck_revoked=True)
    workshop.published["pck_crl"] = workshop.published["root_ca_crl"]
    workshop.published["pck_crl_issuer_chain"] = workshop.published[chain]
    assert_refused(workshop.attest, Reason.CRL_FORGED, EvidenceForged)


def test_the_platform_cas_crl_does_not_stand_in_for_the_roots():
    """Nor the other way round, where it would hide a revoked CA."""
    workshop = Workshop.make(platform_ca_revoked=True)
    workshop.published["root_ca_crl"] = workshop.published["pck_crl"]
    assert_refused(workshop.attest, Reason.CRL_FORGED, EvidenceForged)


def test_chains_of_two_trusted_roots_do_not_add_up():
    """Who trusts two simulations does not trust a mixture of them: one root ends all four chains."""
    first, second = (Workshop.make().vendor.root.certificate for _ in range(2))
    trust = SimulationTrust([fingerprint(first), fingerprint(second)])
    assert intel_collateral.trusted_root([(first,), (first,)], trust) == first
    assert_refused(
        lambda: intel_collateral.trusted_root([(first,), (second,)], trust),
        Reason.ROOT_UNKNOWN,
        EvidenceForged,
    )


@pytest.mark.parametrize(
    ("trust", "words"),
    [(ProductionTrust(), "Intel's root"), (SimulationTrust(["ab" * 32]), "trusted simulation root")],
)
def test_a_refused_root_is_told_from_what_was_expected(tdx, trust, words):
    """Who meets a simulation by surprise reads so, and who dials a restarted one."""
    assert words in str(refusal(lambda: attest_answer(tdx, Client(trust=trust))))


def test_the_signer_of_tcb_data_is_issued_by_the_root_above_it():
    """Its name alone makes nobody the signer: the root must have issued it."""
    workshop = Workshop.make()
    stranger = Workshop.make().vendor.tcb_signer
    workshop.published["tcb_info_issuer_chain"] = stranger.pem + workshop.vendor.root.pem
    assert_refused(workshop.attest, Reason.CHAIN_INVALID, EvidenceForged)
