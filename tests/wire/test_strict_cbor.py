"""The decoder of signed CBOR: one meaning for each text, and an error of ours for everything else."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blindai.testing import cbor
from blindai.testing.cbor import Pairs, Raw, Tagged
from blindai.wire import strict_cbor
from tests import evidence

LIMIT = 64 * 1024
NITRO = ("debug-2022", "debug-fastcrypto-2024", "prod-nonce-2022")
PROPERTY = settings(max_examples=60, deadline=None, derandomize=True)


def decode(data, **options):
    return strict_cbor.decode(data, max_bytes=LIMIT, **options)


def refused(data, **options):
    """Return the words with which this text is refused."""
    with pytest.raises(ValueError, match=r"[a-z]") as caught:
        decode(data, **options)
    assert type(caught.value) is ValueError
    return str(caught.value)


# RFC 8949, appendix A: those of its examples that evidence can hold.
VECTORS = {
    "00": 0, "01": 1, "0a": 10, "17": 23, "1818": 24, "1819": 25, "1864": 100, "1903e8": 1000,
    "1a000f4240": 1000000, "1b000000e8d4a51000": 1000000000000, "1bffffffffffffffff": 2**64 - 1,
    "3bffffffffffffffff": -(2**64), "20": -1, "29": -10, "3863": -100, "3903e7": -1000,
    "f4": False, "f5": True, "f6": None, "40": b"", "4401020304": bytes([1, 2, 3, 4]), "60": "", "6161": "a",
    "6449455446": "IETF", "62225c": '"\\', "62c3bc": "ü", "63e6b0b4": "水", "64f0908591": "\U00010151",
    "80": [], "83010203": [1, 2, 3], "8301820203820405": [1, [2, 3], [4, 5]],
    "98190102030405060708090a0b0c0d0e0f101112131415161718181819": list(range(1, 26)),
    "a0": {}, "a201020304": {1: 2, 3: 4}, "a26161016162820203": {"a": 1, "b": [2, 3]},
    "826161a161626163": ["a", {"b": "c"}],
    "a56161614161626142616361436164614461656145": {"a": "A", "b": "B", "c": "C", "d": "D", "e": "E"},
    "9fff": [], "9f018202039f0405ffff": [1, [2, 3], [4, 5]], "83018202039f0405ff": [1, [2, 3], [4, 5]],
    "83019f0203ff820405": [1, [2, 3], [4, 5]], "bf61610161629f0203ffff": {"a": 1, "b": [2, 3]},
    "826161bf61626163ff": ["a", {"b": "c"}], "bf6346756ef563416d7421ff": {"Fun": True, "Amt": -2},
}  # fmt: skip

# Likewise, those that evidence has no use for: other tags, floats, simple values, strings in pieces.
USELESS = [
    "c249010000000000000000", "f90000", "fa47c35000", "fb3ff199999999999a", "f97c00", "f7", "f0", "f8ff",
    "c074323031332d30332d32315432303a30343a30305a", "c11a514b67b0", "d74401020304", "d818456449455446",
    "5f42010243030405ff", "7f657374726561646d696e67ff",
]  # fmt: skip

# Appendix F.1: not well-formed at all.
ILL_FORMED = [
    "18", "19", "1a", "1b", "1901", "1a0102", "1b01020304050607", "38", "58", "78", "98", "9a01ff00", "b8",
    "d8", "f8", "f900", "fa0000", "fb000000", "41", "61", "5affffffff00", "5bffffffffffffffff010203",
    "7affffffff00", "7b7fffffffffffffff010203", "81", "818181818181818181", "8200", "a1", "a20102", "a100",
    "a2000000", "c0", "5f4100", "7f6100", "9f", "9f0102", "bf", "bf01020102", "819f", "9f8000", "1c", "1d",
    "1e", "3c", "3d", "3e", "5c", "5d", "7c", "7e", "9c", "9d", "9e", "bc", "bd", "be", "dc", "dd", "de",
    "fc", "fd", "fe", "f800", "f801", "f818", "f81f", "5f00ff", "5f21ff", "5f6100ff", "7f4100ff", "ff",
    "81ff", "8200ff", "a1ff", "a1ff00", "a100ff", "a20000ff", "9f81ff", "9f829f819f9fffffffff", "bf00ff",
    "bf000000ff", "1f", "3f", "df", "a1ff01", "bfff00", "9fffff",
]  # fmt: skip


@pytest.mark.parametrize("text", VECTORS)
def test_the_examples_of_the_specification(text):
    """Values and types: true is not 1, bytes are not text."""
    value = decode(bytes.fromhex(text))
    assert value == VECTORS[text]
    assert type(value) is type(VECTORS[text])


@pytest.mark.parametrize("text", USELESS)
def test_what_evidence_has_no_use_for_is_refused(text):
    """A decoder that turns tags into objects does something that nobody checked."""
    refused(bytes.fromhex(text))
    refused(b"\x81" + bytes.fromhex(text))


@pytest.mark.parametrize("text", ILL_FORMED)
def test_what_is_not_well_formed_is_refused(text):
    """By our own ValueError, whatever it is."""
    refused(bytes.fromhex(text))


@pytest.mark.parametrize("major", range(6))
@pytest.mark.parametrize(
    ("argument", "size"),
    [(0, 1), (23, 1), (24, 2), (255, 2), (256, 4), (65535, 4), (65536, 8), (2**32 - 1, 8)],
)
def test_every_number_has_its_shortest_form(major, argument, size):
    """Two texts of one value would be two documents; for lengths, tags and numbers alike."""
    head = bytes([major << 5 | 23 + size.bit_length()]) + argument.to_bytes(size, "big")
    assert refused(head + bytes(300)) == "a number in more bytes than it needs"


@pytest.mark.parametrize(
    "value", [0, {}, [1, 2], b"bytes", "text", Pairs(((1, 2),), indefinite=True)], ids=str
)
def test_nothing_follows_the_item(value):
    """Bytes behind it were signed by nobody, or for somebody else."""
    for behind in (b"\0", b"\xff", b"\xf6"):
        assert refused(cbor.encode(value) + behind) == "bytes follow the item"


@pytest.mark.parametrize("key", [1, -1, 2**64 - 1, "a", ""], ids=repr)
@pytest.mark.parametrize("indefinite", [False, True])
def test_a_key_comes_once(key, indefinite):
    """General decoders keep the last of two: what one program checks would not be what another reads."""
    for values in ((1, 2), (1, 1), (None, None)):
        pairs = Pairs(tuple((key, value) for value in values), indefinite)
        assert "comes twice" in refused(cbor.encode(pairs))
        assert "comes twice" in refused(cbor.encode([{"inner": pairs}]))


@pytest.mark.parametrize("key", [b"a", True, False, None, [], {}, [1]], ids=repr)
def test_a_key_is_a_number_or_text(key):
    """In Python true would be the key 1, and a list no key at all."""
    assert "neither an integer nor text" in refused(cbor.encode(Pairs(((key, 1),))))


def test_keys_of_different_kinds_are_different():
    """1, -1 and "1" are three keys."""
    assert decode(cbor.encode({1: "a", -1: "b", "1": "c"})) == {1: "a", -1: "b", "1": "c"}


@pytest.mark.parametrize(("open_", "close"), [(b"\x81", b""), (b"\x9f", b"\xff"), (b"\xa1\0", b"")], ids=str)
def test_depth_is_bounded(open_, close):
    """The deepest that is read, one more, and so many that Python's own stack would end."""
    deepest = strict_cbor.MAX_DEPTH
    decode(open_ * deepest + b"\0" + close * deepest)
    for depth in (deepest + 1, 10_000):
        assert "deeper" in refused(open_ * depth + b"\0" + close * depth)


