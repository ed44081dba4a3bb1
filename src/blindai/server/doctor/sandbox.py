"""How far a process that handles foreign models could be locked down here: what this process COULD do."""

from __future__ import annotations

import resource
from pathlib import Path

from blindai.server import hardening
from blindai.server.doctor import seen
from blindai.server.doctor.gramine import NOT_APPLICABLE
from blindai.server.doctor.report import Check, Status
from blindai.server.doctor.tried import Trial

_CAP_IPC_LOCK = 14
_LANDLOCK_ABILITIES = (
    (1, "files"),
    (3, "truncation"),
    (4, "TCP"),
    (5, "devices' ioctls"),
    (6, "signals and abstract sockets"),
)
_LANDLOCK_TCP = 4


def memory_lock_limit() -> int:
    """Return how many bytes this process may lock; -1 is without limit, by the hard limit."""
    return resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]


def checks(trial: Trial, root: Path, *, lock_limit: int, enclave: bool) -> tuple[Check, ...]:
    """Return what was tried in a child, and what is written about memory."""
    if enclave:
        return (Check("sandbox", Status.OK, f"{NOT_APPLICABLE}; an enclave runs one process"),)
    return (
        _ability(
            "seccomp",
            trial,
            "a filter for all threads can be loaded",
            "a kernel with CONFIG_SECCOMP_FILTER, and no filter around the server that forbids seccomp(2)",
        ),
        _landlock(trial),
        _ability(
            "memfd_secret",
            trial,
            "keys can be kept where the kernel itself does not map them",
            "Linux 6.5 or newer, or secretmem.enable=1 on the kernel's command line",
        ),
        _user_namespace(trial),
        _memory(root, lock_limit),
    )


def _ability(step: str, trial: Trial, found: str, hint: str) -> Check:
    if trial.held(step):
        return Check(step, Status.OK, found)
    if refused := trial.refused(step):
        return Check(step, Status.MISSING, f"the kernel refuses it: {refused}", hint)
    return Check(step, Status.WARNING, f"this could not be tried: {trial.ended}")


def _landlock(trial: Trial) -> Check:
    abi = trial.held("landlock")
    found = f"ABI {abi}: " + ", ".join(what for since, what in _LANDLOCK_ABILITIES if abi >= since)
    if 0 < abi < _LANDLOCK_TCP:
        return Check("landlock", Status.WARNING, f"{found}; not TCP", "Linux 6.7 or newer")
    hint = "a kernel with CONFIG_SECURITY_LANDLOCK, and landlock in lsm= on its command line"
    return _ability("landlock", trial, found, hint)


def _user_namespace(trial: Trial) -> Check:
    """Not needed, and many forbid them for good reasons: neither answer is trouble."""
    if trial.held("user_namespace"):
        return Check("user namespaces", Status.OK, "can be made")
    why = trial.refused("user_namespace") or trial.ended
    return Check("user namespaces", Status.OK, f"not here, and not needed: {why}")


def _memory(root: Path, lock_limit: int) -> Check:
    """A server on hardware does not start where its memory may reach a disk (`server/hardening.py`)."""
    status = seen.text(root / "proc/self/status")
    capabilities = next((line.split()[1] for line in status.splitlines() if line.startswith("CapEff:")), "0")
    unlimited = lock_limit == resource.RLIM_INFINITY or bool(int(capabilities, 16) >> _CAP_IPC_LOCK & 1)
    limit = "all memory can be locked" if unlimited else f"{lock_limit} bytes can be locked"
    if not hardening.has_swap(seen.text(root / "proc/swaps")):
        return Check("memory", Status.OK, f"no swap; {limit}")
    if unlimited:
        return Check("memory", Status.OK, f"swap is on; {limit}, and a server does so")
    return Check(
        "memory",
        Status.FAILED,
        f"swap is on, and only {limit}: keys and inputs could be written to a disk",
        "swapoff -a; or ulimit -l unlimited, LimitMEMLOCK=infinity in a unit, or CAP_IPC_LOCK",
    )
