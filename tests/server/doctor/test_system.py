"""Kernel, clock, environment, limits, folders and packages: each fault is found, with what to do."""

from __future__ import annotations

import os
import tomllib

import pytest

from blindai.server.doctor import Status
from blindai.server.doctor.clock import NOT_BEFORE, kernel_synchronised
from blindai.server.doctor.packages import OPTIONAL, REQUIRED, installed_version
from blindai.server.environment import FORBIDDEN, FORBIDDEN_IN_PRODUCTION
from tests.repository.tree import ROOT
from tests.server.doctor.conftest import perfect_clock


@pytest.mark.parametrize(
    ("release", "status"),
    [
        ("6.7.0", Status.OK),
        ("7.0", Status.OK),
        ("6.6.99-x", Status.WARNING),
        ("5.19", Status.WARNING),
        ("linux", Status.WARNING),
    ],
)
def test_the_kernels_version(release, status, root, check):
    """Before 6.7 there is no configfs-tsm."""
    (root / "proc/sys/kernel/osrelease").write_text(release + "\n")
    assert check("kernel", "version").status is status


def test_configfs_is_not_mounted(root, check):
    """A mount of another file system at that place, or of configfs elsewhere, is not it."""
    (root / "proc/mounts").write_text("configfs /config configfs rw 0 0\ntmpfs /sys/kernel/config tmpfs rw\n")
    found = check("kernel", "configfs")
    assert found.status is Status.MISSING
    assert "mount -t configfs" in found.hint


def test_no_driver_is_loaded(root, check):
    """Modules are read from /sys, where those that are built in are too."""
    assert check("kernel", "modules").found == "sev_guest"
    (root / "sys/module/sev_guest/uevent").unlink()
    (root / "sys/module/sev_guest").rmdir()
    found = check("kernel", "modules")
    assert found.status is Status.MISSING
    assert "modprobe" in found.hint


def test_a_root_without_files(examined, tmp_path):
    """A machine that shows nothing of itself is examined all the same."""
    report = examined(root=tmp_path / "nowhere")
    assert not any("looking at it failed" in found.found for found in report.failed)


def test_a_clock_before_this_version(check):
    """A date from before the code was written is wrong, and fatal."""
    found = check("clock", "date", clock=perfect_clock(wall=lambda: NOT_BEFORE.timestamp() - 1))
    assert found.status is Status.FAILED
    assert "set the clock" in found.hint


@pytest.mark.parametrize("says", [False, None])
def test_a_clock_that_nothing_sets(says, check):
    """That the kernel says so, or does not say, is a warning: the clock may be right."""
    found = check("clock", "synchronised", clock=perfect_clock(synchronised=lambda: says))
    assert found.status is Status.WARNING


def test_a_clock_that_stands_still(check):
    """Without a monotonic clock no limit of time works."""
    found = check("clock", "monotonic", clock=perfect_clock(monotonic=lambda: 5.0))
    assert found.status is Status.FAILED


def test_the_kernel_is_asked():
    """adjtimex(2) answers, or is forbidden; it is only read."""
    assert kernel_synchronised() in (True, False, None)


@pytest.mark.parametrize("variable", [*FORBIDDEN, *FORBIDDEN_IN_PRODUCTION])
def test_each_forbidden_variable_is_found(variable, check):
    """It is named; its value is not."""
    found = check("environment", variable, environment={variable: "CANARY"})
    assert found.status is Status.FAILED
    assert f"env -u {variable}" in found.hint
    assert "CANARY" not in str(found)


def test_an_empty_variable_is_none(check):
    """As for the server."""
    assert check("environment", "variables", environment={"LD_PRELOAD": ""}).status is Status.OK


def test_too_few_files(check):
    """Connections are files; the environment's max_connections counts."""
    found = check("files", "open files", descriptors=lambda: 1024)
    assert found.status is Status.WARNING
    assert "ulimit -n 1152" in found.hint
    fewer = {"BLINDAI_LIMITS_MAX_CONNECTIONS": "100"}
    assert check("files", "open files", descriptors=lambda: 1024, environment=fewer).status is Status.OK
    assert check("files", "open files", descriptors=lambda: -1).found == "no limit"


def test_settings_of_the_environment_that_are_wrong(check):
    """A server would not start with them either; limits are then compared with the defaults."""
    wrong = {"BLINDAI_LIMITS_MAX_CONNECTIONS": "many"}
    found = check("files", "settings", environment=wrong)
    assert found.status is Status.FAILED
    assert "BLINDAI_LIMITS_MAX_CONNECTIONS" in found.found
    assert check("files", "open files", environment=wrong).status is Status.OK


def test_the_collateral_folder(tmp_path, check):
    """A folder that is there, or can be made, is fine, and it is not made."""
    folder = tmp_path / "a" / "b"
    setting = {"BLINDAI_COLLATERAL_PATH": str(folder)}
    assert check("files", "collateral folder").found == "can be written to"
    assert check("files", "collateral folder", environment=setting).found == "can be made"
    assert not folder.exists()
    (tmp_path / "a").write_text("a file")
    found = check("files", "collateral folder", environment={"BLINDAI_COLLATERAL_PATH": str(tmp_path / "a")})
    assert found.status is Status.WARNING


def test_a_collateral_folder_that_cannot_be_written(check, monkeypatch):
    """A server starts without it, and fetches anew each time."""
    monkeypatch.setattr(os, "access", lambda _path, mode: mode == os.F_OK)
    found = check("files", "collateral folder")
    assert found.status is Status.WARNING
    assert "fetched anew" in found.found


def test_folders_that_this_user_may_not_look_into(check, examined, tmp_path, monkeypatch):
    """With the HOME of somebody else, and devices of root's: nothing raises, and nothing is seen."""
    closed = tmp_path / "closed"
    closed.mkdir()
    real = os.stat

    def stat(path, **options):
        if str(path).startswith((f"{closed}/", str(tmp_path / "root/dev/"))):
            raise PermissionError(13, "Permission denied")
        return real(path, **options)

    monkeypatch.setattr(os, "stat", stat)
    monkeypatch.setattr(os, "access", lambda _path, mode: mode == os.F_OK)
    found = check("files", "collateral folder", cache_folder=lambda: closed / ".cache/blindai")
    assert found.status is Status.WARNING
    assert examined().failed == ()


def test_a_user_without_a_home(check):
    """Path.home() raises for a user that no file knows: a warning."""

    def homeless():
        raise RuntimeError("Could not determine home directory.")

    found = check("files", "collateral folder", cache_folder=homeless)
    assert found.status is Status.WARNING
    assert "[collateral] path" in found.hint


def test_packages_that_are_not_installed(check, examined):
    """Without one that is required no server starts; without uvloop one does."""
    found = check("packages", "uvicorn", installed=lambda name: None if name == "uvicorn" else "1")
    assert found.status is Status.FAILED
    assert "[server] extra" in found.hint
    assert examined(installed=lambda name: None if name == "uvloop" else "1").ready


def test_the_packages_are_those_of_the_extra():
    """What pyproject.toml lists for a server is looked for, and nothing else."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extra = {line.split(">")[0] for line in project["optional-dependencies"]["server"]}
    assert extra == {*REQUIRED, *OPTIONAL}
    assert installed_version("cryptography")
    assert installed_version("no-such-package-of-anybody") is None
