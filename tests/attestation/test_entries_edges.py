"""Entries of every TEE: what is said of a mistake in one, and what is in one that is offered."""

from __future__ import annotations

import pytest

from blindai.attestation.policy import Policy
from blindai.testing import FakeNitro, FakeSgx, FakeTdx, SnpTcb
from tests.attestation.judging import entry_of, failed, policy_of_entry, quiet_snp, strict, without
from tests.attestation.policy_texts import refused
from tests.attestation.scene import NOW

IDENTITY = {"tdx": "mrtd", "sgx": "mr_enclave", "sev-snp": "measurement", "nitro": "pcr0"}

# `cryptography` mentions the serial number 0 of every VCEK; the package's own filter is not pytest's.
pytestmark = pytest.mark.filterwarnings("ignore:Parsed a serial number")


@pytest.mark.parametrize("tee", IDENTITY)
def test_a_misspelt_code_identity_is_not_called_missing(tee):
    """Who reads that it is missing would look for a line that is there."""
    key = IDENTITY[tee]
    misspelt = strict(tee).replace(f"{key} = ", f"{key}_ = ")
    assert misspelt != strict(tee)
    message = refused(policy_of_entry(misspelt))
    assert f"{key}_ is not a known key; did you mean" in message
    assert "which code it accepts" not in message


@pytest.mark.parametrize("tee", IDENTITY)
def test_a_missing_code_identity_does_not_load(tee):
    """Without it any program would do, and nothing else in the entry says otherwise."""
    key = IDENTITY[tee]
    message = refused(policy_of_entry(without(strict(tee), key)))
    assert key in message
    assert "does not say which code it accepts" in message


@pytest.mark.parametrize("tee", IDENTITY)
@pytest.mark.parametrize("value", ["true", "false"])
def test_debug_is_refused_in_words(tee, value):
    """It is no unknown key: it is one that will never be offered."""
    message = refused(policy_of_entry(f"{strict(tee)}allow_debug = {value}\n"))
    assert "allow_debug is not offered" in message


def config_id(signed):
    signed[48 + 192] = 1


@pytest.mark.parametrize(
    ("machine", "line"),
    [
        (quiet_snp(now=NOW, host_data=b"\1" + bytes(31)), f'host_data = "01{"00" * 31}"'),
        (FakeTdx(now=NOW, mr_owner=b"\1" + bytes(47)), f'mrowner = "01{"00" * 47}"'),
        (FakeSgx(now=NOW, edit_signed=config_id), f'config_id = "01{"00" * 63}"'),
        (FakeNitro(now=NOW, pcrs={8: b"\1" + bytes(47)}), f'pcr8 = "01{"00" * 47}"'),
    ],
    ids=["sev-snp", "tdx", "sgx", "nitro"],
)
def test_a_value_that_is_mostly_zero_is_offered(machine, line):
    """One bit of it is something that the machine was given, and that code may depend on."""
    assert line in entry_of(machine)
    assert failed(entry_of(machine), machine) == []


def test_the_offered_floor_is_the_least_of_each_component():
    """Of what is reported, runs, was at launch and can be rolled back to: each is the lowest in one."""
    lower = {
        "current_tcb": SnpTcb(3, 1, 24, 219),
        "committed_tcb": SnpTcb(4, 1, 23, 219),
        "launch_tcb": SnpTcb(4, 1, 24, 218),
    }
    machine = quiet_snp(now=NOW, reported_tcb=SnpTcb(4, 0, 24, 219), **lower)
    assert "min_tcb = { bootloader = 3, tee = 0, snp = 23, microcode = 218 }" in entry_of(machine)
    assert failed(entry_of(machine), machine) == []


def test_a_floor_may_be_as_high_as_a_byte():
    """255 is the largest number that a report can hold."""
    entry = strict("sev-snp").replace("microcode = 219", "microcode = 255")
    assert Policy.from_toml(policy_of_entry(entry)).accept[0].min_tcb["microcode"] == 255
