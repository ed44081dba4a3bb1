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
