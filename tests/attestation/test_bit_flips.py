"""One flipped bit anywhere in a genuine quote makes it worthless."""

from __future__ import annotations

import random

import pytest

from blindai.attestation import vendors
from blindai.attestation.trust import ProductionTrust
from blindai.attestation.types import TDX_QUOTE, Evidence
from blindai.errors import AttestationError
from tests import evidence

# A flip in a serial number makes it negative, which `cryptography` mentions before we refuse it.
pytestmark = pytest.mark.filterwarnings("ignore:Parsed a serial number")

SAMPLE = "v4-uptodate-b0c06f"
SIGNATURE_DATA = 636
BODY_AND_SIGNATURES = range(SIGNATURE_DATA + 64 + 64 + 6 + 384 + 64)


def accepted_flips(sample, positions):
    """Return the (offset, bit) pairs whose flip still verifies."""
    accepted = []
    for offset, bit in positions:
        quote = bytearray(sample.quote)
        quote[offset] ^= 1 << bit
        try:
            vendors.verify(
                Evidence(TDX_QUOTE, bytes(quote)),
                {"intel": sample.collateral},
                trust=ProductionTrust(),
                now=sample.now,
            )
        except AttestationError:
            continue
        accepted.append((offset, bit))
    return accepted


def signed_length(sample):
    """The length as the quote itself says it: what follows is padding."""
    return SIGNATURE_DATA + int.from_bytes(sample.quote[SIGNATURE_DATA - 4 : SIGNATURE_DATA], "little")


def test_the_sample_verifies_as_it_is():
    """Without a flip there is nothing to refuse: otherwise the tests below would show nothing."""
    sample = evidence.read("tdx", SAMPLE)
    claims = vendors.verify(
        Evidence(TDX_QUOTE, sample.quote),
        {"intel": sample.collateral},
        trust=ProductionTrust(),
        now=sample.now,
    )
    assert claims.tcb_status == "UpToDate"


def test_a_flip_in_what_hardware_signed_is_refused():
    """Header, TD report, signatures, attestation key, QE report: sampled, always the same positions."""
    sample = evidence.read("tdx", SAMPLE)
    choice = random.Random(20)  # noqa: S311  a fixed choice
    positions = [(choice.choice(BODY_AND_SIGNATURES), choice.randrange(8)) for _ in range(200)]
    assert accepted_flips(sample, positions) == []


def test_a_flip_in_a_length_or_type_is_refused():
    """Version, key type, TEE type, every length and every certification type, bit by bit."""
    sample = evidence.read("tdx", SAMPLE)
    inner = SIGNATURE_DATA + 128
    auth_length = inner + 6 + 384 + 64
    auth_bytes = int.from_bytes(sample.quote[auth_length : auth_length + 2], "little")
    chain = auth_length + 2 + auth_bytes
    offsets = [
        *range(8),
        *range(SIGNATURE_DATA - 4, SIGNATURE_DATA),
        *range(inner, inner + 6),
        *range(auth_length, auth_length + 2),
        *range(chain, chain + 6),
    ]
    assert accepted_flips(sample, [(offset, bit) for offset in offsets for bit in range(8)]) == []


def test_a_flip_in_the_certificate_chain_is_refused():
    """The PEM text has one spelling: armour, line ends and the terminator too (200 sampled positions)."""
    sample = evidence.read("tdx", SAMPLE)
    chain = range(sample.quote.index(b"-----BEGIN"), signed_length(sample))
    choice = random.Random(21)  # noqa: S311  a fixed choice
    positions = [(choice.choice(chain), choice.randrange(8)) for _ in range(200)]
    assert accepted_flips(sample, positions) == []


def test_a_flip_in_pem_line_ends_is_refused():
    """Every line end and the terminator, one bit each: two texts of one chain are two pieces of evidence."""
    sample = evidence.read("tdx", SAMPLE)
    chain = range(sample.quote.index(b"-----BEGIN"), signed_length(sample))
    ends = [offset for offset in chain if sample.quote[offset] in b"\n\0"]
    assert len(ends) > 50
    assert accepted_flips(sample, [(offset, 0) for offset in ends]) == []
