"""Each check of a certificate chain and of a revocation list by itself, whoever the vendor is."""

from __future__ import annotations

import dataclasses
import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from blindai.attestation import chain
from blindai.attestation.chain import Dated
from blindai.errors import EvidenceForged, EvidenceMalformed, EvidenceRejected, Reason
from blindai.tee.simulated import authority
from blindai.testing import Window
from tests.attestation.scene import NOW, assert_refused

ALWAYS = Window(-1000, 1000)
KEY = authority.ec_key()
OTHER_KEY = authority.ec_key()


def usage(*, sign=True):
    return (
        authority.key_usage("key_cert_sign", "crl_sign") if sign else authority.key_usage("digital_signature")
    )


def constraints(path_length=None, *, ca=True):
    return authority.basic_constraints(is_ca=ca, path_length=path_length)


def certificate(role, issuer=None, *extensions, key=KEY, window=ALWAYS, **forged):
    return authority.issue(role, window, NOW, key=key, issuer=issuer, extensions=extensions, **forged)


ROOT = certificate("root", None, constraints(), usage())


def chained(*above, root=ROOT):
    """Return a chain below the root whose authorities, topmost first, have these extensions."""
    holders = [root]
    for number, extensions in enumerate(above):
        holders.append(certificate(f"authority {number}", holders[-1], *extensions))
    holders.append(certificate("leaf", holders[-1], constraints(ca=False), usage(sign=False)))
    return [holder.certificate for holder in reversed(holders)]


def assert_not_issued(certificates):
    assert_refused(
        lambda: chain.check_issued([certificates], "a chain"), Reason.CHAIN_INVALID, EvidenceForged
    )


@pytest.mark.parametrize("lengths", [(), (None,), (0,), (1, 0), (None, None), (5, 4)], ids=str)
def test_a_chain_of_authorities_is_accepted(lengths):
    """Each may issue, and has room for those beneath it."""
    chain.check_issued([chained(*[(constraints(length), usage()) for length in lengths])], "a chain")


@pytest.mark.parametrize("lengths", [(0, None), (0, 0), (1, None, None), (2, 0, 0)], ids=str)
def test_a_path_has_a_length(lengths):
    """One authority more beneath it than it says is one too many."""
    assert_not_issued(chained(*[(constraints(length), usage()) for length in lengths]))


def test_the_roots_path_length_counts_too():
    """Its own word about how far it trusts."""
    root = certificate("root", None, constraints(1), usage())
    authorities = [(constraints(), usage())] * 2
    chain.check_issued([chained(*authorities[:1], root=root)], "a chain")
    assert_not_issued(chained(*authorities, root=root))


@pytest.mark.parametrize(
    "extensions",
    [
        (),
        (usage(),),
        (constraints(),),
        (constraints(ca=False), usage()),
        (constraints(), usage(sign=False)),
    ],
    ids=["neither", "no constraints", "no usage", "no CA", "may not sign certificates"],
)
def test_only_an_authority_issues(extensions):
    """A leaf's key signs reports; were it taken for an authority, its holder could make more leaves."""
    assert_not_issued(chained(extensions))
    assert_not_issued(chained((constraints(), usage()), extensions))
    assert_not_issued(chained(root=certificate("root", None, *extensions)))


def test_the_signature_and_the_name_must_both_be_the_issuers():
    """A name is free to take, and a key may have issued under another name."""
    by_stranger = certificate("leaf", ROOT, forger=OTHER_KEY)
    assert_not_issued([by_stranger.certificate, ROOT.certificate])
    renamed = certificate("another root", None, constraints(), usage())
    assert_not_issued([certificate("leaf", ROOT).certificate, renamed.certificate])


def test_every_chain_counts():
    """A bad one between good ones, though they share all but its leaf."""
    middle = certificate("authority", ROOT, constraints(), usage())
    good, bad = (
        [certificate("leaf", middle, **forged).certificate, middle.certificate, ROOT.certificate]
        for forged in ({}, {"forger": OTHER_KEY})
    )
    chain.check_issued([good, good], "chains")
    assert_refused(lambda: chain.check_issued([good, bad, good], "chains"), Reason.CHAIN_INVALID)


def test_what_ends_a_chain_is_for_trust_to_judge():
    """A root is known by its fingerprint: who signed it does not matter to the chain below it."""
    below = certificate("authority", ROOT, constraints(), usage())
    chain.check_issued([[certificate("leaf", below).certificate, below.certificate]], "the chain")


