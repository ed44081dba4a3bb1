"""Collateral that is not what it should be: wrong types, sizes, encodings and dates, hostile texts."""

from __future__ import annotations

import dataclasses

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from blindai.attestation.intel import collateral as intel_collateral
from blindai.attestation.trust import StapledSimulationTrust
from blindai.errors import AttestationError, EvidenceForged, EvidenceMalformed, Reason
from blindai.testing import FakeTdx, TlsIdentity
from tests.attestation.scene import NOW, Client, assert_refused, refusal, with_intel
from tests.attestation.scene import attest as attest_answer
from tests.attestation.vendor_tricks import Workshop, der_of, pem_of, signed_again, with_version


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
        assert len(intel_collateral.certificates(other + other)) == 2
    else:
        error = refusal(lambda: intel_collateral.certificates(other + other))
        assert error.reason == Reason.CERTIFICATE_MALFORMED


def _resized(der):
    """Return a certificate whose two outer lengths fit again what is in them."""
    outer, inner = der[:2], der[4:6]
    assert outer == inner == bytes.fromhex("3082")
    removed = int.from_bytes(der[2:4], "big") + 4 - len(der)
    lengths = [int.from_bytes(der[at : at + 2], "big") - removed for at in (2, 6)]
    return outer + lengths[0].to_bytes(2, "big") + inner + lengths[1].to_bytes(2, "big") + der[8:]


def not_utf8(der, name):
    at = der.rindex(name)
    return der[:at] + b"\xff\xfe" + der[at + 2 :]


def a_bit_string(der, name):
    """Return the DER with a name of a type that only one attribute may have: `cryptography`'s TypeError."""
    at = der.rindex(name)
    return der[: at - 2] + b"\x03" + der[at - 1 : at] + b"\0" + der[at + 1 :]


@pytest.mark.parametrize("edit", [not_utf8, a_bit_string])
def test_a_root_with_an_unreadable_name_ends_in_our_own_error(edit):
    """Whatever root a server staples is read before any signature is checked."""
    workshop = Workshop.make()
    root = workshop.vendor.root.pem
    strange = pem_of(edit(der_of(root), b"SIMULATION - NOT A TEE: SGX Root CA"))
    workshop.pck_chain = workshop.pck_chain.replace(root, strange)
    for member in ("pck_crl_issuer_chain", "tcb_info_issuer_chain", "qe_identity_issuer_chain"):
        workshop.published[member] = workshop.published[member].replace(root, strange)
    client = Client(trust=StapledSimulationTrust())
    assert isinstance(refusal(lambda: workshop.attest(client)), AttestationError)


@pytest.mark.parametrize("edit", [not_utf8, a_bit_string])
def test_a_signer_with_an_unreadable_name_ends_in_our_own_error(edit):
    """Anybody's own simulation root can issue one."""
    workshop = Workshop.make()
    root, signer = workshop.vendor.root, workshop.vendor.tcb_signer
    changed = edit(signer.certificate.tbs_certificate_bytes, b"SIMULATION - NOT A TEE: SGX TCB Signing")
    workshop.published["tcb_info_issuer_chain"] = signed_again(changed, root) + root.pem
    client = Client(trust=StapledSimulationTrust())
    assert_refused(lambda: workshop.attest(client), Reason.SIGNATURE_INVALID, EvidenceForged)
