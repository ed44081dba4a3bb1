"""Policies of the original BlindAI: what becomes of each field, and what is refused by name."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blindai.attestation.policy import Policy
from blindai.client.policies.conversion import DEBUG, FIELDS, INIT, RESERVED, convert
from blindai.errors import PolicyError

MR_ENCLAVE = "5f3ece17ab88f497b8e69832bcd93ff5f8ea886f2f41930e2d7cc4bb64240db5"
# The values that the original's builds wrote.
ORIGINAL = {
    "mr_enclave": f'"{MR_ENCLAVE}"',
    "misc_select_hex": '"0x0"',
    "misc_mask_hex": '"0xffffffff"',
    "attributes_flags_hex": '"0x4"',
    "attributes_xfrm_hex": '"0x3"',
    "attributes_mask_flags_hex": '"0xfffffffffffffffd"',
    "attributes_mask_xfrm_hex": '"0xffffffffffffff1b"',
    "allow_debug": "false",
}


def original(**fields: str | None) -> str:
    """The text of an original policy; None leaves a field out."""
    return "".join(
        f"{name} = {value}\n" for name, value in {**ORIGINAL, **fields}.items() if value is not None
    )


def entry_of(text: str) -> dict[str, str]:
    (entry,) = tomllib.loads(convert(text).text)["accept"]
    return entry


def refusal(text: str) -> PolicyError:
    with pytest.raises(PolicyError) as caught:
        convert(text)
    return caught.value


def test_the_policy_that_the_original_shipped():
    """Numbers become bytes with the lowest first; INIT is demanded to be on, and DEBUG to be off."""
    assert entry_of(original()) == {
        "tee": "sgx",
        "mr_enclave": MR_ENCLAVE,
        "attributes_flags": "0500000000000000",
        "attributes_xfrm": "0300000000000000",
        "attributes_mask_flags": "ffffffffffffffff",
        "attributes_mask_xfrm": "1bffffffffffffff",
        "misc_select": "00000000",
        "misc_mask": "ffffffff",
    }


def test_what_is_converted_loads():
    """The new text is a policy of this version for SGX."""
    policy = Policy.from_toml(convert(original()).text)
    assert [entry.tee for entry in policy.accept] == ["sgx"]


def test_allow_debug_is_not_carried_over():
    """A policy for development converts to one that refuses debug enclaves, and the notes say so."""
    converted = convert(original(allow_debug="true"))
    assert converted.text == convert(original()).text
    assert any("allow_debug" in note for note in converted.notes)
    assert not any("allow_debug" in note for note in convert(original()).notes)


def test_a_policy_for_debug_enclaves_only_is_refused():
    """Where the attributes themselves demand a debug enclave there is nothing to convert to."""
    refused = refusal(
        original(attributes_flags_hex='"0x6"', attributes_mask_flags_hex='"0xffffffffffffffff"')
    )
    assert "debug" in str(refused)


@pytest.mark.parametrize("text", ["0400000000000000", "0x0500000000000000", "0x8000000000000004", "0x804"])
def test_flags_that_no_enclave_has(text):
    """Reserved bits: a text in the quote's order is read as a number, as the original did, and refused."""
    refused = refusal(
        original(attributes_flags_hex=f'"{text}"', attributes_mask_flags_hex=f'"{2**64 - 1:#x}"')
    )
    assert f"read as the number {int(text, 16):#x}" in str(refused)
    assert ('"0x4"' in refused.hint) == (text == "0400000000000000")


def test_how_a_text_with_every_digit_was_read():
    """It is said where two readings differ, and only there."""
    (note,) = set(convert(original(attributes_flags_hex='"0000000000000004"')).notes) - set(
        convert(original()).notes
    )
    assert note == "attributes_flags_hex: read as the number 0x4; in the quote's order: 0400000000000000"


