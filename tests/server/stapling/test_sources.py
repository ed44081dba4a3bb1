"""Every source of collateral, from the settings to what a client verifies."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from blindai.attestation import vendors
from blindai.attestation.trust import ProductionTrust, SimulationTrust, StapledSimulationTrust
from blindai.errors import UnreachableError, UsageError
from blindai.server.evidence.stapling import choose
from blindai.server.evidence.stapling import services as stapling_services
from blindai.server.evidence.stapling.amd import AmdSource
from blindai.server.evidence.stapling.intel import IntelSource
from blindai.server.evidence.stapling.keeper import Keeper
from blindai.server.evidence.stapling.nothing import NothingToStaple
from blindai.server.evidence.stapling.simulated import SimulatedSource
from blindai.server.settings import Settings
from blindai.tee.simulated.snp_machine import SnpTcb
from blindai.testing import FakeNitro, FakeSgx, FakeSnp, FakeTdx
from blindai.testing.certificate_table import VCEK, certificate_table, table_of
from blindai.transport.collateral import amd, endorsement, intel
from tests.server.stapling.conftest import pccs_routes
from tests.serving import server_environment
from tests.transport.collateral import services
from tests.transport.collateral.services import Reply, kds_routes

pytestmark = pytest.mark.filterwarnings("ignore:Parsed a serial number")
DAY = 24 * 3600
NOTHING = bytes(64)
TRUST = StapledSimulationTrust()


@pytest.fixture
def settings(ca_file, tmp_path):
    """Settings of a server that keeps collateral, with changes."""

    def make(**changes):
        return Settings(
            **{
                "collateral_path": str(tmp_path / "collateral"),
                "collateral_tls_ca": ca_file,
                "collateral_timeout_seconds": 30.0,
                **changes,
            }
        )

    return make


def verify(machine, gathered, now):
    claims = vendors.verify(
        machine.evidence(NOTHING),
        gathered.collateral,
        trust=SimulationTrust([machine.root_sha256]),
        now=now,
    )
    assert claims.tee == machine.tee
    return claims


def now():
    return int(time.time())


@pytest.mark.parametrize("kind", [FakeTdx, FakeSgx])
def test_intels_collateral_verifies(settings, kind):
    """From the quote to what the production verifier accepts; the end is the verifier's too."""
    machine = kind()
    platform = intel.platform_of(machine.evidence(NOTHING).value)
    with services.running(pccs_routes(machine, platform)) as pccs:
        source = choose.source_for(machine, settings(collateral_intel_url=pccs.url), trust=TRUST)
        assert isinstance(source, IntelSource)
        gathered = source.gather(machine.evidence(NOTHING), now=now(), anew=True)
    assert gathered.problems == ()
    assert verify(machine, gathered, now()).not_after == gathered.expires


def test_the_api_key_is_sent(settings, machine, pcs, tmp_path):
    """From its file, to the PCCS, and to no log."""
    file = tmp_path / "key"
    file.write_text("CANARY-KEY\n")
    file.chmod(0o600)
    chosen = settings(collateral_intel_url=pcs.url, collateral_intel_api_key_file=str(file))
    source = choose.source_for(machine, chosen, trust=TRUST)
    source.gather(machine.evidence(NOTHING), now=now(), anew=False)
    sent = [headers.get(intel.API_KEY_HEADER) for path, headers in pcs.asked if "rootcacrl" not in path]
    assert sent == ["CANARY-KEY"] * 3
    assert "CANARY-KEY" not in repr(vars(source))


def test_a_family_of_machines_is_one_subject(settings, machine):
    """Every quote of a machine needs the same collateral, another family's another."""
    source = choose.source_for(machine, settings(), trust=TRUST)
    subjects = {source.subject(machine.evidence(bytes([n]) * 64)) for n in range(3)}
    assert len(subjects) == 1
    assert source.subject(FakeTdx(fmspc=b"OTHER\0").evidence(NOTHING)) not in subjects


def test_errors_are_not_about_options_of_a_command(settings, machine):
    """A server has settings: `--url` and `--tls-ca` would mislead."""
    with services.running() as gone:
        pass
    source = choose.source_for(machine, settings(collateral_intel_url=gone.url), trust=TRUST)
    with pytest.raises(UnreachableError) as caught:
        source.gather(machine.evidence(NOTHING), now=now(), anew=False)
    assert "--" not in str(caught.value) + caught.value.hint


class Host:
    """An attester with a host that hands over a table: a `Certified`."""

    def __init__(self, machine, table=b""):
        self.machine = machine
        self.tee = machine.tee
        self.certificates = table


@pytest.fixture
def snp():
    return FakeSnp()


