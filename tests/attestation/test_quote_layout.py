"""Where a quote ends and what is in it, read before any signature is checked."""

from __future__ import annotations

import struct

import pytest

from blindai.attestation.intel.quote import parse_tdx
from blindai.errors import EvidenceMalformed, Reason
from blindai.testing import FakeTdx
from tests.attestation.scene import NOW, attest, refusal

BODY_END = 48 + 584
CERTIFICATION = BODY_END + 4 + 64 + 64
AUTH = CERTIFICATION + 6 + 384 + 64


def quote_of(**knobs):
    return FakeTdx(now=NOW, **knobs).evidence(bytes(64)).value


def without_auth_data(quote):
    """Return the quote without the quoting enclave's data, which may be empty, and every length fitting."""
    (size,) = struct.unpack_from("<H", quote, AUTH)
    shorter = bytearray(quote[: AUTH + 2] + quote[AUTH + 2 + size :])
    for at, form, less in ((AUTH, "<H", size), (BODY_END, "<I", size), (CERTIFICATION + 2, "<I", size)):
        struct.pack_into(form, shorter, at, struct.unpack_from(form, quote, at)[0] - less)
    return bytes(shorter)


@pytest.mark.parametrize("knobs", [{}, {"quote_version": 5}, {"quote_version": 5, "body_type": 3}], ids=str)
def test_the_debug_bit_is_read_where_it_stands(knobs):
    """Bit 0 of the trust domain's attributes, in each layout, and no other bit."""
    for debug in (True, False):
        assert parse_tdx(quote_of(debug=debug, **knobs)).debug is debug
    others = FakeTdx(now=NOW, td_attributes=bytes.fromhex("feffffffffffffff"), **knobs)
    assert parse_tdx(others.evidence(bytes(64)).value).debug is False


def test_a_debug_domain_is_refused_in_our_own_words():
    """Before the library behind it, which refuses it too."""
    error = refusal(lambda: attest(FakeTdx(now=NOW, debug=True)))
    assert error.reason == Reason.DEBUG_ENABLED
    assert "its host can read everything" in str(error)


def test_what_may_be_empty_and_what_follows():
    """Authentication data of no bytes have a length like any other; zeros behind are no part of a quote."""
    quote = quote_of()
    assert parse_tdx(quote).signed == quote
    assert parse_tdx(quote + bytes(9)).signed == quote
    shorter = without_auth_data(quote)
    assert parse_tdx(shorter).signed == shorter
    assert parse_tdx(shorter).pck_chain_pem == parse_tdx(quote).pck_chain_pem


WRONG = {
    "version 3": (0, "<H", 3),
    "version 6": (0, "<H", 6),
    "ECDSA P-384": (2, "<H", 3),
    "no key type": (2, "<H", 0),
    "SGX": (4, "<I", 0),
    "another TEE": (4, "<I", 0x82),
    "outer certification type": (CERTIFICATION, "<H", 5),
    "no signature data": (BODY_END, "<I", 0),
    "inner type": (AUTH + 2 + 32, "<H", 6),
}


@pytest.mark.parametrize("name", WRONG)
def test_another_constant_is_malformed(name):
    """Each type and version has the value that this version knows; nothing is left to a later check."""
    at, form, value = WRONG[name]
    quote = bytearray(quote_of())
    struct.pack_into(form, quote, at, value)
    error = refusal(lambda: parse_tdx(bytes(quote)))
    assert (error.reason, type(error)) == (Reason.QUOTE_MALFORMED, EvidenceMalformed)


@pytest.mark.parametrize(
    ("at", "form"), [(BODY_END, "<I"), (CERTIFICATION + 2, "<I"), (AUTH, "<H"), (AUTH + 2 + 32 + 2, "<I")]
)
@pytest.mark.parametrize("difference", [-1, 1])
def test_a_length_that_is_one_off_is_malformed(at, form, difference):
    """Every inner length fills its outer one exactly, with and without bytes behind the quote."""
    for behind in (b"", bytes(9)):
        quote = bytearray(quote_of() + behind)
        struct.pack_into(form, quote, at, struct.unpack_from(form, quote, at)[0] + difference)
        error = refusal(lambda quote=quote: parse_tdx(bytes(quote)))
        assert error.reason == Reason.QUOTE_MALFORMED


@pytest.mark.parametrize("length", [0, 1, 7, 47, 48, BODY_END - 1, BODY_END, CERTIFICATION, AUTH, -1])
def test_a_quote_that_breaks_off_is_malformed(length):
    """Wherever it is cut."""
    assert refusal(lambda: parse_tdx(quote_of()[:length])).reason == Reason.QUOTE_MALFORMED


@pytest.mark.parametrize(("body_type", "size"), [(2, 648), (3, 584), (1, 384), (4, 584), (2, 583), (2, 585)])
def test_a_body_of_another_type_or_size_is_malformed(body_type, size):
    """A v5 quote says which report it has: its size follows from its type."""
    quote = bytearray(quote_of(quote_version=5))
    assert struct.unpack_from("<HI", quote, 48) == (2, 584)
    struct.pack_into("<HI", quote, 48, body_type, size)
    assert refusal(lambda: parse_tdx(bytes(quote))).reason == Reason.QUOTE_MALFORMED
