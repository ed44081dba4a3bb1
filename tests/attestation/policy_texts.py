"""Two policies that load: the smallest, and one with every key."""

from __future__ import annotations

import pytest

from blindai.attestation.policy import Policy
from blindai.errors import PolicyError

DIGEST = "ab" * 48
SHA256 = "cd" * 32
MINIMAL = f"""\
version = 1
[[accept]]
tee = "tdx"
mrtd = "{DIGEST}"
rtmr1 = "{DIGEST}"
rtmr2 = "{DIGEST}"
"""
FULL = f"""\
version = 1
expires = 2027-03-01
names = ["inference.example.org"]

[operator]
spki_sha256 = ["{SHA256}"]

[require]
isolation = "process"
model_upload = true
telemetry = "none"
sealing = ["file", "memory"]

[models]
sha256 = ["{SHA256}"]

[[accept]]
tee = "tdx"
mrtd = "{DIGEST}"
rtmr0 = "{DIGEST}"
rtmr1 = "{DIGEST}"
rtmr2 = "{DIGEST}"
rtmr3 = "{DIGEST}"
mrseam = "{DIGEST}"
mrconfigid = "{DIGEST}"
mrowner = "{DIGEST}"
mrownerconfig = "{DIGEST}"

[[accept]]
tee = "tdx"
mrtd = "{DIGEST}"
rtmr1 = "{DIGEST}"
rtmr2 = "{DIGEST}"
tcb_status = ["UpToDate", "SWHardeningNeeded"]
allow_advisories = ["INTEL-SA-00001"]
min_tcb_evaluation = 17
allow_dynamic_platform = true
allow_cached_keys = true
allow_smt = true
"""


def refused(text: str) -> str:
    """Return the message that refuses this text."""
    with pytest.raises(PolicyError) as caught:
        Policy.from_toml(text)
    return str(caught.value)


TDX_FULL = f"""\
[[accept]]
tee = "tdx"
mrtd = "{DIGEST}"
rtmr0 = "{DIGEST}"
rtmr1 = "{DIGEST}"
rtmr2 = "{DIGEST}"
rtmr3 = "{DIGEST}"
rtmr0_events = ["{DIGEST}"]
rtmr1_events = ["{DIGEST}"]
rtmr2_events = ["{DIGEST}"]
rtmr3_events = ["{DIGEST}"]
mrseam = "{DIGEST}"
mrconfigid = "{DIGEST}"
mrowner = "{DIGEST}"
mrownerconfig = "{DIGEST}"
tcb_status = ["UpToDate", "SWHardeningNeeded"]
allow_advisories = ["INTEL-SA-00001"]
min_tcb_evaluation = 17
allow_dynamic_platform = true
allow_cached_keys = true
allow_smt = true
"""
SGX_FULL = f"""\
[[accept]]
tee = "sgx"
mr_enclave = "{SHA256}"
mr_signer = "{SHA256}"
isv_prod_id = 1
min_isv_svn = 2
config_id = "{SHA256}{SHA256}"
attributes_flags = "0500000000000000"
attributes_mask_flags = "3ffbffffffffffff"
attributes_xfrm = "0700000000000000"
attributes_mask_xfrm = "0700000000000000"
misc_select = "00000000"
misc_mask = "fffffffe"
tcb_status = ["UpToDate", "SWHardeningNeeded"]
allow_advisories = ["INTEL-SA-00001"]
min_tcb_evaluation = 17
allow_dynamic_platform = true
allow_cached_keys = true
allow_smt = true
"""
SNP_FULL = f"""\
[[accept]]
tee = "sev-snp"
measurement = "{DIGEST}"
boot = "direct"
product = "Milan"
min_tcb = {{ bootloader = 4, tee = 0, snp = 24, microcode = 219 }}
host_data = "{SHA256}"
id_key_digest = "{DIGEST}"
author_key_digest = "{DIGEST}"
min_guest_svn = 1
max_vmpl = 1
allow_smt = true
allow_migration = true
allow_unchecked_aliases = true
require_crl = false
require_guest_policy = ["single_socket"]
require_platform_info = ["ecc"]
require_mitigations = [0, 5]
"""
NITRO_FULL = f"""\
[[accept]]
tee = "nitro"
pcr0 = "{DIGEST}"
pcr1 = "{DIGEST}"
pcr2 = "{DIGEST}"
pcr3 = "{DIGEST}"
pcr8 = "{DIGEST}"
pcr31 = "{DIGEST}"
max_age_seconds = 60
"""


def assert_wrong_values_are_refused(entry: str, key: str, values: list[str]) -> None:
    """Assert that each value of this key is refused in the line where it stands."""
    for value in values:
        lines = ["version = 1", *entry.splitlines()]
        number = next(number for number, line in enumerate(lines) if line.startswith(f"{key} = "))
        lines[number] = f"{key} = {value}"
        message = refused("\n".join(lines))
        assert key in message, value
        assert f"line {number + 1}:" in message, value