def test_one_tag_where_it_is_expected():
    """Once, in front, and that number; anywhere else no tag at all."""
    for value in (0, [1], {1: 2}):
        assert decode(cbor.encode(Tagged(18, value)), tag=18) == value
        assert decode(cbor.encode(value), tag=18) == value
    for strange in (Tagged(17, [1]), Tagged(18, Tagged(18, [1])), [Tagged(18, 1)], {1: Tagged(18, 1)}):
        refused(cbor.encode(strange), tag=18)
    refused(cbor.encode(Tagged(18, [1])))
    refused(cbor.encode(Tagged(0, [1])))
    refused(bytes.fromhex("d81280"), tag=18 + 256)
    refused(bytes.fromhex("d900128101"), tag=18)  # 18, in more bytes than it needs


@pytest.mark.parametrize(
    "text", [b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80"], ids=repr
)
def test_text_is_utf8(text):
    """Strictly: no surrogates, no overlong forms, nothing above the last code point."""
    assert "UTF-8" in refused(cbor.head(3, len(text)) + text)


def test_a_text_has_so_many_bytes_at_most():
    """Exactly as many as are allowed, and not one more."""
    data = cbor.encode(bytes(100))
    assert strict_cbor.decode(data, max_bytes=len(data)) == bytes(100)
    with pytest.raises(ValueError, match="longer than"):
        strict_cbor.decode(data, max_bytes=len(data) - 1)


KEYS = st.integers(-(2**64), 2**64 - 1) | st.text(max_size=8)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**64), 2**64 - 1)
    | st.binary(max_size=40)
    | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=20,
).filter(lambda value: depth(value) <= strict_cbor.MAX_DEPTH)


def depth(value):
    inner = value if isinstance(value, list) else value.values() if isinstance(value, dict) else None
    return 0 if inner is None else 1 + max(map(depth, inner), default=0)


@PROPERTY
@given(value=VALUES)
def test_what_was_encoded_is_decoded(value):
    """To equal values of equal types, and to the same bytes again."""
    data = cbor.encode(value)
    assert cbor.encode(decode(data)) == data
    assert decode(data) == value


@PROPERTY
@given(value=VALUES, data=st.data())
def test_a_text_that_breaks_off_or_was_changed_never_escapes(value, data):
    """A value or a ValueError; and no part of a text is a whole one."""
    whole = cbor.encode(value)
    refused(whole[: data.draw(st.integers(0, len(whole) - 1))])
    at = data.draw(st.integers(0, len(whole) - 1))
    changed = whole[:at] + data.draw(st.binary(min_size=1, max_size=3)) + whole[at + 1 :]
    try:
        decode(changed)
    except ValueError as error:
        assert type(error) is ValueError  # noqa: PT017  any other kind would be a decoder's, not ours


@pytest.mark.parametrize("name", NITRO)
def test_no_part_of_a_genuine_document_is_a_document(name):
    """Envelope and payload, cut at every byte; whole, they are read as they are."""
    document = evidence.read("nitro", name).evidence.value
    payload = decode(document, tag=18)[2]
    assert {"module_id", "digest", "timestamp", "pcrs", "certificate"} <= decode(payload).keys()
    for whole, options in ((document, {"tag": 18}), (payload, {})):
        for length in range(len(whole)):
            refused(whole[:length], **options)
        refused(whole + b"\0", **options)


def test_raw_bytes_are_for_these_tests():
    """What the encoder is told to write it writes: otherwise some refusals above would show nothing."""
    assert refused(cbor.encode([Raw(b"\x18\x17")])) == "a number in more bytes than it needs"