@pytest.mark.parametrize("field", FIELDS)
def test_a_missing_field_is_named(field):
    """Each of the eight fields is needed."""
    assert f"missing field: {field}" in str(refusal(original(**{field: None})))


@pytest.mark.parametrize("field", ["attributes_flags", "mr_signer", "debug", '"\\u001b[2J"'])
def test_an_unknown_field_is_named(field):
    """A field that the original did not have is refused, and its name cannot steer a terminal."""
    message = str(refusal(original() + f'{field} = "0x0"\n'))
    assert "unknown field" in message
    assert message.isprintable()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("mr_enclave", '"${mr_enclave}"'),
        ("mr_enclave", '"5f3e"'),
        ("mr_enclave", "5"),
        ("allow_debug", '"false"'),
        ("allow_debug", "0"),
        ("misc_mask_hex", '"0x1ffffffff"'),
        ("misc_mask_hex", '"0x"'),
        ("attributes_flags_hex", "4"),
        ("attributes_flags_hex", '"-0x4"'),
        ("attributes_flags_hex", '"0x1_0"'),
        ("attributes_flags_hex", '" 0x4"'),
        ("attributes_xfrm_hex", '"0x3ffffffffffffffff"'),
        ("attributes_xfrm_hex", "[]"),
    ],
)
def test_a_wrong_value_is_named(field, value):
    """Numbers that are too long, signed or no numbers, and types that are others, name their field."""
    assert field in str(refusal(original(**{field: value})))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("attributes_mask_flags_hex", '"0xfffffffffffffffc"'),  # INIT is not compared: never satisfied
        ("attributes_flags_hex", '"0x14"'),
        ("attributes_xfrm_hex", '"0x7"'),
        ("misc_select_hex", '"0x1"'),
    ],
)
def test_a_policy_that_accepted_nothing_is_refused(field, value):
    """Bits that are demanded and not compared: the original accepted no enclave, and neither would this."""
    changed = {field: value}
    if field == "attributes_flags_hex":
        changed["attributes_mask_flags_hex"] = '"0xffffffffffffffed"'
    if field == "misc_select_hex":
        changed["misc_mask_hex"] = '"0xfffffffe"'
    assert "no enclave" in str(refusal(original(**changed)))


@pytest.mark.parametrize("text", ["", "= 3", "a = " + "[" * 5000, "version = 1\n[[accept]]\ntee = 'sgx'"])
def test_other_texts_are_refused(text):
    """What is no TOML, and what is a policy of today, is told apart from a policy of the original."""
    assert str(refusal(text))


numbers = st.integers(0, 2**64 - 1)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(flags=numbers, mask=numbers, xfrm=numbers, xfrm_mask=numbers, attributes=numbers, debug=st.booleans())
def test_the_same_enclaves_without_debug_are_accepted(flags, mask, xfrm, xfrm_mask, attributes, debug):
    """An enclave passes a converted policy exactly if it passed the original one and is no debug enclave."""
    flags, xfrm = flags & mask & ~DEBUG & ~RESERVED, xfrm & xfrm_mask
    mask |= INIT
    text = original(
        attributes_flags_hex=f'"{flags:#x}"',
        attributes_mask_flags_hex=f'"{mask:#x}"',
        attributes_xfrm_hex=f'"{xfrm:#x}"',
        attributes_mask_xfrm_hex=f'"{xfrm_mask:#x}"',
        allow_debug=str(debug).lower(),
    )
    entry = {name: bytes.fromhex(value) for name, value in entry_of(text).items() if name != "tee"}
    quoted = (attributes & mask | flags | INIT).to_bytes(8, "little")  # mostly ones that pass
    for found in (quoted, attributes.to_bytes(8, "little")):
        number = int.from_bytes(found, "little")
        originally = number & mask == flags | INIT and not number & DEBUG
        now = all(
            f & m == v
            for f, m, v in zip(found, entry["attributes_mask_flags"], entry["attributes_flags"], strict=True)
        )
        assert now == originally