@pytest.fixture
def amd_at(settings):
    """The source for a machine, with a KDS that may be asked without pause, and a table of its host."""

    def make(kds, machine, table=b""):
        host = Host(machine, table)
        asked = endorsement.Services(amd.Kds.at(kds.url, interval_seconds=0))
        keeping = stapling_services.keeping(settings())
        return AmdSource(lambda: host.certificates, asked, keeping, TRUST), host

    return make


def test_amds_collateral_verifies(snp, amd_at):
    """With a host that hands over nothing, all from the KDS."""
    with services.running(kds_routes(snp)) as kds:
        source, _ = amd_at(kds, snp)
        gathered = source.gather(snp.evidence(NOTHING), now=now(), anew=True)
    assert gathered.problems == ()
    assert verify(snp, gathered, now()).not_after == gathered.expires


@pytest.mark.parametrize("leaf", ["vcek", "vlek"])
def test_the_hosts_table_is_used(amd_at, leaf):
    """With everything in it, no service is asked at the start."""
    machine = FakeSnp(leaf=leaf)
    with services.running() as kds:
        source, _ = amd_at(kds, machine, certificate_table(machine))
        gathered = source.gather(machine.evidence(NOTHING), now=now(), anew=False)
        assert kds.asked == []
    assert gathered.problems == ()
    verify(machine, gathered, now())


@pytest.mark.parametrize("table", [b"\x01" * 100, table_of([(VCEK, b"no certificate")]), b"\0"])
def test_a_table_of_nonsense_is_passed_over(snp, amd_at, table):
    """The host wrote it: whatever it is, the KDS has what is needed."""
    with services.running(kds_routes(snp)) as kds:
        source, _ = amd_at(kds, snp, table)
        verify(snp, source.gather(snp.evidence(NOTHING), now=now(), anew=True), now())


def test_the_newest_table_counts(snp, amd_at):
    """New firmware comes with a new table: that which came with the newest report."""
    updated = FakeSnp(root=snp.root, reported_tcb=SnpTcb(4, 0, 25, 219))
    with services.running() as kds:
        source, host = amd_at(kds, snp, certificate_table(snp))
        before = source.subject(snp.evidence(NOTHING))
        host.certificates = certificate_table(updated)
        assert source.subject(updated.evidence(NOTHING)) != before
        gathered = source.gather(updated.evidence(NOTHING), now=now(), anew=False)
    verify(updated, gathered, now())


def test_a_chip_is_one_subject(snp, amd_at):
    """Every report of a chip at one TCB version needs the same; the subject does not show the chip."""
    with services.running() as kds:
        source, _ = amd_at(kds, snp)
    subjects = {source.subject(snp.evidence(bytes([n]) * 64)) for n in range(3)}
    assert len(subjects) == 1
    other = FakeSnp(chip_id=b"\x07" * 64)
    assert source.subject(other.evidence(NOTHING)) not in subjects
    assert snp.machine.chip.hex()[:16] not in repr(subjects)
    assert repr(snp.machine.chip)[2:20] not in repr(subjects)


def test_amds_service_is_asked_at_its_pace(settings, snp):
    """The settings name a KDS, and the host's table is read anew for each gather."""
    host = Host(snp)
    source = choose.source_for(host, settings(collateral_amd_url="https://kds.example.org/"), trust=TRUST)
    assert source._services == endorsement.Services(amd.Kds("https://kds.example.org", 2.0), thim=None)
    host.certificates = certificate_table(snp)
    assert source._certificates() == host.certificates


def test_azure_is_one_word(settings, snp):
    """It stands for the address of the host's service, and for no other."""
    source = choose.source_for(Host(snp), settings(collateral_amd_url="azure-thim"), trust=TRUST)
    assert source._services.thim == "http://169.254.169.254/metadata/THIM/amd/certification"
    assert source._services.kds.url.startswith("https://")


def test_nitro_has_nothing_to_staple(settings):
    """A document is complete, and verifies without collateral."""
    machine = FakeNitro()
    source = choose.source_for(machine, settings(), trust=TRUST)
    assert isinstance(source, NothingToStaple)
    gathered = source.gather(machine.evidence(NOTHING), now=now(), anew=True)
    assert (gathered.collateral, gathered.expires, gathered.problems) == ({}, None, ())
    assert source.subject(machine.evidence(NOTHING)) == source.subject(machine.evidence(b"\x01" * 64))
    verify(machine, gathered, now())


