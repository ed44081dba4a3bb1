"""Each step is taken in a process of its own: none of them can be undone."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from blindai.server.hardening import has_swap
from tests import models
from tests.serving import SOURCES, running_server, tensor

SWAPS = "Filename\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
WITH_SWAP = SWAPS + "/dev/sda2                               partition\t8388604\t\t0\t\t-2\n"
AS_NOBODY = (
    "setpriv",
    "--reuid=65534",
    "--regid=65534",
    "--clear-groups",
    "--bounding-set=-all",
    "--inh-caps=-all",
)


def _can_be_nobody() -> bool:
    """Whether this is root, and another user can run this Python with what it imports."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        return False
    probe = [*AS_NOBODY, sys.executable, "-c", "import cryptography, json"]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


root = pytest.mark.skipif(not _can_be_nobody(), reason="needs root, setpriv, and a Python that all can read")
BEGIN = f"""
import json, os, resource, signal, sys
sys.path.insert(0, {str(SOURCES)!r})
from blindai.errors import UsageError
from blindai.server import hardening
"""


def run(program: str, *prefix: str) -> subprocess.CompletedProcess[str]:
    """Run a program that has `hardening` imported already; `prefix` goes before it."""
    return subprocess.run(
        [*prefix, sys.executable, "-c", BEGIN + textwrap.dedent(program)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def result(program: str, *prefix: str):
    """What the program printed as JSON."""
    done = run(program, *prefix)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_hardened_process():
    """The kernel itself says that there are no cores, no dumps and no new privileges."""
    before, warnings, after = result(f"""
        before = dict(hardening.state())
        warnings = hardening.harden(False, swaps={SWAPS!r})
        print(json.dumps([before, warnings, dict(hardening.state())]))
    """)
    assert before["dumpable"] == 1
    assert warnings == []
    assert {**after, "swap": 0} == {
        "core_limit_bytes": 0,
        "core_hard_limit_bytes": 0,
        "dumpable": 0,
        "no_new_privileges": 1,
        "swap": 0,
        "locked_kib": before["locked_kib"],
    }


def test_the_core_limit_cannot_be_raised_again():
    """The hard limit is zero as well."""
    assert result("""
        hardening.forbid_core_files()
        try:
            resource.setrlimit(resource.RLIMIT_CORE, (1, 1))
        except (ValueError, OSError):
            print("true")
        else:
            print(json.dumps(os.geteuid() == 0))  # CAP_SYS_RESOURCE may do anything
    """)


def test_children_inherit(tmp_path: Path):
    """A fork stays undumpable; a program that is exec'd keeps the limit, not the rest."""
    forked, executed = result("""
        import subprocess
        hardening.harden(True, swaps="")
        reading, writing = os.pipe()
        if os.fork() == 0:
            os.write(writing, json.dumps(dict(hardening.state())).encode())
            os._exit(0)
        os.wait()
        again = "import sys, json; sys.path.insert(0, sys.argv[1]); from blindai.server import hardening; " \\
            "print(json.dumps(dict(hardening.state())))"
        executed = subprocess.check_output([sys.executable, "-c", again, sys.path[0]])
        print(json.dumps([json.loads(os.read(reading, 4096)), json.loads(executed)]))
    """)
    assert (forked["core_hard_limit_bytes"], forked["dumpable"], forked["no_new_privileges"]) == (0, 0, 1)
    assert (executed["core_hard_limit_bytes"], executed["no_new_privileges"]) == (0, 1)


@pytest.mark.skipif(
    Path("/proc/sys/kernel/core_pattern").read_text()[0] in "|/", reason="cores go elsewhere on this machine"
)
@pytest.mark.parametrize("steps", ["", "forbid_core_files", "forbid_dumps_and_debuggers"])
def test_a_crash_leaves_no_core(steps, tmp_path: Path):
    """Either step alone keeps a crash from writing a core file. Without them, this machine writes one."""
    if resource.getrlimit(resource.RLIMIT_CORE)[1] == 0:
        pytest.skip("cores are off for this whole session")
    done = run(f"""
        os.chdir({str(tmp_path)!r})
        resource.setrlimit(resource.RLIMIT_CORE, (resource.getrlimit(resource.RLIMIT_CORE)[1],) * 2)
        if {steps!r}:
            getattr(hardening, {steps!r})()
        os.kill(os.getpid(), signal.SIGABRT)
    """)
    assert done.returncode == -signal.SIGABRT
    assert bool(list(tmp_path.iterdir())) == (not steps)


SNOOP = """
    import ctypes
    if {harden}:
        hardening.harden(True, swaps="")
    reading, writing = os.pipe()
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        # exec'd anew, as an attacker of the same user would be.
        os.set_inheritable(writing, True)
        os.execv("/proc/self/exe", [sys.executable, "-c", {snoop!r}, str(parent), str(writing)])
    os.waitpid(child, 0)
    os.set_blocking(reading, False)
    print(os.read(reading, 4096).decode())
"""
ATTACKER = """
import ctypes, json, os, sys
pid, out = int(sys.argv[1]), int(sys.argv[2])
opened = []
for name in ("mem", "environ", "maps", "fd/0"):
    try:
        with open(f"/proc/{pid}/{name}", "rb"):
            opened.append(name)
    except OSError:
        pass
if ctypes.CDLL(None).ptrace(0x4206, pid, None, None) == 0:  # PTRACE_SEIZE
    opened.append("ptrace")
os.write(out, json.dumps(opened).encode())
"""


@root
@pytest.mark.parametrize("harden", [False, True])
def test_another_process_of_the_same_user_sees_nothing(harden):
    """Without hardening, any program of this user reads the memory; with it, not even the environment."""
    opened = result(SNOOP.format(harden=harden, snoop=ATTACKER), *AS_NOBODY)
    if harden:
        assert opened == []
    else:
        assert "mem" in opened
        assert "environ" in opened


@pytest.mark.parametrize(
    ("text", "swap"),
    [("", False), (SWAPS, False), (SWAPS + "\n", False), (WITH_SWAP, True), (SWAPS + "/dev/zram0 x", True)],
)
def test_what_counts_as_swap(text, swap):
    """Anything that /proc/swaps lists, compressed memory too."""
    assert has_swap(text) is swap


@root
def test_swap_and_no_right_to_lock():
    """Production does not start; simulation starts with one warning, and the other steps are taken."""
    done = run(f"""
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (65536, 65536))
        warnings = hardening.harden(True, swaps={WITH_SWAP!r})
        state = dict(hardening.state())
        try:
            hardening.harden(False, swaps={WITH_SWAP!r})
        except UsageError as exc:
            print(json.dumps([warnings, state, str(exc), exc.hint]))
    """, *AS_NOBODY)  # fmt: skip
    assert done.returncode == 0, done.stderr
    warnings, state, message, hint = json.loads(done.stdout)
    assert warnings == [message]
    assert "swap" in message
    assert "swapoff" in hint
    assert "memlock" in hint.lower()
    assert (state["dumpable"], state["no_new_privileges"], state["locked_kib"]) == (0, 1, 0)


def _may_lock() -> bool:
    text = Path("/proc/self/status").read_text()
    effective = int(next(line.split()[1] for line in text.splitlines() if line.startswith("CapEff")), 16)
    return (
        bool(effective >> 14 & 1) or resource.getrlimit(resource.RLIMIT_MEMLOCK)[1] == resource.RLIM_INFINITY
    )


@pytest.mark.skipif(not _may_lock(), reason="this user may not lock memory")
def test_swap_and_the_right_to_lock():
    """All memory is locked, also what is allocated later; no warning is needed."""
    warnings, locked, grown = result(f"""
        warnings = hardening.harden(False, swaps={WITH_SWAP!r})
        locked = hardening.state()["locked_kib"]
        later = bytearray(64 * 2**20)
        print(json.dumps([warnings, locked, hardening.state()["locked_kib"] - locked]))
    """)
    assert warnings == []
    assert locked > 1000
    assert grown >= 64 * 1024


def test_no_swap_locks_nothing():
    """Without swap no memory is locked: it would only cost."""
    assert result(f"hardening.harden(False, swaps={SWAPS!r}); print(hardening.state()['locked_kib'])") == 0


KEYS = """
    import time
    {harden}
    from blindai.channel.keyset import Software
    from blindai.server.keys.identity import new_identity
    identity = new_identity(
        ["localhost"], now=int(time.time()), life_seconds=3600, software=Software("1", "00" * 32),
        settings={{}}, simulated=True,
    )
    print(json.dumps([identity.certificate_pem, hardening.state()["dumpable"], os.geteuid()]))
"""


@root
@pytest.mark.parametrize("prefix", [(), AS_NOBODY], ids=["root", "nobody"])
def test_keys_are_made_in_a_hardened_process(prefix):
    """identity.py reads its key through /proc/self/fd, which belongs to root once dumps are off."""
    pem, dumpable, user = result(KEYS.format(harden='hardening.harden(True, swaps="")'), *prefix)
    assert pem.startswith("-----BEGIN CERTIFICATE-----")
    assert (dumpable, user) == (0, 65534 if prefix else 0)


def test_a_kernel_that_refuses():
    """Where a seccomp filter forbids prctl, production does not start; simulation says what is missing."""
    warnings, message = result("""
        hardening._PR_SET_DUMPABLE = 999999  # no such option: EINVAL, as a filter would answer
        warnings = hardening.harden(True, swaps="")
        try:
            hardening.harden(False, swaps="")
        except UsageError as exc:
            print(json.dumps([warnings, str(exc)]))
    """)
    assert warnings == [message]
    assert "Invalid argument" in message


@root
def test_a_whole_server_of_another_user():
    """Serving works without dumps and without root: TLS, attestation, upload and inference."""
    with running_server(prefix=AS_NOBODY) as server:
        assert "Uid:\t65534\t" in Path(f"/proc/{server.pid}/status").read_text()
        assert Path(f"/proc/{server.pid}/mem").stat().st_uid == 0  # so the kernel marks what is not dumpable
        assert server.request("GET", "/v2/health/ready").status == 200
        assert server.upload("mlp", models.mlp()).status == 201
        assert server.infer("mlp", [tensor("x", "FP32", [1, 4], [0.0] * 4)]).status == 200
