"""One flipped bit anywhere in genuine evidence makes it worthless; so does a byte less, or one more.

Refused means: for what it is (it cannot be read) or for a signature (it was not signed like this). One bit of
each quote is judged before the quote's signature and refused for that: it is listed in `EARLIER`.

`make test` flips one bit in every eighth byte, another bit each time. With BLINDAI_SOAK=1 it is every bit of
every byte, 246544 verifications: about ten minutes of one idle core.
"""

from __future__ import annotations

import itertools
import os
import ssl

import pytest

from blindai.errors import AttestationError, EvidenceForged, EvidenceMalformed, EvidenceRejected, Reason
from tests import evidence
from tests.attestation.scene import assert_refused

# A flip in a serial number makes it negative, which `cryptography` mentions before we refuse it.
pytestmark = pytest.mark.filterwarnings("ignore:Parsed a serial number")

SNP = ["milan-vcek-ok", "genoa-vcek-ok", "turin-vcek-ok"]
NITRO = "prod-nonce-2022"
SGX = "v3-config-and-swhardening-00a067"
TDX = ["v4-uptodate-b0c06f", "v5-uptodate-90c06f", "v4-outofdate-00806f05"]
SAMPLES = {**dict.fromkeys(SNP, "snp"), NITRO: "nitro", SGX: "sgx", **dict.fromkeys(TDX, "tdx")}

STRIDE = 8
SOAK_PARTS = 16
# Where the signature data of a quote start; the four bytes before them hold their length.
SIGNATURE_DATA = {
    SGX: 436,
    "v4-uptodate-b0c06f": 636,
    "v5-uptodate-90c06f": 706,
    "v4-outofdate-00806f05": 636,
}

# The offset of a bit that is refused before the quote's signature is checked: the debug bit, which `dcap-qvl`
# would refuse too, in other words.
EARLIER = {SGX: 96, "v4-uptodate-b0c06f": 168, "v5-uptodate-90c06f": 174, "v4-outofdate-00806f05": 168}


@pytest.fixture(params=SAMPLES)
def sample(request):
    return read(request.param)


def read(name):
    return evidence.read(SAMPLES[name], name)


def flipped(data, offset, bit):
    changed = bytearray(data)
    changed[offset] ^= 1 << bit
    return bytes(changed)


def outcome(judge):
    """Return "" for a parse or signature reason, any other reason as it is, or that there was none."""
    try:
        judge()
    except (EvidenceMalformed, EvidenceForged):
        return ""
    except EvidenceRejected as refusal:
        return refusal.reason
    except AttestationError as refusal:
        return f"unclassified {refusal.reason}"
    return "ACCEPTED"


def wrong_outcomes(sample, positions):
    """Return the flips that are not refused as they should be, by offset and bit."""
    wrong = []
    for offset, bit in positions:
        value = flipped(sample.quote, offset, bit)
        found = outcome(lambda value=value: sample.verify(value=value))
        if found and (found, offset) != (Reason.DEBUG_ENABLED, EARLIER.get(sample.name)):
            wrong.append((offset, bit, found))
    return wrong


def signed_bytes(sample):
    """Return the length that counts: a quote says it itself, and zeros may follow."""
    start = SIGNATURE_DATA.get(sample.name)
    if start is None:
        return len(sample.quote)
    return start + int.from_bytes(sample.quote[start - 4 : start], "little")


def test_the_samples_verify_as_they_are(sample):
    """Without a flip there is nothing to refuse: otherwise the tests below would show nothing."""
    assert sample.verify().simulated is False


def test_a_flipped_bit_is_refused(sample):
    """In every eighth byte, the next bit in turn: header, report, signatures, certificates, padding."""
    bits = itertools.cycle(range(8))
    positions = [(offset, next(bits)) for offset in range(0, len(sample.quote), STRIDE)]
    assert wrong_outcomes(sample, positions) == []


@pytest.mark.skipif("BLINDAI_SOAK" not in os.environ, reason="ten minutes: set BLINDAI_SOAK=1")
@pytest.mark.parametrize("part", range(SOAK_PARTS))
def test_every_flipped_bit_is_refused(sample, part):
    """Every bit of every byte, singly; in parts, for the sake of several processes."""
    offsets = range(part, len(sample.quote), SOAK_PARTS)
    assert wrong_outcomes(sample, itertools.product(offsets, range(8))) == []


@pytest.mark.parametrize("name", EARLIER)
def test_the_exemption_is_what_it_says(name):
    """Of the eight bits in that byte one means debug; the others break the signature."""
    found = [wrong for wrong in refusals_of_byte(read(name), EARLIER[name]) if wrong]
    assert found == [Reason.DEBUG_ENABLED]


