"""Collateral that is signed, but not by whom, not for what, or not as it looks."""

from __future__ import annotations

import pytest

from blindai.attestation.trust import StapledSimulationTrust
from blindai.errors import (
    AttestationError,
    EvidenceForged,
    EvidenceMalformed,
    EvidenceRejected,
    Reason,
)
from blindai.tee.simulated import pki
from blindai.testing import FakeTdx
from tests.attestation.scene import NOW, Client, assert_refused, refusal, with_intel
from tests.attestation.scene import attest as attest_answer
from tests.attestation.vendor_tricks import Workshop, der_of, hidden, pem_of, with_version

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
    root = workshop.vendor.root.pem
    workshop.published["tcb_info_issuer_chain"] = root if signer == "root" else holder.pem + root
    assert isinstance(refusal(workshop.attest), EvidenceForged)


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
    assert_refused(workshop.attest, Reason.SIGNATURE_INVALID, EvidenceForged)


@pytest.mark.parametrize("chain", ["pck_crl_issuer_chain", "tcb_info_issuer_chain"])
def test_the_roots_crl_does_not_stand_in_for_the_platform_cas(chain):
    """CRLs are not interchangeable, even when both are signed and valid."""
    workshop = Workshop.make(pck_revoked=True)
    workshop.published["pck_crl"] = workshop.published["root_ca_crl"]
    workshop.published["pck_crl_issuer_chain"] = workshop.published[chain]
    assert_refused(workshop.attest, Reason.SIGNATURE_INVALID, EvidenceForged)


def test_the_platform_cas_crl_does_not_stand_in_for_the_roots():
    """Nor the other way round, where it would hide a revoked CA."""
    workshop = Workshop.make(platform_ca_revoked=True)
    workshop.published["root_ca_crl"] = workshop.published["pck_crl"]
    assert_refused(workshop.attest, Reason.SIGNATURE_INVALID, EvidenceForged)


def test_signed_texts_are_not_interchangeable():
    """TCB info and QE identity have one signer; each passes for itself only."""
    workshop = Workshop.make()
    own = dict(workshop.published)
    for here, there in (("tcb_info", "qe_identity"), ("qe_identity", "tcb_info")):
        workshop.published |= {here: own[there], f"{here}_signature": own[f"{there}_signature"]}
    assert isinstance(refusal(workshop.attest), AttestationError)


@pytest.mark.parametrize("piece", ["tcb_info", "qe_identity"])
@pytest.mark.parametrize("edit", [lambda text: " " + text, lambda text: text + "\n"], ids=["before", "after"])
def test_signed_texts_are_compared_byte_by_byte(piece, edit):
    """JSON that means the same but reads differently is not what was signed."""
    workshop = Workshop.make()
    workshop.published[piece] = edit(workshop.published[piece])
    assert_refused(workshop.attest, Reason.SIGNATURE_INVALID, EvidenceForged)


@pytest.mark.parametrize("piece", ["pck_crl", "root_ca_crl", "tcb_info_signature", "qe_identity_signature"])
def test_hexadecimal_has_no_spaces(piece):
    """`bytes.fromhex` skips blanks; the verifier behind it does not. One text, one meaning."""
    workshop = Workshop.make()
    text = workshop.published[piece]
    workshop.published[piece] = f"{text[:2]} {text[2:]}"
    assert isinstance(refusal(workshop.attest), AttestationError)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tcbEvaluationDataNumber", True),
        ("tcbEvaluationDataNumber", "18"),
        ("tcbEvaluationDataNumber", None),
        ("tcbEvaluationDataNumber", -1),
        ("tcbEvaluationDataNumber", 2**64),
        ("issueDate", None),
        ("issueDate", 0),
        ("issueDate", "2026-9-1T1:1:1Z"),
        ("issueDate", "0001-01-01T00:00:00Z"),
        ("nextUpdate", "2026-13-01T00:00:00Z"),
        ("nextUpdate", "9999-99-99T00:00:00Z"),
        ("nextUpdate", []),
        ("version", 2),
        ("version", "3"),
        ("tcbLevels", []),
        ("tcbLevels", {}),
    ],
)
@pytest.mark.parametrize("piece", ["edit_tcb_info", "edit_qe_identity"])
def test_signed_nonsense_is_refused(piece, name, value):
    """Even the vendor's signature does not make a wrong type or a date that is none acceptable."""
    tdx = FakeTdx(now=NOW, **{piece: lambda text: text.__setitem__(name, value)})
    if (piece, name, value) == ("edit_qe_identity", "version", 2):
        assert attest_answer(tdx).verdict.accepted  # 2 is what it is
        return
    assert isinstance(refusal(lambda: attest_answer(tdx)), AttestationError)


