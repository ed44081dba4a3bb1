"""A server on every product of every vendor, with every source of certificates that there is."""

from __future__ import annotations

from pathlib import Path

import pytest

from blindai.attestation.policy import Policy
from blindai.tee.simulated.snp_machine import SnpTcb
from blindai.testing import FakeSnp
from tests.server.hardware import machines, verdicts
from tests.server.hardware.serving import connected, eventually, first_met, health, serving, vendor

# Serial number 0 is what makes a VCEK genuine.
pytestmark = pytest.mark.filterwarnings("ignore:Parsed a serial number")


@pytest.mark.parametrize("kind", machines.MORE)
def test_a_client_verifies_and_is_served(kind: str, tmp_path: Path):
    """The policy that its first use writes accepts every claim, and an inference is answered."""
    verdicts.check_served(machines.MORE[kind](), tmp_path)


@pytest.mark.parametrize("kind", machines.EACH)
def test_a_fake_is_not_passed_off_as_hardware(kind: str, tmp_path: Path):
    """A keyset that says "no simulation" is refused by who trusts the fake root, and by who does not."""
    verdicts.check_not_passed_off(machines.EACH[kind](), tmp_path)


def test_the_pauses_that_amd_wants(tmp_path: Path):
    """A start that has to ask the KDS for everything keeps its pauses, and serves in the end."""
    hardware = machines.sev_guest(with_table=False)
    with vendor(hardware), serving(hardware, tmp_path, hurried=False) as server:
        verdicts.check_every_claim(first_met(server, hardware).verdict)
        asked = len(hardware.service.asked)
    with serving(hardware, tmp_path, hurried=False) as server:
        verdicts.check_every_claim(first_met(server, hardware).verdict)
    assert (asked, len(hardware.service.asked)) == (3, 3)


def test_a_host_that_comes_late(tmp_path: Path):
    """A VLEK is had from the host alone. When its table comes after the server's start, nobody has to ask
    for evidence, nor to start the server again.
    """
    hardware = machines.snp(leaf="vlek")
    with vendor(hardware):
        hardware.fake.auxblob = b""
        with serving(hardware, tmp_path, collateral_refresh_seconds=1) as server:
            found = health(server)
            assert (found["status"], found["collateral"]["status"]) == (503, "missing")
            hardware.publish()
            eventually(lambda: health(server), lambda found: found["status"] == 200)
            verdicts.check_every_claim(first_met(server, hardware).verdict)


def test_new_firmware_and_its_table(tmp_path: Path):
    """With new firmware the host hands over a new VCEK: nobody is asked for it, and clients verify again.
    What came before the new certificate is an answer that tells to wait, and no forgery.
    """
    hardware = machines.snp()
    with vendor(hardware), serving(hardware, tmp_path, collateral_refresh_seconds=1) as server:
        policy = Policy.from_toml(first_met(server, hardware).text)
        newer = SnpTcb(4, 0, 25, 220)
        hardware.become(FakeSnp(reported_tcb=newer, root=hardware.tee.root))
        hardware.publish()
        hardware.vanish()
        with connected(server, hardware, policy):
            pass
        met = first_met(server, hardware)
        verdicts.check_every_claim(met.verdict)
        assert met.claims.tcbs["reported_tcb"]["microcode"] == newer.microcode


@pytest.mark.parametrize("variable", ["PYTHONPATH", "PYTHONBREAKPOINT", "LD_LIBRARY_PATH", "GLIBC_TUNABLES"])
def test_variables_that_only_production_forbids(variable: str, tmp_path: Path):
    """On hardware, what may load foreign code or look into the process keeps the server from starting."""
    with vendor(machines.nitro()) as hardware, pytest.raises(AssertionError, match=f"{variable} is set"):
        with serving(hardware, tmp_path, environment={variable: "/nowhere"}):
            pass
