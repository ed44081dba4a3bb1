"""What an entry for SGX may say, and what it accepts: every field at its edge and one beyond."""

from __future__ import annotations

import pytest

from blindai.attestation.policy import Policy
from blindai.errors import Reason
from blindai.testing import FakeSgx
from tests.attestation.judging import (
    Edge,
    assert_edge,
    claims_of,
    entry_of,
    failed,
    policy_of_entry,
    with_lines,
    without,
)
from tests.attestation.policy_texts import SGX_FULL, assert_wrong_values_are_refused, refused
from tests.attestation.scene import NOW

DIGEST = "ab" * 32
OTHER = b"x" * 32
CONFIG_ID = 48 + 192
SIGNER = ("mr_signer", "isv_prod_id", "min_isv_svn")

WRONG_VALUES = {
    "mr_enclave": ['""', f'"{DIGEST}00"', f'"{DIGEST[:-1]}"', f'"{DIGEST[:-1]}x"', "1", f'["{DIGEST}"]'],
    "mr_signer": ['"ab"', "true"],
    "isv_prod_id": ["true", '"1"', "-1", "1.0", "[1]"],
    "min_isv_svn": ["false", '"1"', "-1"],
    "config_id": [f'"{DIGEST}"', "0"],
    "attributes_flags": ['"05"', "5", '"0x05000000000000"'],
    "attributes_mask_flags": ['"ff"', "true"],
    "attributes_xfrm": ['"e7"'],
    "attributes_mask_xfrm": ['"ff"'],
    "misc_select": ['"00"', "0"],
    "misc_mask": ['"ff"', f'"{DIGEST}"'],
    "tcb_status": ['"UpToDate"', '["Revoked"]', '["uptodate"]', "[]"],
    "allow_advisories": ["true", "[]", "[1]"],
    "min_tcb_evaluation": ["true", "-1"],
    "allow_dynamic_platform": ["1"],
    "allow_cached_keys": ['"true"'],
    "allow_smt": ["0"],
}


def test_the_largest_entry():
    """Every key that exists loads, and there are no others."""
    (entry,) = Policy.from_toml(policy_of_entry(SGX_FULL)).accept
    assert (entry.isv_prod_id, entry.min_isv_svn) == (1, 2)
    assert set(WRONG_VALUES) | {"tee"} == {
        line.partition(" = ")[0] for line in SGX_FULL.splitlines()[1:] if line
    }


@pytest.mark.parametrize("key", WRONG_VALUES)
def test_a_value_of_the_wrong_kind_is_refused(key):
    """Types are not converted and every field has one length."""
    assert_wrong_values_are_refused(SGX_FULL, key, WRONG_VALUES[key])


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        (f'mrenclave = "{DIGEST}"', "mr_enclave"),
        (f'mr_signr = "{DIGEST}"', "mr_signer"),
        ("isv_svn = 2", "min_isv_svn"),
        ("isv_prodid = 1", "isv_prod_id"),
        ('attribute_flags = "00"', "attributes_flags"),
        ('mrtd = "00"', ""),
    ],
)
def test_an_unknown_key_is_refused_where_it_stands(line, meant):
    """With the key that was probably meant: a key of another TEE is unknown, too."""
    text = policy_of_entry(SGX_FULL + line + "\n")
    message = refused(text)
    assert f"line {len(text.splitlines())}:" in message
    assert f"{line.partition(' ')[0]} is not a known key" in message
    assert meant in message


@pytest.mark.parametrize("missing", SIGNER)
def test_a_missing_code_identity_is_named(missing):
    """The enclave itself, or all three that name a signer's product: a signer alone signs anything."""
    signed = without(SGX_FULL, "mr_enclave")
    assert Policy.from_toml(policy_of_entry(signed)).accept[0].mr_enclave is None
    message = refused(policy_of_entry(without(signed, missing)))
    assert f"without mr_enclave, and without {missing}" in message
    assert "line 3:" in message


def test_a_product_without_its_signer_is_refused():
    """Anybody numbers a product 1."""
    for key in ("isv_prod_id", "min_isv_svn"):
        rest = without(SGX_FULL, "mr_signer", *({"isv_prod_id", "min_isv_svn"} - {key}))
        assert "mr_signer" in refused(policy_of_entry(rest))


@pytest.mark.parametrize(
    "lines",
    [
        ('attributes_flags = "0700000000000000"',),
        ('attributes_mask_flags = "3dfbffffffffffff"',),
        ('attributes_flags = "0000000000000000"', 'attributes_mask_flags = "0000000000000000"'),
    ],
)
def test_no_mask_lets_debug_in(lines):
    """Neither by demanding the bit nor by looking away."""
    message = refused(policy_of_entry(with_lines(SGX_FULL, *lines)))
    assert "debug bit" in message
    assert "allow_debug" in refused(policy_of_entry(with_lines(SGX_FULL, "allow_debug = false")))


@pytest.mark.parametrize(
    ("value", "mask"),
    [
        ("attributes_flags", "attributes_mask_flags"),
        ("attributes_xfrm", "attributes_mask_xfrm"),
        ("misc_select", "misc_mask"),
    ],
)
def test_a_mask_needs_its_value(value, mask):
    """Which bits, and nothing about them, is half a demand; a value alone is compared in all its bits."""
    assert f"means nothing without {value}" in refused(policy_of_entry(without(SGX_FULL, value)))
    (entry,) = Policy.from_toml(policy_of_entry(without(SGX_FULL, mask))).accept
    (field,) = (field for field in entry.masked if field.name == value)
    assert set(field.mask) == {0xFF}


