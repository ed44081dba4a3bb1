"""Collateral that is signed, but not by whom, not for what, or not as it looks."""

from __future__ import annotations

import dataclasses

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from blindai.attestation.intel import collateral as intel_collateral
from blindai.attestation.trust import (
    ProductionTrust,
    SimulationTrust,
    StapledSimulationTrust,
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
from blindai.testing import FakeTdx, TlsIdentity
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
    """Our own rule, though the library behind it checks the chain, too."""
    workshop = Workshop.make()
    stranger = Workshop.make().vendor.tcb_signer
    intel_collateral.check_signers(intel_collateral.parse(workshop.published))
    workshop.published["tcb_info_issuer_chain"] = stranger.pem + workshop.vendor.root.pem
    parsed = intel_collateral.parse(workshop.published)
    assert_refused(lambda: intel_collateral.check_signers(parsed), Reason.SIGNATURE_INVALID, EvidenceForged)


def test_the_edges_of_what_is_valid_now():
    """The first second counts, the last one does not."""
    valid = intel_collateral.Window(NOW, NOW + 10)
    for moment in (NOW, NOW + 9):
        intel_collateral.check_dates(valid, moment)
    for moment, reason in (
        (NOW - 1, Reason.COLLATERAL_NOT_YET_VALID),
        (NOW + 10, Reason.COLLATERAL_EXPIRED),
    ):
        assert_refused(lambda moment=moment: intel_collateral.check_dates(valid, moment), reason)


@pytest.mark.parametrize("value", [True, "18", None, 18.0])
@pytest.mark.parametrize("piece", ["tcb_info", "qe_identity"])
def test_an_evaluation_number_is_a_number(tdx, piece, value):
    """Our own rule, though the library behind it reads these texts, too: a floor is raised with it."""
    parsed = intel_collateral.parse(tdx.collateral()["intel"])
    text = {**getattr(parsed, piece), "tcbEvaluationDataNumber": value}
    other = dataclasses.replace(parsed, **{piece: text})
    assert_refused(lambda: intel_collateral.freshness(other), Reason.COLLATERAL_MALFORMED)


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


@pytest.mark.parametrize(
    ("surplus", "reason"), [(0, Reason.SIGNATURE_INVALID), (1, Reason.COLLATERAL_TOO_LARGE)]
)
def test_collateral_up_to_its_largest_size_is_read(tdx, surplus, reason):
    """256 KiB in all; blanks behind the JSON make it that large, and break its signature."""
    members = tdx.collateral()["intel"]
    blanks = intel_collateral.MAX_COLLATERAL_BYTES - sum(map(len, members.values())) + surplus
    collateral = with_intel(tdx, tcb_info=members["tcb_info"] + " " * blanks)
    assert_refused(lambda: attest_answer(tdx, collateral=collateral), reason)


@pytest.mark.parametrize("value", [None, True, 1, [], ["00"], {}], ids=repr)
@pytest.mark.parametrize("member", sorted(intel_collateral.MEMBERS))
def test_every_member_is_a_text(tdx, member, value):
    """JSON has other types; none of them is hexadecimal, PEM or the text that was signed."""
    collateral = with_intel(tdx, **{member: value})
    assert_refused(
        lambda: attest_answer(tdx, collateral=collateral), Reason.COLLATERAL_MALFORMED, EvidenceMalformed
    )


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


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
@pytest.mark.parametrize(("serial", "accepted"), [(0x80, False), (0, False), (1, True)])
def test_a_serial_number_is_positive(serial, accepted):
    """Zero is none either (RFC 5280, 4.1.2.2), and one is the first that is."""
    der = der_of(TlsIdentity.make("localhost", now=NOW).certificate.public_bytes(Encoding.PEM).decode())
    at = der.index(bytes.fromhex("a003020102")) + 5
    other = pem_of(_resized(der[:at] + bytes([2, 1, serial]) + der[at + 2 + der[at + 1] :])).encode()
    if accepted:
        assert len(intel_collateral.certificates(other)) == 1
    else:
        error = refusal(lambda: intel_collateral.certificates(other))
        assert error.reason == Reason.CERTIFICATE_MALFORMED


def _resized(der):
    """Return a certificate whose two outer lengths fit again what is in them."""
    outer, inner = der[:2], der[4:6]
    assert outer == inner == bytes.fromhex("3082")
    removed = int.from_bytes(der[2:4], "big") + 4 - len(der)
    lengths = [int.from_bytes(der[at : at + 2], "big") - removed for at in (2, 6)]
    return outer + lengths[0].to_bytes(2, "big") + inner + lengths[1].to_bytes(2, "big") + der[8:]


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