def refusals_of_byte(sample, offset):
    values = [flipped(sample.quote, offset, bit) for bit in range(8)]
    return [outcome(lambda value=value: sample.verify(value=value)) for value in values]


@pytest.mark.parametrize("name", [SGX, *TDX])
def test_a_flip_in_a_length_or_type_is_refused(name):
    """Version, key type, TEE type, every length and every certification type of a quote, bit by bit."""
    sample = read(name)
    start = SIGNATURE_DATA[name]
    certification = start + 128
    body = certification + (0 if name == SGX else 6)
    auth_length = body + 384 + 64
    chain = auth_length + 2 + int.from_bytes(sample.quote[auth_length : auth_length + 2], "little")
    offsets = [
        *range(8),
        *range(start - 4, start),
        *range(certification, body),
        *range(auth_length, auth_length + 2),
        *range(chain, chain + 6),
    ]
    assert wrong_outcomes(sample, itertools.product(offsets, range(8))) == []


@pytest.mark.parametrize("name", [SGX, *TDX])
def test_a_flip_in_pem_line_ends_is_refused(name):
    """Every line end and the terminator, one bit each: two texts of one chain are two pieces of evidence."""
    sample = read(name)
    chain = range(sample.quote.index(b"-----BEGIN"), signed_bytes(sample))
    ends = [offset for offset in chain if sample.quote[offset] in b"\n\0"]
    assert len(ends) > 50
    assert wrong_outcomes(sample, [(offset, 0) for offset in ends]) == []


@pytest.mark.parametrize("name", SNP)
def test_a_flip_in_the_stapled_certificates_is_refused(name):
    """Leaf, ASK and ARK, in every 29th byte: what vouches for the report is signed like it."""
    sample = read(name)
    end = "-----END CERTIFICATE-----\n"
    for member, text in sample.collateral.items():
        ders = [ssl.PEM_cert_to_DER_cert(pem + end) for pem in text.split(end)[:-1]]
        for position, der in enumerate(ders):
            for offset in range(0, len(der), 29):
                changed = [*ders[:position], flipped(der, offset, offset % 8), *ders[position + 1 :]]
                stapled = {**sample.collateral, member: "".join(map(ssl.DER_cert_to_PEM_cert, changed))}
                found = outcome(lambda stapled=stapled: sample.verify(collateral={"amd": stapled}))
                assert found == "", (member, position, offset)


def test_every_truncation_is_refused(sample):
    """Whichever field the cut falls in, down to nothing. Zeros behind a quote are no part of it."""
    for length in range(signed_bytes(sample)):
        assert_refused(
            lambda value=sample.quote[:length]: sample.verify(value=value),
            malformed(sample),
            EvidenceMalformed,
        )
    for length in {signed_bytes(sample), len(sample.quote)}:
        assert sample.verify(value=sample.quote[:length]) == sample.verify()


def malformed(sample):
    return {
        "nitro": Reason.DOCUMENT_MALFORMED,
        "snp": Reason.REPORT_MALFORMED,
        "sgx": Reason.QUOTE_MALFORMED,
        "tdx": Reason.QUOTE_MALFORMED,
    }[SAMPLES[sample.name]]


def test_every_extension_is_refused(sample):
    """Any byte but zero, any number of them, with zeros before or behind, and a second copy of the whole."""
    padded = SAMPLES[sample.name] in ("sgx", "tdx")
    reason = Reason.QUOTE_TRAILING_BYTES if padded else malformed(sample)
    signed = sample.quote[: signed_bytes(sample)]
    more = [bytes([value]) for value in range(1, 256)]
    more += [b"\xff" * count for count in range(2, 100)]
    more += [bytes(count) + b"\1" for count in range(1, 100)] + [b"\1" + bytes(99), signed]
    for base, extension in itertools.product({signed, sample.quote}, more):
        assert_refused(lambda value=base + extension: sample.verify(value=value), reason, EvidenceMalformed)


def test_zeros_may_follow_a_quote_and_nothing_else(sample):
    """Some clouds pad quotes to 8000 bytes; reports have one size, and documents end where they end."""
    for count in (1, 3, 1000):
        value = sample.quote + bytes(count)
        if SAMPLES[sample.name] in ("sgx", "tdx"):
            assert sample.verify(value=value) == sample.verify()
        else:
            assert_refused(
                lambda value=value: sample.verify(value=value), malformed(sample), EvidenceMalformed
            )
