"""Where an SGX quote ends and what is in it: its layout has no outer certification, unlike TDX's."""

from __future__ import annotations

import struct

import pytest

from blindai.attestation.intel.quote import parse_sgx
from blindai.errors import EvidenceMalformed, Reason
from blindai.testing import FakeSgx
from tests.attestation.scene import NOW, assert_refused

BODY_END = 48 + 384
QE_REPORT = BODY_END + 4 + 64 + 64
AUTH = QE_REPORT + 384 + 64
ATTRIBUTES = 48 + 48
QUOTE = FakeSgx(now=NOW).evidence(bytes(64)).value
INNER = AUTH + 2 + struct.unpack_from("<H", QUOTE, AUTH)[0]


def assert_malformed(quote):
    assert_refused(lambda: parse_sgx(quote), Reason.QUOTE_MALFORMED, EvidenceMalformed)


def test_the_parts_of_a_quote():
    """The chain is the last of it, and zeros behind are no part of what was signed."""
    parsed = parse_sgx(QUOTE)
    assert parsed.signed == QUOTE == parse_sgx(QUOTE + bytes(9)).signed
    assert parsed.pck_chain_pem == QUOTE[INNER + 6 :]
    assert parsed.pck_chain_pem.startswith(b"-----BEGIN CERTIFICATE-----")
    for behind in (b"\1", bytes(8) + b"\1", b"\1" + bytes(8)):
        assert_refused(lambda behind=behind: parse_sgx(QUOTE + behind), Reason.QUOTE_TRAILING_BYTES)


def test_one_bit_means_debug():
    """Bit 1 of the attributes, and no other bit of the whole report."""
    for offset in range(48, BODY_END):
        for bit in range(8):
            quote = bytearray(QUOTE)
            quote[offset] ^= 1 << bit
            assert parse_sgx(bytes(quote)).debug is (offset == ATTRIBUTES and bit == 1)


@pytest.mark.parametrize(
    ("at", "form", "value"),
    [
        (0, "<H", 2), (0, "<H", 4), (0, "<H", 5), (2, "<H", 0), (2, "<H", 1), (2, "<H", 3), (4, "<I", 1),
        (4, "<I", 0x81), (4, "<I", 1 << 24), (BODY_END, "<I", 0), (INNER, "<H", 4), (INNER, "<H", 6),
        (INNER, "<H", 1),
    ],
)  # fmt: skip
def test_another_constant_is_malformed(at, form, value):
    """Version, key type, TEE type, length of the signature data, kind of certification."""
    quote = bytearray(QUOTE)
    struct.pack_into(form, quote, at, value)
    assert_malformed(bytes(quote))


@pytest.mark.parametrize(("at", "form"), [(BODY_END, "<I"), (AUTH, "<H"), (INNER + 2, "<I")])
@pytest.mark.parametrize("difference", [-1, 1])
def test_a_length_that_is_one_off_is_malformed(at, form, difference):
    """Every inner length fills its outer one exactly, with and without bytes behind the quote."""
    for behind in (b"", bytes(9)):
        quote = bytearray(QUOTE + behind)
        struct.pack_into(form, quote, at, struct.unpack_from(form, quote, at)[0] + difference)
        assert_malformed(bytes(quote))


def test_a_quote_that_breaks_off_is_malformed():
    """At every byte of its layout, and in the middle of the chain."""
    for length in (*range(INNER + 7), len(QUOTE) - 1):
        assert_malformed(QUOTE[:length])