@pytest.mark.parametrize("kind", [FakeTdx, FakeSnp, FakeSgx])
def test_a_simulated_vendor_publishes_again(kind):
    """A server that runs for longer than its collateral lives: evidence of any day verifies."""
    machine = kind()
    source = SimulatedSource(machine)
    first = source.gather(machine.evidence(NOTHING), now=now(), anew=False)
    assert first.collateral == machine.collateral()
    later = now() + 29 * DAY
    second = source.gather(machine.evidence(NOTHING), now=later, anew=True)
    assert second.expires > first.expires
    assert source.subject(machine.evidence(NOTHING)) == source.subject(machine.evidence(b"\x01" * 64))
    verify(machine, second, later + 20 * DAY)


def test_an_unknown_tee_is_said(settings):
    """A producer without a source of collateral is found out at the start."""
    with pytest.raises(UsageError, match="no collateral for a TEE"):
        choose.source_for(Host(type("Other", (), {"tee": "other"})()), settings(), trust=TRUST)


def test_settings_that_can_work(settings, tmp_path, machine):
    """Defaults, and everything set; nothing is made on the disk."""
    key = tmp_path / "key"
    key.write_text("key")
    key.chmod(0o600)
    choose.check(Settings())
    choose.check(
        settings(
            collateral_intel_url="https://pccs.example.org:8081",
            collateral_intel_api_key_file=str(key),
            collateral_amd_url="azure-thim",
        )
    )
    choose.check(settings(collateral_path=str(tmp_path / "a" / "b" / "c")))
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"collateral_intel_url": "http://pccs.example.org"}, r"^\[collateral\] intel_url: .*not https"),
        ({"collateral_intel_url": "pccs"}, r"\[collateral\] intel_url"),
        ({"collateral_amd_url": "http://169.254.169.254/metadata"}, r"\[collateral\] amd_url.*not https"),
        ({"collateral_amd_url": "azure"}, r"\[collateral\] amd_url"),
        ({"collateral_intel_api_key_file": "/nonexistent"}, "intel_api_key_file: cannot read"),
        (
            {"collateral_intel_api_key_file": "/dev/null"},
            r"^\[collateral\] intel_api_key_file: the API key is empty",
        ),
        ({"collateral_intel_api_key_file": "/dev/zero"}, "too large for a key"),
        ({"collateral_intel_api_key_file": "KEY"}, "does not hold a key"),
        ({"collateral_tls_ca": "/nonexistent"}, r"\[collateral\] tls_ca"),
        ({"collateral_tls_ca": "/dev/null"}, r"\[collateral\] tls_ca"),
        ({"collateral_path": "/dev/null"}, r"\[collateral\] path is not a folder"),
        ({"collateral_path": "/dev/null/below"}, r"\[collateral\] path is not a folder"),
    ],
)
def test_settings_that_cannot_work_are_said_by_name(settings, tmp_path, changes, said):
    """Before the server starts, with the key of the file."""
    key = tmp_path / "KEY"
    key.write_bytes(b"\xff\xfe")
    key.chmod(0o600)
    changes = {name: str(key) if value == "KEY" else value for name, value in changes.items()}
    with pytest.raises(UsageError, match=said):
        choose.check(settings(**changes))


@pytest.mark.parametrize("url", ["azure", "kds", "http://169.254.169.254/metadata", "https://["])
def test_the_hint_about_amds_service_is_about_amds(settings, url):
    """An example of theirs, and the word for Azure, where the host's own service has the certificates."""
    with pytest.raises(UsageError, match=r"^\[collateral\] amd_url: ") as caught:
        choose.check(settings(collateral_amd_url=url))
    assert caught.value.hint == "e.g. https://kdsintf.amd.com; on Azure: azure-thim"


@pytest.mark.parametrize("mode", [0o666, 0o644, 0o640])
def test_an_api_key_that_others_can_read_is_refused(settings, tmp_path, mode):
    """As the TLS key is, and with the line that mends it."""
    key = tmp_path / "key"
    key.write_text("key")
    key.chmod(mode)
    with pytest.raises(
        UsageError, match=r"^\[collateral\] intel_api_key_file: .* is open to other users"
    ) as caught:
        choose.check(settings(collateral_intel_api_key_file=str(key)))
    assert caught.value.hint == f"chmod 600 {key}"


def test_a_folder_that_may_not_be_written_is_said(settings, tmp_path, monkeypatch):
    """It would be noticed at the first restart without a network only."""
    monkeypatch.setattr(os, "access", lambda *_: False)  # tests may run as root, who may write anywhere
    with pytest.raises(UsageError, match="cannot be written to"):
        choose.check(settings(collateral_path=str(tmp_path / "below")))


async def kept_by(source, machine, **rest):
    """Start a keeper of this source, as a server does; return it."""

    async def sample():
        return machine.evidence(NOTHING)

    keeper = Keeper(source, sample, refresh_seconds=6 * 3600, timeout_seconds=30, **rest)
    await keeper.start()
    keeper.close()
    return keeper