def attributes(flags=0x05, xfrm=0xE7):
    return flags.to_bytes(8, "little") + xfrm.to_bytes(8, "little")


def config_id(value):
    """Return a knob that writes CONFIGID into the report before it is signed."""

    def edit(signed):
        signed[CONFIG_ID : CONFIG_ID + 64] = value

    return {"edit_signed": edit}


BY_SIGNER = FakeSgx(now=NOW)
SIGNED = (f'mr_signer = "{claims_of(BY_SIGNER).mr_signer.hex()}"', "isv_prod_id = 1", "min_isv_svn = 1")
KSS_ON = config_id(b"c" * 64)
FLAGS, MISC = Reason.GUEST_ATTRIBUTES, Reason.PLATFORM_CONFIGURATION
EDGES = [
    Edge("mr_enclave", Reason.MEASUREMENT_MISMATCH, {"mr_enclave": OTHER}),
    Edge("mr_signer", Reason.SIGNER_MISMATCH, {"mr_signer": OTHER}, lines=SIGNED),
    Edge("isv_prod_id", Reason.SIGNER_MISMATCH, {"isv_prod_id": 0}, lines=SIGNED),
    Edge("isv_prod_id", Reason.SIGNER_MISMATCH, {"isv_prod_id": 2}, lines=SIGNED),
    Edge("isv_svn", Reason.SECURITY_VERSION_TOO_LOW, {"isv_svn": 0}, {"isv_svn": 0xFFFF}, lines=SIGNED),
    Edge("config_id", Reason.MEASUREMENT_MISMATCH, config_id(bytes(63) + b"\1")),
    Edge("config_id", Reason.MEASUREMENT_MISMATCH, {}, KSS_ON, lines=(f'config_id = "{"63" * 64}"',)),
    *(
        Edge("attributes_flags", FLAGS, {"attributes": attributes(0x05 ^ 1 << bit)})
        for bit in (0, 2, 3, 4, 5, 8, 9, 11, 63)
    ),
    Edge(
        "attributes_xfrm",
        FLAGS,
        {"attributes": attributes(xfrm=0xE6)},
        lines=('attributes_xfrm = "e700000000000000"',),
    ),
    Edge(
        "attributes_xfrm",
        FLAGS,
        {"attributes": attributes(xfrm=0x03)},
        {"attributes": attributes(xfrm=0x07)},
        lines=('attributes_xfrm = "0400000000000000"', 'attributes_mask_xfrm = "0400000000000000"'),
    ),
    Edge("misc_select", FLAGS, {"misc_select": b"\1\0\0\0"}),
    Edge("misc_select", FLAGS, {"misc_select": b"\0\0\0\1"}),
    Edge("tcb_status", Reason.TCB_OUT_OF_DATE, {"tcb_status": "OutOfDate"}),
    Edge("tcb_status", Reason.TCB_OUT_OF_DATE, {"tcb_status": "OutOfDateConfigurationNeeded"}),
    Edge("tcb_status", Reason.TCB_HARDENING_NEEDED, {"tcb_status": "SWHardeningNeeded"}),
    Edge("tcb_status", Reason.TCB_CONFIGURATION_NEEDED, {"tcb_status": "ConfigurationNeeded"}),
    Edge("tcb_status", Reason.TCB_CONFIGURATION_NEEDED, {"tcb_status": "ConfigurationAndSWHardeningNeeded"}),
    Edge("tcb_advisories", Reason.TCB_ADVISORY, {"advisories": ("INTEL-SA-1",)}),
    Edge(
        "tcb_advisories",
        Reason.TCB_ADVISORY,
        {"advisories": ("INTEL-SA-1", "INTEL-SA-2")},
        {"advisories": ("INTEL-SA-1",)},
        lines=('allow_advisories = ["INTEL-SA-1"]',),
    ),
    Edge(
        "tcb_evaluation",
        Reason.TCB_EVALUATION,
        {"tcb_evaluation": 16},
        {"tcb_evaluation": 17},
        lines=("min_tcb_evaluation = 17",),
    ),
    Edge("dynamic_platform", MISC, {"dynamic_platform": True}),
    Edge("cached_keys", MISC, {"cached_keys": True}),
    Edge("smt", MISC, {"smt": True}),
]


@pytest.mark.parametrize("edge", EDGES, ids=str)
def test_the_edge_of_each_demand(edge):
    """What just meets it, what just does not, and that the line which would accept it is true."""
    assert_edge("sgx", edge)


@pytest.mark.parametrize("bit", [6, 7, 10])
def test_what_only_protects_may_be_on_or_off(bit):
    """Control flow enforcement, key separation, notification of exits."""
    assert failed(entry_of(BY_SIGNER), FakeSgx(now=NOW, attributes=attributes(0x05 | 1 << bit))) == []


def test_a_signers_product_needs_no_enclave():
    """Whatever that signer signs next is accepted: that is what such an entry says."""
    entry = without(entry_of(BY_SIGNER, *SIGNED), "mr_enclave")
    assert failed(entry, FakeSgx(now=NOW, mr_enclave=OTHER, isv_svn=9)) == []
    assert [check.claim for check in failed(entry, FakeSgx(now=NOW, mr_signer=OTHER))] == ["mr_signer"]


def test_the_entry_that_a_client_is_offered_names_what_the_host_chose():
    """With a configuration the enclave is another program: it is part of the code's identity."""
    assert "config_id" not in entry_of(BY_SIGNER)
    configured = FakeSgx(now=NOW, **KSS_ON)
    assert f'config_id = "{"63" * 64}"' in entry_of(configured)
    assert failed(entry_of(configured), configured) == []