def test_a_leaf_is_no_authority():
    """A signing key's certificate may say so, or say nothing; that of an authority is refused."""
    for extensions in ((), (constraints(ca=False),)):
        chain.check_not_authority(certificate("leaf", ROOT, *extensions).certificate, "the leaf")
    issuer = certificate("leaf", ROOT, constraints(), usage()).certificate
    assert_refused(lambda: chain.check_not_authority(issuer, "it"), Reason.CHAIN_INVALID, EvidenceForged)


def test_an_extension_that_comes_twice_is_unreadable():
    """`cryptography` keeps no order for these, so neither of the two counts."""
    der = bytearray(certificate("leaf", ROOT, constraints(), usage()).der)
    at = der.index(bytes.fromhex("0603551d0f"))  # key usage becomes a second basicConstraints
    der[at + 4] = 0x13
    twice = x509.load_der_x509_certificate(bytes(der))
    assert_refused(lambda: chain.check_not_authority(twice, "it"), Reason.CERTIFICATE_MALFORMED)
    assert_not_issued([certificate("leaf", ROOT).certificate, twice])


@pytest.mark.parametrize(
    "edit", [lambda der: der + b"\0", lambda der: der[:-1], lambda der: b""], ids=["more", "less", "none"]
)
def test_der_is_one_certificate_and_nothing_else(edit):
    """Bytes behind it were signed by nobody."""
    assert chain.parse_der(ROOT.der, "it") == ROOT.certificate
    assert_refused(
        lambda: chain.parse_der(edit(ROOT.der), "it"), Reason.CERTIFICATE_MALFORMED, EvidenceMalformed
    )


def test_pem_is_as_many_certificates_as_are_asked_for():
    """One more is refused, and so is none."""
    pem = ROOT.pem.encode()
    assert len(chain.parse_pem(pem * 2, "it", max_certificates=2)) == 2
    for text in (pem * 3, b"", b"\n" + pem, pem + b"x"):
        assert_refused(
            lambda text=text: chain.parse_pem(text, "it", max_certificates=2), Reason.CERTIFICATE_MALFORMED
        )


@pytest.mark.parametrize(
    ("now", "reason"),
    [
        (NOW - 1, Reason.EVIDENCE_NOT_YET_VALID),
        (NOW, None),
        (NOW + 9, None),
        (NOW + 10, Reason.EVIDENCE_STALE),
    ],
)
def test_the_edges_of_what_is_valid_now(now, reason):
    """The first second counts, the last one does not, and each piece has its own words for that."""
    window = Dated("it", NOW, NOW + 10, Reason.EVIDENCE_STALE, Reason.EVIDENCE_NOT_YET_VALID)
    longer = dataclasses.replace(window, not_before=NOW - 99, not_after=NOW + 99)
    for pieces in ([window], [window, longer], [longer, window]):
        if reason is None:
            assert chain.check_dates(pieces, now) == NOW + 10
        else:
            assert_refused(lambda pieces=pieces: chain.check_dates(pieces, now), reason, EvidenceRejected)


def test_the_dates_of_certificates_are_theirs():
    """To the second, with the reasons for certificates."""
    (piece,) = chain.dates([certificate("leaf", ROOT, window=Window(-5, 7)).certificate], "a chain")
    assert (piece.not_before, piece.not_after) == (NOW - 5, NOW + 7)
    assert (piece.early, piece.expired) == (Reason.CERTIFICATE_NOT_YET_VALID, Reason.CERTIFICATE_EXPIRED)


# Revocation lists.


def crl_of(issuer, *revoked, window=ALWAYS, number=7, **forged):
    der = authority.crl(issuer, revoked, window, NOW, number=number, **forged)
    return chain.parse_crl(der, "the list")


def test_a_list_is_signed_by_whom_it_speaks_for():
    """Not another key under its name, not its key under another name, not another kind of key."""
    chain.check_crl(crl_of(ROOT), ROOT.certificate, "the list")
    renamed = certificate("another root", None, constraints(), usage())
    other_key = certificate("root", None, constraints(), usage(), key=OTHER_KEY)
    builder = (
        x509.CertificateBuilder().subject_name(ROOT.certificate.subject).issuer_name(ROOT.certificate.subject)
    )
    edwards = (
        builder.public_key(ed25519.Ed25519PrivateKey.generate().public_key())
        .serial_number(1)
        .not_valid_before(ROOT.certificate.not_valid_before_utc)
        .not_valid_after(ROOT.certificate.not_valid_after_utc)
        .sign(KEY, hashes.SHA384())
    )
    for crl, issuer in (
        (crl_of(ROOT, forger=OTHER_KEY), ROOT.certificate),
        (crl_of(ROOT), renamed.certificate),
        (crl_of(ROOT), other_key.certificate),
        (crl_of(ROOT), edwards),
    ):
        assert_refused(
            lambda crl=crl, issuer=issuer: chain.check_crl(crl, issuer, "it"),
            Reason.CRL_FORGED,
            EvidenceForged,
        )


