"""`blindai measure`, for each TEE that can be simulated."""

from __future__ import annotations

import json
import tomllib

import pytest

from blindai.attestation.policy import Policy


@pytest.mark.parametrize(("arguments", "tee"), [((), "tdx"), (("--tee", "sev-snp"), "sev-snp")])
def test_the_policy_loads_and_the_json_says_the_same(blindai, arguments, tee):
    """What is printed is a policy of one TEE (TDX unless named); the JSON has the same digests."""
    result = blindai("measure", *arguments)
    Policy.from_toml(result.stdout)
    (entry,) = tomllib.loads(result.stdout)["accept"]
    assert (entry["tee"], "SIMULATION" in result.stderr) == (tee, True)
    told = json.loads(blindai("measure", *arguments, "--json").stdout)
    assert (told.pop("simulated"), len(told.pop("source_sha256"))) == (True, 64)
    assert told == {name: value for name, value in entry.items() if name != "boot"}


def test_a_tee_that_is_not_simulated_is_refused(blindai):
    """The names that there are, are told."""
    result = blindai("measure", "--tee", "sgx")
    assert result.returncode == 1
    assert "sev-snp" in result.stderr
