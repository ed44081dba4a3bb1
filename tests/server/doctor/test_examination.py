"""The whole examination: when a server could start, and what the report says of the machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from blindai.server.doctor import Status, Surroundings, examine
from blindai.tee.probe import Presence
from tests.server.doctor.conftest import FINE, Interface, perfect_clock
from tests.serving import SOURCES

SECTIONS = [
    "tee",
    "kernel",
    "hardening",
    "sandbox",
    "tls",
    "clock",
    "environment",
    "files",
    "packages",
]


def test_a_machine_in_order(examined):
    """With a TEE that works and nothing in the way a server can start; no check has a hint to give."""
    report = examined()
    assert report.ready
    assert (report.tee, report.interface) == ("sev-snp", "configfs-tsm")
    assert report.summary() == "ready: a server can start here, in sev-snp through configfs-tsm"
    assert [section.name for section in report.sections] == SECTIONS
    for section in report.sections:
        for found in section.checks:
            expected = FINE if found.name == "X25519MLKEM768" else {Status.OK}
            assert found.status in expected, found
            assert found.found


def test_without_a_tee_there_is_only_simulation(examined):
    """Whatever else is in order, without a TEE no server on hardware starts."""
    report = examined(interfaces=[Interface("nsm", "nitro", Presence.ABSENT)])
    assert not report.ready
    assert (report.tee, report.interface, report.failed) == ("", "", ())
    assert "--simulation only" in report.summary()


def test_one_failure_beside_a_tee(examined):
    """A TEE that works does not make up for what keeps a server from starting."""
    report = examined(environment={"SSLKEYLOGFILE": "keys"})
    assert not report.ready
    assert report.summary() == "not ready: SSLKEYLOGFILE"


def test_json_has_stable_keys(examined):
    """Programs find the same keys whatever was found, and nothing that JSON cannot hold."""
    ready, bare = (
        json.loads(json.dumps(report.to_json())) for report in (examined(), examined(interfaces=[]))
    )
    assert list(ready) == list(bare) == ["version", "ready", "tee", "interface", "sections"]
    assert (ready["version"], ready["ready"], ready["tee"]) == (1, True, "sev-snp")
    assert (bare["ready"], bare["tee"], bare["interface"]) == (False, None, None)
    assert list(ready["sections"]) == SECTIONS
    for checks in ready["sections"].values():
        for found in checks:
            assert list(found) == ["name", "status", "found", "hint"]
            assert found["status"] in set(Status)


def test_a_part_that_cannot_be_looked_at(check):
    """What breaks while it is looked at is a failed check without foreign words; the rest goes on."""

    def broken():
        raise RuntimeError("CANARY")

    found = check("clock", "clock", clock=perfect_clock(synchronised=broken))
    assert (found.status, found.found) == (Status.FAILED, "looking at it failed with RuntimeError")


def test_gramine_is_no_linux(examined, root):
    """In an enclave no child is started, and what Linux alone has is said not to apply."""
    (root / "dev/attestation").mkdir(parents=True)
    (root / "dev/attestation/attestation_type").write_text("dcap")

    def no_child():
        raise AssertionError("Gramine forbids child processes")

    report = examined(
        trial=no_child, interfaces=[Interface("gramine", "sgx", Presence.WORKS)], memory_lock=lambda: 0
    )
    assert report.ready
    sections = {section.name: section.checks for section in report.sections}
    for name in ("kernel", "hardening", "sandbox"):
        assert [found.status for found in sections[name]] == [Status.OK]
        assert "not applicable" in sections[name][0].found


def test_an_empty_attestation_folder_is_not_gramine(check, root):
    """A folder that anybody can make does not switch the examination of Linux off."""
    (root / "dev/attestation").mkdir(parents=True)
    assert check("sandbox", "landlock").status is Status.OK


@pytest.fixture(scope="module")
def here():
    """What is found on the machine that runs the tests."""
    return examine(Surroundings(timeout_seconds=60))


def test_this_machine(here):
    """The real examination ends without a failure of its own, whatever it finds."""
    assert [section.name for section in here.sections] == SECTIONS
    assert "looking at it failed" not in json.dumps(here.to_json())


def test_the_report_names_nobody(examined, root, tmp_path):
    """No host, user, machine or value of the environment is in the report: people paste it into issues."""
    for name in ("product_uuid", "product_serial", "sys_vendor"):
        path = root / "sys/class/dmi/id" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("CANARY")
    (root / "proc/cpuinfo").write_text("model name : CANARY\nflags : sev\n")
    (root / "proc/sys/kernel/osrelease").write_text("6.12.1-CANARY\n")
    (root / "proc/swaps").write_text("Filename\tType\tSize\tUsed\tPriority\n/dev/CANARY partition 1 0 -2\n")
    report = examined(
        environment={"HOSTNAME": "CANARY", "LD_PRELOAD": "CANARY"},
        cache_folder=lambda: tmp_path / "CANARY",
        interfaces=[],
    )
    assert "CANARY" not in json.dumps(report.to_json())


WITHOUT_SERVER = """
import sys
for name in ("uvicorn", "onnxruntime", "httptools", "uvloop", "prometheus_client", "joserfc"):
    sys.modules[name] = None
from blindai.server.doctor import Surroundings, examine
report = examine(Surroundings(installed=lambda package: None))
print(report.ready, len(report.sections))
"""


def test_only_the_client_is_installed():
    """The doctor runs without a single package of [server], and says that they are missing."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", WITHOUT_SERVER],
        env={**os.environ, "PYTHONPATH": str(SOURCES)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.stdout, done.stderr) == (f"False {len(SECTIONS)}\n", "")
