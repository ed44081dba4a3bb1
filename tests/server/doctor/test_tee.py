"""What is said of interfaces, and of what people take for a TEE."""

from __future__ import annotations

import pytest

from blindai.server.doctor import Status
from blindai.tee.probe import Presence
from tests.server.doctor.conftest import Interface

WORKS, BROKEN, ABSENT = Presence.WORKS, Presence.BROKEN, Presence.ABSENT


def test_what_is_broken_where_nothing_works(check):
    """It is what keeps a server from starting, with what to do."""
    interfaces = [Interface("configfs-tsm", "tdx", BROKEN, "load the driver")]
    found = check("tee", "configfs-tsm", interfaces=interfaces)
    assert (found.status, found.hint) == (Status.FAILED, "load the driver")
    evidence = check("tee", "evidence", interfaces=interfaces)
    assert evidence.status is Status.MISSING
    assert "seems to be here" in evidence.found


def test_what_is_broken_beside_what_works(examined, check):
    """It is worth a look, and keeps nobody from starting."""
    interfaces = [
        Interface("configfs-tsm", "sev-snp", WORKS),
        Interface("sev-guest", "sev-snp", BROKEN, "open it"),
    ]
    assert examined(interfaces=interfaces).ready
    found = check("tee", "sev-guest", interfaces=interfaces)
    assert (found.status, found.hint) == (Status.WARNING, "open it")


def test_what_is_absent_has_nothing_to_mend(check):
    """Most machines lack most interfaces: no hint sends people to load drivers for them."""
    interfaces = [Interface("nsm", "nitro", ABSENT, "modprobe nsm")]
    found = check("tee", "nsm", interfaces=interfaces)
    assert (found.status, found.hint) == (Status.MISSING, "")


def test_a_tee_that_works_and_that_no_policy_accepts(check):
    """A debug enclave works, and is pointed out."""
    found = check("tee", "nsm", interfaces=[Interface("nsm", "nitro", WORKS, "clients refuse it")])
    assert (found.status, found.hint) == (Status.WARNING, "clients refuse it")


@pytest.mark.parametrize(
    ("name", "path", "text"),
    [
        ("/dev/kvm", "dev/kvm", ""),
        ("/dev/attestation", "dev/attestation/nothing", ""),
        ("CPU flags", "proc/cpuinfo", "processor : 0\nflags\t\t: fpu sev_snp sgx\n"),
        ("DMI strings", "sys/class/dmi/id/sys_vendor", "CANARY"),
    ],
)
def test_what_proves_nothing(name, path, text, root, examined, check):
    """What people look for first is named, said to prove nothing, and makes no machine ready."""
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)
    found = check("tee", name, interfaces=[])
    assert found.status is Status.OK
    assert found.found.startswith("proves nothing: ")
    assert "CANARY" not in str(found)
    assert not examined(interfaces=[]).ready


def test_cpu_flags_are_those_of_a_tee(root, check):
    """Of the flags only those that people take for a TEE are shown."""
    (root / "proc/cpuinfo").write_text("flags\t\t: fpu sev sev_es sgx_lc tdx_guest\n")
    assert check("tee", "CPU flags").found.startswith("proves nothing: sev, sev_es, tdx_guest:")