@pytest.mark.parametrize("piece", ["edit_tcb_info", "edit_qe_identity"])
def test_the_older_evaluation_counts(piece):
    """TCB info of today with a QE identity of last year is as old as the older of the two."""
    tdx = FakeTdx(now=NOW, **{piece: lambda text: text.__setitem__("tcbEvaluationDataNumber", 3)})
    assert attest_answer(tdx).freshness.tcb_evaluation == 3


@pytest.mark.parametrize("member", ["pck_crl_issuer_chain", "tcb_info_issuer_chain", "tcb_info", "pck_crl"])
@pytest.mark.parametrize("text", ["\ud800", "\0", "\u212a", "9" * 5000, "[" * 2000], ids=ascii)
def test_hostile_text_ends_in_our_own_error(tdx, member, text):
    """Lone surrogates, NUL, letters of another alphabet, long numbers, deep nesting."""
    error = refusal(lambda: attest_answer(tdx, collateral=with_intel(tdx, **{member: text[:200000]})))
    assert isinstance(error, EvidenceMalformed)


@pytest.mark.parametrize("version", [0, 1, 3, 9, 127])
def test_a_certificate_of_another_version_ends_in_our_own_error(tdx, version):
    """`cryptography` has an exception of its own for these, outside ValueError."""
    chain = tdx.collateral()["intel"]["tcb_info_issuer_chain"]
    strange = with_version(chain.partition("-----END")[0] + "-----END CERTIFICATE-----\n", version)
    collateral = with_intel(tdx, tcb_info_issuer_chain=strange + tdx.root_pem)
    assert isinstance(refusal(lambda: attest_answer(tdx, collateral=collateral)), AttestationError)


def test_a_crl_of_another_version_ends_in_our_own_error(tdx):
    """So has it for CRLs."""
    crl = tdx.collateral()["intel"]["pck_crl"]
    strange = crl.replace("020101", "020107", 1)
    assert strange != crl
    error = refusal(lambda: attest_answer(tdx, collateral=with_intel(tdx, pck_crl=strange)))
    assert isinstance(error, EvidenceMalformed)


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
def test_a_negative_serial_number_ends_in_our_own_error():
    """A certificate may have one; looking it up in a CRL may not crash."""
    workshop = Workshop.make()
    der = bytearray(der_of(workshop.vendor.pck.pem))
    der[der.index(bytes.fromhex("a00302010202")) + 7] |= 0x80
    workshop.pck_chain = pem_of(bytes(der)) + workshop.vendor.platform_ca.pem + workshop.vendor.root.pem
    assert isinstance(refusal(workshop.attest), AttestationError)


def test_a_root_with_an_unreadable_name_ends_in_our_own_error():
    """Whatever root a server staples is read before any signature is checked."""
    workshop = Workshop.make()
    root = workshop.vendor.root.pem
    der = der_of(root)
    subject = der.rindex(b"SIMULATION - NOT A TEE: SGX Root CA")
    strange = pem_of(der[:subject] + b"\xff\xfe" + der[subject + 2 :])
    workshop.pck_chain = workshop.pck_chain.replace(root, strange)
    for member in ("pck_crl_issuer_chain", "tcb_info_issuer_chain", "qe_identity_issuer_chain"):
        workshop.published[member] = workshop.published[member].replace(root, strange)
    client = Client(trust=StapledSimulationTrust())
    assert isinstance(refusal(lambda: workshop.attest(client)), AttestationError)
