"""`blindai doctor` on the machine that runs the tests, whichever it is."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from blindai.cli.doctor import EXIT_NOT_READY
from blindai.cli.main import EXIT_CODES
from tests.server.test_hardening import AS_NOBODY, _can_be_nobody
from tests.serving import server_environment


@pytest.fixture(scope="module")
def report(blindai_process):
    """The report as JSON, of a process of its own."""
    done = blindai_process("doctor", "--json")
    assert done.stderr == ""
    return done.returncode, json.loads(done.stdout)


def test_the_exit_code_says_whether_a_server_could_start(report):
    """0 if a TEE works and nothing failed, and a code that nothing else has if not."""
    code, found = report
    assert code == (0 if found["ready"] else EXIT_NOT_READY)
    assert EXIT_NOT_READY not in {used for _, used in EXIT_CODES}
    failed = [
        check for checks in found["sections"].values() for check in checks if check["status"] == "failed"
    ]
    assert found["ready"] == (found["tee"] is not None and not failed)


def test_people_get_the_same_in_aligned_lines(blindai_process, report):
    """One line for each check under its section, hints below, and one line at the end that says it all."""
    done = blindai_process("doctor")
    lines = done.stdout.splitlines()
    assert done.stderr == ""
    assert done.returncode == report[0]
    assert lines[0] == "TEE"
    assert lines[-1].startswith(("ready: ", "not ready: "))
    for checks in report[1]["sections"].values():
        for check in checks:
            assert any(line.startswith(f"  {check['status']:7}  {check['name']}") for line in lines)
            assert not check["hint"] or any(line.endswith(f"hint: {check['hint']}") for line in lines)


@pytest.mark.skipif(not _can_be_nobody(), reason="needs root, setpriv, and a Python that all can read")
def test_a_user_without_rights():
    """Nobody gets a whole report too, with what nobody may see left out."""
    done = subprocess.run(
        [*AS_NOBODY, sys.executable, "-B", "-m", "blindai", "doctor", "--json"],
        env=server_environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stderr == ""
    found = json.loads(done.stdout)
    assert done.returncode in (0, EXIT_NOT_READY)
    assert "looking at it failed" not in done.stdout
    assert "seccomp" in {check["name"] for check in found["sections"]["sandbox"]}


@pytest.mark.parametrize("timeout", ["0", "-1", "nan", "inf", "1e9", "soon"])
def test_a_timeout_that_cannot_be(blindai, timeout):
    """It is refused before anything is tried."""
    done = blindai("doctor", f"--timeout={timeout}")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "--timeout" in done.stderr


def test_elsewhere_than_on_linux(blindai, monkeypatch):
    """Servers run on Linux: on a developer's other machine that is what there is to say."""
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    done = blindai("doctor")
    assert done.returncode == 1
    assert "Linux" in done.stderr
