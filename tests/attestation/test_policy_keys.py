"""A key that is misspelt or left out never makes an entry accept more than it says."""

from __future__ import annotations

import json

import pytest

from blindai.attestation.policy import Policy
from tests.attestation.judging import (
    ALIASES_CHECKED,
    MACHINES,
    failed,
    policy_of_entry,
    strict,
    with_lines,
    without,
)
from tests.attestation.policy_texts import NITRO_FULL, SGX_FULL, SNP_FULL, TDX_FULL, refused
from tests.attestation.scene import NOW

# `cryptography` mentions the serial number 0 of every VCEK; the package's own filter is not pytest's.
pytestmark = pytest.mark.filterwarnings("ignore:Parsed a serial number")

FULL = {"tdx": TDX_FULL, "sgx": SGX_FULL, "sev-snp": SNP_FULL, "nitro": NITRO_FULL}
SET = b"c" * 64


def config_id(signed):
    signed[48 + 192 : 48 + 256] = SET


def digest(size):
    return json.dumps(SET[:size].hex())


# Without these an entry does not load: what it accepts would be anything.
NEEDED = {
    "tdx": ["tee", "mrtd", "rtmr1", "rtmr2"],
    "sgx": ["tee", "mr_enclave"],
    "sev-snp": ["tee", "measurement", "boot", "product", "min_tcb"],
    "nitro": ["tee", "pcr0"],
}
# These accept more than a strict entry: key -> its value, and the machine that only this key accepts.
PLATFORM = {
    "tcb_status": ('["UpToDate", "OutOfDate"]', {"tcb_status": "OutOfDate"}),
    "allow_advisories": ('["INTEL-SA-1"]', {"advisories": ("INTEL-SA-1",)}),
    "allow_dynamic_platform": ("true", {"dynamic_platform": True}),
    "allow_cached_keys": ("true", {"cached_keys": True}),
    "allow_smt": ("true", {"smt": True}),
    "relax": ('["hyper-threading"]', {"smt": True}),
}
LOOSENING = {
    "tdx": {
        "mrconfigid": (digest(48), {"mr_config_id": SET[:48]}),
        "mrowner": (digest(48), {"mr_owner": SET[:48]}),
        "mrownerconfig": (digest(48), {"mr_owner_config": SET[:48]}),
        **PLATFORM,
    },
    "sgx": {
        "config_id": (digest(64), {"edit_signed": config_id}),
        "attributes_flags": ('"1500000000000000"', {"attributes": b"\x15".ljust(8, b"\0") + bytes(8)}),
        "misc_select": ('"01000000"', {"misc_select": b"\1\0\0\0"}),
        **PLATFORM,
    },
    "sev-snp": {
        "host_data": (digest(32), {"host_data": SET[:32]}),
        "max_vmpl": ("1", {"vmpl": 1}),
        "allow_smt": ("true", {"platform_info": ALIASES_CHECKED | 1}),
        "allow_migration": ("true", {"migrate_ma": True}),
        "allow_unchecked_aliases": ("true", {"platform_info": 0}),
        "require_crl": ("false", {"crl": None}),
        "relax": ('["no-crl"]', {"crl": None}),
    },
    "nitro": {"max_age_seconds": ("900", {"timestamp_offset": -900})},
}
# These only ever refuse more: to leave one out is to say less, and nothing else.
NARROWING = {
    "tdx": ["rtmr0", "rtmr3", "mrseam", "min_tcb_evaluation", *(f"rtmr{i}_events" for i in range(4))],
    "sgx": ["mr_signer", "isv_prod_id", "min_isv_svn", "min_tcb_evaluation", "attributes_xfrm"],
    "sev-snp": ["id_key_digest", "author_key_digest", "min_guest_svn", "require_guest_policy",
                "require_platform_info", "require_mitigations"],
    "nitro": ["pcr1", "pcr2", "pcr3", "pcr8", "pcr31"],
}  # fmt: skip
MASKS = {"attributes_mask_flags", "attributes_mask_xfrm", "misc_mask"}


def keys_of(entry):
    return [line.partition(" = ")[0] for line in entry.splitlines() if " = " in line]


def misspelt(key):
    """Return every slip of one letter: dropped, doubled, exchanged with its neighbour, of the other case."""
    slips = {key.replace("_", "-"), key.replace("_", "")}
    for at in range(len(key)):
        slips |= {
            key[:at] + key[at + 1 :],
            key[:at] + key[at] + key[at:],
            key[:at] + key[at : at + 2][::-1] + key[at + 2 :],
            key[:at] + key[at].swapcase() + key[at + 1 :],
        }
    return sorted(slips - {key, ""})


@pytest.mark.parametrize("tee", FULL)
def test_every_key_is_of_one_kind(tee):
    """A key that is added is added here: what does an entry accept without it?"""
    kinds = [NEEDED[tee], LOOSENING[tee], NARROWING[tee], MASKS & set(keys_of(FULL[tee]))]
    assert sum(map(len, kinds)) == len(set().union(*kinds))
    assert set().union(*kinds) - {"relax"} == set(keys_of(FULL[tee]))


@pytest.mark.parametrize(("tee", "key"), [(tee, key) for tee in FULL for key in keys_of(FULL[tee])])
def test_a_misspelt_key_does_not_load(tee, key):
    """Whatever it was there for. A slip to another register's name still names as many registers."""
    full = policy_of_entry(FULL[tee])
    for slip in misspelt(key):
        text = full.replace(f"\n{key} = ", f"\n{slip} = ")
        if slip in {f"pcr{index}" for index in range(32)} - set(keys_of(FULL[tee])):
            assert len(Policy.from_toml(text).accept[0].pcrs) == len(Policy.from_toml(full).accept[0].pcrs)
        else:
            assert "policy" in refused(text)


@pytest.mark.parametrize(("tee", "key"), [(tee, key) for tee in FULL for key in NEEDED[tee]])
def test_without_a_needed_key_an_entry_does_not_load(tee, key):
    """And says which one is missing."""
    assert key in refused(policy_of_entry(without(strict(tee), key)))


@pytest.mark.parametrize(("tee", "key"), [(tee, key) for tee in FULL for key in LOOSENING[tee]])
def test_without_a_loosening_key_an_entry_is_stricter(tee, key):
    """The machine that it is for is accepted with it, and refused without."""
    value, knobs = LOOSENING[tee][key]
    machine = MACHINES[tee](now=NOW, **knobs)
    assert failed(with_lines(strict(tee), f"{key} = {value}"), machine) == []
    assert failed(strict(tee), machine)


@pytest.mark.parametrize("mask", sorted(MASKS))
def test_without_a_mask_every_bit_counts(mask):
    """A mask looks away from bits; a value without one looks at all of them."""
    (masked,), (bare,) = (
        Policy.from_toml(policy_of_entry(entry)).accept for entry in (SGX_FULL, without(SGX_FULL, mask))
    )
    (index,) = (
        at for at, pair in enumerate(zip(masked.masked, bare.masked, strict=True)) if pair[0] != pair[1]
    )
    assert set(bare.masked[index].mask) == {0xFF}
    assert bare.masked[index].value == masked.masked[index].value
