"""A machine in perfect order, as files and functions; each test takes something away."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from blindai.attestation.types import Evidence
from blindai.server.doctor import Check, Report, Status, Surroundings, examine
from blindai.server.doctor.clock import NOT_BEFORE, Clock
from blindai.server.doctor.tried import Trial
from blindai.tee.probe import Finding, Presence

HELD = Trial(
    {
        "user_namespace": 1,
        "no_new_privileges": 1,
        "seccomp": 1,
        "memfd_secret": 1,
        "core_limit": 1,
        "landlock": 7,
        "undumpable": 1,
    },
    "",
)
FILES = {
    "proc/sys/kernel/osrelease": "6.12.1-cloud-amd64\n",
    "proc/sys/kernel/core_pattern": "core\n",
    "proc/mounts": "proc /proc proc rw 0 0\nconfigfs /sys/kernel/config configfs rw 0 0\n",
    "proc/swaps": "Filename\tType\tSize\tUsed\tPriority\n",
    "proc/self/status": "Name:\tpython\nCapEff:\t0000000000000000\n",
    "sys/module/sev_guest/uevent": "",
}


class Interface:
    """An interface to a TEE that turned out to be what a test says."""

    simulated = False

    def __init__(self, interface: str, tee: str, presence: Presence, hint: str = "") -> None:
        self.interface, self.tee, self._presence, self._hint = interface, tee, presence, hint

    def probe(self) -> Finding:
        return Finding(self.interface, self.tee, self._presence, f"it {self._presence}", self._hint)

    def evidence(self, report_data: bytes) -> Evidence:
        raise NotImplementedError


def perfect_clock(**instead) -> Clock:
    ticks = iter(range(100))
    fields = {
        "wall": lambda: NOT_BEFORE.timestamp() + 86400,
        "monotonic": lambda: float(next(ticks)),
        "sleep": lambda _seconds: None,
        "synchronised": lambda: True,
    }
    return Clock(**{**fields, **instead})


@pytest.fixture
def root(tmp_path) -> Path:
    """The files of a machine: Linux with configfs and a driver, no swap."""
    folder = tmp_path / "root"
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@pytest.fixture
def examined(root, tmp_path) -> Callable[..., Report]:
    """Return a function that examines that machine, with something else in the place of what it names."""

    def run(**instead) -> Report:
        fields = {
            "root": root,
            "environment": {},
            "interfaces": [Interface("configfs-tsm", "sev-snp", Presence.WORKS)],
            "timeout_seconds": 30,
            "clock": perfect_clock(),
            "trial": lambda: HELD,
            "descriptors": lambda: 20000,
            "memory_lock": lambda: -1,
            "cache_folder": lambda: tmp_path,
            "installed": lambda _package: "1.0",
        }
        return examine(Surroundings(**{**fields, **instead}))

    return run


@pytest.fixture
def check(examined) -> Callable[..., Check]:
    """Return a function that examines the machine, and returns one check by section and name."""

    def run(section: str, name: str, **instead) -> Check:
        checks = {part.name: part.checks for part in examined(**instead).sections}[section]
        return next(check for check in checks if check.name == name)

    return run


def without(step: str, why: str = "Function not implemented") -> Trial:
    """A trial in which one step was refused."""
    return Trial({**HELD.steps, step: why}, "")


NOT_TRIED = Trial({}, "no process can be started: Permission denied")
FINE = {Status.OK, Status.WARNING}  # of OpenSSL, which is this machine's
