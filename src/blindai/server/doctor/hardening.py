"""What a server does to itself before it makes keys (`server/hardening.py`): could it, here?"""

from __future__ import annotations

from pathlib import Path

from blindai.errors import UsageError
from blindai.server import hardening
from blindai.server.doctor import seen
from blindai.server.doctor.gramine import NOT_APPLICABLE
from blindai.server.doctor.report import Check, Status
from blindai.server.doctor.tried import Trial

_FILTER = "a seccomp filter around the server has to allow prctl and setrlimit"


def checks(trial: Trial, root: Path, *, enclave: bool) -> tuple[Check, ...]:
    """Return the steps that a server takes, and what holds of this process already."""
    if enclave:
        return (Check("hardening", Status.OK, f"{NOT_APPLICABLE}; the processor encrypts what it dumps"),)
    try:
        state = hardening.state()
    except UsageError as exc:
        return (Check("hardening", Status.FAILED, str(exc), exc.hint),)
    return (
        _step(
            "core files", "core_limit", trial, _already(state["core_hard_limit_bytes"] == 0) + _cores(root)
        ),
        _step("dumps and debuggers", "undumpable", trial, _already(state["dumpable"] == 0)),
        _step("no_new_privs", "no_new_privileges", trial, _already(state["no_new_privileges"] == 1)),
    )


def _step(name: str, step: str, trial: Trial, remark: str) -> Check:
    if trial.held(step):
        return Check(name, Status.OK, f"a server can forbid them{remark}")
    if refused := trial.refused(step):
        return Check(name, Status.FAILED, f"a server cannot forbid them: {refused}", _FILTER)
    return Check(name, Status.WARNING, f"this could not be tried: {trial.ended}{remark}")


def _already(holds: bool) -> str:
    return "; here they are forbidden already" if holds else ""


def _cores(root: Path) -> str:
    """Where core_pattern is a pipe, the limit does nothing and `dumps and debuggers` does it all."""
    piped = seen.text(root / "proc/sys/kernel/core_pattern").startswith("|")
    return "; the kernel hands them to a program" if piped else ""