async def test_a_restart_without_a_network(settings, machine, pcs, platform):
    """The second server has nobody to ask, and staples what the first one kept."""
    chosen = settings(collateral_intel_url=pcs.url)
    first = await kept_by(choose.source_for(machine, chosen, trust=TRUST), machine)
    pcs.routes.clear()
    pcs.asked.clear()
    second = await kept_by(choose.source_for(machine, chosen, trust=TRUST), machine)
    assert pcs.asked == []
    assert second.current == first.current
    assert second.state(now()).status == "valid"
    verify(machine, second.current, now())


async def test_a_restart_when_all_has_ended(settings, machine, pcs):
    """Without a network for too long: it is up, says "expired", and staples what tells clients so."""
    chosen = settings(collateral_intel_url=pcs.url)
    await kept_by(choose.source_for(machine, chosen, trust=TRUST), machine)
    pcs.routes.clear()
    pcs.default = Reply(status=500)
    later = now() + 40 * DAY
    keeper = await kept_by(choose.source_for(machine, chosen, trust=TRUST), machine, clock=lambda: later)
    state = keeper.state(later)
    assert (state.status, len(state.problems)) == ("expired", 4)
    assert keeper.current.expires < later


async def test_a_first_start_without_a_network(settings, machine):
    """Up, with nothing to staple, and a reason for it."""
    with services.running() as gone:
        pass
    keeper = await kept_by(
        choose.source_for(machine, settings(collateral_intel_url=gone.url), trust=TRUST), machine
    )
    state = keeper.state(now())
    assert (state.status, keeper.current) == ("missing", None)
    assert "cannot reach" in state.problems[0]


WRITER = """
import sys, time
from blindai.server.settings import Settings
from blindai.server.evidence.stapling.intel import IntelSource
from blindai.attestation.trust import StapledSimulationTrust
from blindai.attestation.types import TDX_QUOTE, Evidence
url, folder, ca, quote = sys.argv[1:]
settings = Settings(collateral_intel_url=url, collateral_path=folder, collateral_tls_ca=ca)
source = IntelSource.of(settings, trust=StapledSimulationTrust())
sample = Evidence(TDX_QUOTE, open(quote, "rb").read())
while True:
    source.gather(sample, now=int(time.time()), anew=True)
    print("gathered", flush=True)
"""


async def test_killed_while_it_writes(settings, machine, pcs, tmp_path, ca_file, caplog):
    """kill -9 at any moment leaves every file as it was or as it should be: the next start needs nobody."""
    chosen = settings(collateral_intel_url=pcs.url)
    quote = tmp_path / "quote.bin"
    quote.write_bytes(machine.evidence(NOTHING).value)
    for pause in (0.0, 0.004, 0.011):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", WRITER, pcs.url, chosen.collateral_path, ca_file, str(quote)),
            stdout=subprocess.PIPE,
            env=server_environment(),
        )
        try:
            assert await process.stdout.readline() == b"gathered\n"
            await asyncio.sleep(pause)
        finally:
            process.kill()
            await process.communicate()
    pcs.routes.clear()
    pcs.asked.clear()
    keeper = await kept_by(choose.source_for(machine, chosen, trust=TRUST), machine)
    assert pcs.asked == []
    assert "damaged" not in caplog.text
    verify(machine, keeper.current, now())


def test_a_service_that_lies_for_a_while(settings, machine, pcs):
    """What verified stays stapled, with a problem beside it; and nothing is left of the lie after it."""
    chosen = settings(collateral_intel_url=pcs.url)
    source = choose.source_for(machine, chosen, trust=TRUST)
    first = source.gather(machine.evidence(NOTHING), now=now(), anew=False)
    (path,) = [path for path in pcs.routes if "pckcrl" in path]
    good = pcs.routes[path]
    pcs.routes[path] = Reply(pcs.routes["/sgx/certification/v4/rootcacrl"].body, good.headers)
    lied_to = source.gather(machine.evidence(NOTHING), now=now(), anew=True)
    assert lied_to.collateral == first.collateral
    assert len(lied_to.problems) == 1
    pcs.routes[path] = good
    assert source.gather(machine.evidence(NOTHING), now=now(), anew=True) == first


def test_real_machines_are_verified_by_the_vendors_roots(settings, machine, pcs):
    """Collateral of a simulation, on what calls itself hardware, is not genuine and not kept."""
    chosen = settings(collateral_intel_url=pcs.url)
    source = choose.source_for(machine, chosen, trust=ProductionTrust())
    with pytest.raises(UnreachableError, match="root-unknown"):
        source.gather(machine.evidence(NOTHING), now=now(), anew=True)
    assert not Path(chosen.collateral_path).exists()
