"""What a server that serves really is, to the kernel and to other programs of its user."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from blindai.server.hardening import has_swap
from tests.server.test_hardening import AS_NOBODY, _can_be_nobody
from tests.serving import RunningServer, running_server

# Root reads everything; what counts is another program of the server's own user.
AS_USER = AS_NOBODY if os.geteuid() == 0 else ()
ATTACK = """
import ctypes, json, sys
pid, found = int(sys.argv[1]), []
for name in ("mem", "environ", "maps", "smaps", "stack", "syscall", "auxv", "fd/0", "map_files", "cwd/."):
    try:
        with open(f"/proc/{pid}/{name}", "rb"):
            found.append(name)
    except IsADirectoryError:
        found.append(name)
    except OSError:
        pass
libc = ctypes.CDLL(None)
for request in (0x4206, 16):  # PTRACE_SEIZE, PTRACE_ATTACH
    if libc.ptrace(request, pid, None, None) == 0:
        found.append("ptrace")
buffer = ctypes.create_string_buffer(8)
vector = (ctypes.c_void_p * 2)(ctypes.addressof(buffer), 8)
there = (ctypes.c_void_p * 2)(int(sys.argv[2]), 8)
if libc.process_vm_readv(pid, vector, 1, there, 1, 0) == 8:
    found.append("process_vm_readv")
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    if os.geteuid() == 0 and not _can_be_nobody():
        pytest.skip("root sees everything, and cannot become another here")
    with running_server(prefix=AS_USER) as running:
        yield running


def attacked(pid: int, address: int) -> list[str]:
    """What another program of the same user reaches in a process."""
    command = [*AS_USER, sys.executable, "-c", ATTACK, str(pid), str(address)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    found: list[str] = json.loads(done.stdout)
    return found


def mapped_address(pid: int) -> int:
    """An address that can be read there, as only root can find out of a hardened process."""
    if os.geteuid() != 0:
        return 0x400000
    return int(Path(f"/proc/{pid}/maps").read_text().partition("-")[0], 16)


def status(server: RunningServer) -> dict[str, str]:
    lines = Path(f"/proc/{server.pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def test_another_program_of_the_same_user_reaches_nothing(server: RunningServer):
    """Neither memory nor environment nor files: not by /proc, not by ptrace, not by process_vm_readv."""
    assert attacked(server.pid, mapped_address(server.pid)) == []


def test_the_attack_works_on_others():
    """It is not blind: a program that is not hardened is open to all of it."""
    if os.geteuid() == 0 and not _can_be_nobody():
        pytest.skip("root sees everything, and cannot become another here")
    sleep = shutil.which("sleep")
    assert sleep is not None
    with subprocess.Popen([*AS_USER, sleep, "60"]) as victim:
        try:
            while b"sleep" not in Path(f"/proc/{victim.pid}/cmdline").read_bytes().split(b"\0")[0]:
                pass
            found = attacked(victim.pid, mapped_address(victim.pid))
        finally:
            victim.kill()
    assert {"environ", "maps"} <= set(found)
    assert ("mem" in found) or Path("/proc/sys/kernel/yama/ptrace_scope").exists()


def test_no_core_no_dump_no_privileges(server: RunningServer):
    """The limits that the kernel holds this process to, and whose it is to look at."""
    limits = Path(f"/proc/{server.pid}/limits").read_text()
    (core,) = [line.split() for line in limits.splitlines() if line.startswith("Max core file size")]
    assert core[4:6] == ["0", "0"]
    assert Path(f"/proc/{server.pid}/mem").stat().st_uid == 0  # the kernel's mark of what is not dumpable
    for thread in Path(f"/proc/{server.pid}/task").iterdir():
        assert "\nNoNewPrivs:\t1\n" in (thread / "status").read_text()


def test_nothing_is_swapped(server: RunningServer):
    """Where there is swap, memory is locked, or the server says that it could not be."""
    said = status(server)
    if not has_swap(Path("/proc/swaps").read_text()):
        assert said["VmSwap"] == "0 kB"
    else:
        assert said["VmLck"] != "0 kB" or "swap" in server.log.read_text()