def test_a_list_lists_by_serial_number():
    """Its own certificates and no other."""
    bad, good = (certificate(role, ROOT) for role in ("bad", "good"))
    crl = crl_of(ROOT, bad)
    assert chain.lists(crl, bad.certificate)
    assert not chain.lists(crl, good.certificate)
    assert not chain.lists(crl_of(ROOT), bad.certificate)


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
def test_what_cannot_be_looked_up_counts_as_listed():
    """A certificate with a negative serial number could be any: none is cleared by being odd."""
    der = bytearray(certificate("leaf", ROOT).der)
    serial = der.index(bytes.fromhex("a003020102")) + 7
    der[serial] |= 0x80
    odd = x509.load_der_x509_certificate(bytes(der))
    assert odd.serial_number < 0
    assert chain.lists(crl_of(ROOT), odd)


def test_a_list_has_a_time():
    """And reasons of its own: a list that ended is not a certificate that ended."""
    piece = chain.crl_dates(crl_of(ROOT, window=Window(-5, 7)), "the list")
    assert (piece.not_before, piece.not_after) == (NOW - 5, NOW + 7)
    assert (piece.early, piece.expired) == (Reason.COLLATERAL_NOT_YET_VALID, Reason.CRL_EXPIRED)


def der_item(kind, *content):
    """Return a DER item of up to 65535 bytes."""
    body = b"".join(content)
    length = len(body).to_bytes(2, "big").lstrip(b"\0") or b"\0"
    size = length if len(body) < 128 else bytes([0x80 + len(length)]) + length
    return bytes([kind]) + size + body


def handmade_crl(key=KEY, *, entries=b"", next_update=b""):
    """Return a signed list, in parts that a builder does not let one write."""
    ecdsa_sha384 = der_item(0x30, bytes.fromhex("06082a8648ce3d040303"))
    began = datetime.datetime.fromtimestamp(NOW, datetime.UTC).strftime("%y%m%d%H%M%SZ").encode()
    issuer = ROOT.certificate.subject.public_bytes()
    content = der_item(
        0x30, b"\x02\x01\x01", ecdsa_sha384, issuer, der_item(0x17, began), next_update, entries
    )
    signature = key.sign(content, ec.ECDSA(hashes.SHA384()))
    return der_item(0x30, content, ecdsa_sha384, der_item(3, b"\0", signature))


def test_a_list_without_an_end_is_refused():
    """It would clear a platform for ever: whoever kept it never learns of a revocation."""
    endless = chain.parse_crl(handmade_crl(), "the list")
    chain.check_crl(endless, ROOT.certificate, "the list")
    assert_refused(lambda: chain.crl_dates(endless, "it"), Reason.COLLATERAL_MALFORMED, EvidenceMalformed)
    assert chain.crl_number(endless, "it") == 0


@pytest.mark.parametrize(
    "entry",
    [b"\x02\x01\x05", der_item(0x30, b"\x02\x01\x05"), der_item(0x30, b"\x02\x01\x05", der_item(0x17, b"x"))],
    ids=["no sequence", "no date", "no date that is one"],
)
def test_unreadable_entries_end_in_our_own_error(entry):
    """A list is read as a whole: what cannot be read does not clear anything."""
    whole = chain.parse_crl(handmade_crl(entries=b""), "it")
    chain.check_crl(whole, ROOT.certificate, "it")
    unreadable = handmade_crl(entries=der_item(0x30, entry))
    assert_refused(lambda: chain.parse_crl(unreadable, "it"), Reason.COLLATERAL_MALFORMED, EvidenceMalformed)


def test_a_number_is_read_where_there_is_one():
    """Zero stands for none: then only its date tells how old a list is."""
    assert chain.crl_number(crl_of(ROOT, number=7), "it") == 7
    assert chain.crl_number(crl_of(ROOT, number=None), "it") == 0
