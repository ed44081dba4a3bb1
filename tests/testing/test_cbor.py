"""The CBOR encoder of the fakes, against the examples of the standard."""

from __future__ import annotations

import pytest

from blindai.testing import cbor

# RFC 8949, appendix A (the array of 25 is ours).
EXAMPLES = [
    (0, "00"), (23, "17"), (24, "1818"), (100, "1864"), (1000, "1903e8"), (1000000, "1a000f4240"),
    (1000000000000, "1b000000e8d4a51000"), (18446744073709551615, "1bffffffffffffffff"), (-1, "20"),
    (-100, "3863"), (-1000, "3903e7"), (False, "f4"), (True, "f5"), (None, "f6"), (b"", "40"),
    (bytes([1, 2, 3, 4]), "4401020304"), ("", "60"), ("IETF", "6449455446"), ("ü", "62c3bc"), ([], "80"),
    ([1, [2, 3], [4, 5]], "8301820203820405"), ({}, "a0"), ({1: 2, 3: 4}, "a201020304"),
    ({"a": 1, "b": [2, 3]}, "a26161016162820203"), ([0] * 25, "9819" + "00" * 25),
    (cbor.Tagged(1, 1363896240), "c11a514b67b0"),
    (cbor.Pairs((("Fun", True), ("Amt", -2)), indefinite=True), "bf6346756ef563416d7421ff"),
]  # fmt: skip


@pytest.mark.parametrize(("value", "expected"), EXAMPLES, ids=[text for _, text in EXAMPLES])
def test_values_are_encoded_as_the_standard_shows(value, expected):
    """Every kind of value that evidence uses comes out in its shortest form."""
    assert cbor.encode(value).hex() == expected


def test_what_decoders_refuse_can_be_written():
    """Keys may repeat, and raw bytes pass as they are."""
    assert cbor.encode(cbor.Pairs(((1, 2), (1, 3)))).hex() == "a201020103"
    assert cbor.encode([cbor.Raw(b"\xff"), 0]).hex() == "82ff00"


@pytest.mark.parametrize("value", [1.5, 1 << 64, object()])
def test_other_values_raise(value):
    """What has no encoding here is an error of the test that asks for it."""
    with pytest.raises((TypeError, ValueError)):
        cbor.encode(value)
