"""What a process can be locked down with: tried in a child, and told from what could not be tried."""

from __future__ import annotations

import resource
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from blindai.server import hardening
from blindai.server.doctor import Status, trial
from blindai.server.doctor.tried import Trial, in_a_child
from tests.server.doctor.conftest import HELD, NOT_TRIED, without

SWAP = "Filename\tType\tSize\tUsed\tPriority\n/dev/sda2 partition 8388604 0 -2\n"
STEPS = {step.__name__ for step in trial.STEPS}


def test_a_trial_changes_its_child_only():
    """Every step is tried, and of this process nothing is different afterwards."""

    def state():
        return dict(hardening.state()), threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))

    before = state()
    found = in_a_child()
    assert set(found.steps) == STEPS == set(HELD.steps)
    assert found.ended == ""
    assert before == state()
    assert Path("/proc/self/status").read_text()  # Landlock would forbid it


def test_what_any_linux_allows():
    """These steps need no privilege, and a server on hardware does not start without them."""
    found = in_a_child()
    for step in ("no_new_privileges", "core_limit", "undumpable"):
        assert found.held(step), found.refused(step)


@pytest.mark.parametrize(
    ("step", "whole", "half"),
    [
        ("seccomp", "_SECCOMP_SET_MODE_FILTER, _SECCOMP_FILTER_FLAG_TSYNC = 1, 1", "{} = 1, 0"),
        ("landlock", "_syscall(_LANDLOCK_RESTRICT_SELF, ruleset, 0, 0)", "# {}"),
    ],
)
def test_a_step_that_does_not_hold_is_seen(step, whole, half, tmp_path):
    """A kernel that says yes and does nothing, or does it for one thread only, is not believed."""
    source = Path(trial.__file__).read_text()
    assert whole in source
    script = tmp_path / "trial.py"
    script.write_text(source.replace(whole, half.format(whole.partition(" = ")[0])))
    assert not in_a_child(script).held(step)


@pytest.mark.parametrize(
    ("program", "ended"),
    [
        ("print('[\"seccomp\", 1]', flush=True); import os; os.kill(os.getpid(), 31)", "seccomp filter"),
        ("print('[\"seccomp\", 1]', flush=True); import os; os.kill(os.getpid(), 9)", "signal 9"),
        ("print('[\"seccomp\", 1]'); print('[\"landl', end=''); raise SystemExit(1)", "ended early"),
    ],
)
def test_a_trial_that_ends_early(program, ended, tmp_path):
    """What was found before counts; a line that is not whole does not; the reason is known."""
    script = tmp_path / "trial.py"
    script.write_text(program)
    found = in_a_child(script)
    assert dict(found.steps) == {"seccomp": 1}
    assert ended in found.ended


def test_no_process_can_be_started(monkeypatch):
    """Where the interpreter cannot be run again, nothing was tried, and nothing is claimed."""
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    found = in_a_child()
    assert not found.steps
    assert "no process can be started" in found.ended


def test_a_trial_that_hangs(monkeypatch, tmp_path):
    """It is ended, and what it had said counts."""
    script = tmp_path / "trial.py"
    script.write_text("import time; print('[\"seccomp\", 1]', flush=True); time.sleep(600)")
    monkeypatch.setattr("blindai.server.doctor.tried._TIMEOUT_SECONDS", 2)
    found = in_a_child(script)
    assert found.ended == "it took too long"
    assert found.held("seccomp") or not found.steps  # a busy machine may not have come that far


@pytest.mark.parametrize("step", ["core_limit", "undumpable", "no_new_privileges"])
def test_a_step_of_the_server_that_is_refused(step, check, examined):
    """A server on hardware does not start without it: failed."""
    names = {"core_limit": "core files", "undumpable": "dumps and debuggers"}
    found = check("hardening", names.get(step, "no_new_privs"), trial=lambda: without(step))
    assert found.status is Status.FAILED
    assert "Function not implemented" in found.found
    assert not examined(trial=lambda: without(step)).ready


@pytest.mark.parametrize("step", ["seccomp", "landlock", "memfd_secret"])
def test_an_ability_that_is_refused(step, check, examined):
    """It is missing, with what to do; servers of today start without it."""
    found = check("sandbox", step, trial=lambda: without(step))
    assert found.status is Status.MISSING
    assert found.hint
    assert examined(trial=lambda: without(step)).ready


def test_what_could_not_be_tried_is_no_answer(examined):
    """It is neither there nor missing: a warning, with the reason."""
    report = examined(trial=lambda: NOT_TRIED)
    sections = {section.name: section.checks for section in report.sections}
    tried = [*sections["hardening"], *sections["sandbox"][:3]]
    assert {found.status for found in tried} == {Status.WARNING}
    assert all("could not be tried" in found.found for found in tried)
    assert report.ready


def test_an_old_landlock(check):
    """Before ABI 4 it does not keep a worker from the network."""
    found = check("sandbox", "landlock", trial=lambda: Trial({**HELD.steps, "landlock": 3}, ""))
    assert found.status is Status.WARNING
    assert found.found == "ABI 3: files, truncation; not TCP"


def test_user_namespaces_are_not_needed(check):
    """Either answer is fine, and is said."""
    assert check("sandbox", "user namespaces").found == "can be made"
    found = check("sandbox", "user namespaces", trial=lambda: without("user_namespace", "EPERM"))
    assert (found.status, found.found) == (Status.OK, "not here, and not needed: EPERM")


def test_swap_and_memory_that_cannot_be_locked(root, check):
    """Keys could reach a disk: failed. Either right to lock all memory mends it."""
    (root / "proc/swaps").write_text(SWAP)
    found = check("sandbox", "memory", memory_lock=lambda: 8 * 2**20)
    assert found.status is Status.FAILED
    assert "swapoff" in found.hint
    assert check("sandbox", "memory", memory_lock=lambda: resource.RLIM_INFINITY).status is Status.OK
    (root / "proc/self/status").write_text("CapEff:\t0000000000004000\n")
    assert check("sandbox", "memory", memory_lock=lambda: 0).status is Status.OK


def test_cores_that_go_to_a_program(root, check):
    """Where core_pattern is a pipe it is said: the limit alone would not keep memory from it."""
    (root / "proc/sys/kernel/core_pattern").write_text("|/usr/lib/systemd/systemd-coredump %P\n")
    assert "hands them to a program" in check("hardening", "core files").found


def test_the_trial_is_a_script_of_the_standard_library():
    """It runs without this package: in a child that has lost its way to it, too."""
    program = "import sys; sys.argv[0] = '/proc/self/exe'; exec(sys.stdin.read())"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program],
        input=Path(trial.__file__).read_text(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == len(trial.STEPS)
