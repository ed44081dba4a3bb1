"""What a process does to itself before it makes keys: its memory reaches no disk and no debugger.

Each step is the kernel's, is inherited or not as its comment says, and cannot be undone. Against the host of
a machine without a TEE nothing here helps: it reads memory anyway.
"""

from __future__ import annotations

import ctypes
import os
import resource
import struct
from collections.abc import Callable, Mapping
from pathlib import Path

from blindai.errors import UsageError

_PR_GET_DUMPABLE, _PR_SET_DUMPABLE = 3, 4
_PR_SET_NO_NEW_PRIVS, _PR_GET_NO_NEW_PRIVS = 38, 39
_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4
_BPF_RET, _SECCOMP_RET_ALLOW = 6, 0x7FFF0000
_SWAPS = Path("/proc/swaps")


def harden(simulation: bool, *, swaps: str | None = None) -> tuple[str, ...]:
    """Take every step; return a warning for each that failed where it may fail.

    `swaps` stands for the text of /proc/swaps. UsageError if a step fails outside simulation.
    """
    listed = _read(_SWAPS) if swaps is None else swaps
    steps: tuple[Callable[[], None], ...] = (
        forbid_core_files,
        forbid_dumps_and_debuggers,
        forbid_new_privileges,
        lambda: keep_out_of_swap(listed),
    )
    return tuple(
        warning for step in steps if (warning := _attempt(step, may_fail=simulation or _in_enclave()))
    )


def forbid_core_files() -> None:
    """RLIMIT_CORE 0, soft and hard: no core file. Children inherit it.

    Where core_pattern is a pipe, the kernel ignores this limit (core(5); it looks at it only for the value 1)
    and hands the memory to the handler: what prevents that is the next step.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def forbid_dumps_and_debuggers() -> None:
    """PR_SET_DUMPABLE 0: the kernel writes no core, neither to a file nor to a pipe, whatever the limit says.

    It also refuses ptrace, /proc/PID/mem, /proc/PID/environ and the like to other processes of this user;
    only CAP_SYS_PTRACE passes. fork inherits it; exec sets it back to 1: a worker that is exec'd has to take
    this step itself.
    """
    _prctl(_PR_SET_DUMPABLE, 0)


def forbid_new_privileges() -> None:
    """PR_SET_NO_NEW_PRIVS: no set-uid program that this process, or a child, starts gains anything.

    It holds for this thread and those it starts from now on, and no thread can take it back. Threads that
    libraries started when they were imported, as OpenBLAS does, get it along with a seccomp filter.
    """
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _share_with_all_threads()


class _Program(ctypes.Structure):
    """struct sock_fprog of linux/filter.h."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def _share_with_all_threads() -> None:
    """Load a filter that allows everything, for all threads: seccomp(2), SECCOMP_FILTER_FLAG_TSYNC."""
    allow = struct.pack("=HBBI", _BPF_RET, 0, 0, _SECCOMP_RET_ALLOW)
    program = _Program(1, allow)
    libc = ctypes.CDLL(None, use_errno=True)
    number = {"x86_64": 317, "aarch64": 277}.get(os.uname().machine)
    if number is not None:
        libc.syscall(ctypes.c_long(number), ctypes.c_ulong(1), ctypes.c_ulong(1), ctypes.byref(program))


def keep_out_of_swap(swaps: str) -> None:
    """Lock all memory, now and later, if the machine has swap; UsageError if that fails.

    A page in swap is on a disk, and stays there. zram and encrypted swap are not told apart: what encrypts
    them is in the hands of whoever set up the machine. fork and exec do not inherit the lock.
    """
    if has_swap(swaps) and not _lock_memory():
        raise UsageError(
            "this machine has swap, and memory cannot be locked: keys and inputs may be written to its disk",
            hint="turn swap off (swapoff -a), or allow locking: ulimit -l unlimited, LimitMEMLOCK=infinity "
            "in a unit, or CAP_IPC_LOCK",
        )


def has_swap(swaps: str) -> bool:
    """Return whether /proc/swaps lists anything below its heading."""
    return any(line.strip() for line in swaps.splitlines()[1:])


def state() -> Mapping[str, int]:
    """Return what the kernel says of this process now: for `doctor`, and for tests."""
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    return {
        "core_limit_bytes": soft,
        "core_hard_limit_bytes": hard,
        "dumpable": _prctl(_PR_GET_DUMPABLE),
        "no_new_privileges": _prctl(_PR_GET_NO_NEW_PRIVS),
        "swap": int(has_swap(_read(_SWAPS))),
        "locked_kib": int(_status("VmLck", "0 kB").split()[0]),
    }


def _attempt(step: Callable[[], None], *, may_fail: bool) -> str:
    """Take a step; return why it failed, or an empty text."""
    try:
        step()
    except UsageError as exc:
        if not may_fail:
            raise
        return str(exc)
    return ""


def _in_enclave() -> bool:
    """Return whether Gramine is the kernel: it has few of these calls, and an SGX enclave needs none.

    The processor encrypts an enclave's memory also where it is dumped, debugged or swapped out.
    """
    return Path("/dev/attestation/user_report_data").exists()


def _lock_memory() -> bool:
    """Lock what is mapped and what will be. Needs CAP_IPC_LOCK or RLIMIT_MEMLOCK without end.

    With a finite limit MCL_FUTURE would succeed now, and make some later allocation fail in the middle of a
    request: that is a failure here. Pages are locked as they are touched, so that a thread's stack of 8 MiB
    costs what it uses.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if soft != resource.RLIM_INFINITY and hard == resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (hard, hard))
    elif soft != resource.RLIM_INFINITY and not _may_lock_without_limit():
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    return int(libc.mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT)) == 0


_CAP_IPC_LOCK = 14


def _may_lock_without_limit() -> bool:
    """Return whether this process has CAP_IPC_LOCK in effect, to which RLIMIT_MEMLOCK does not apply."""
    return bool(int(_status("CapEff", "0"), 16) >> _CAP_IPC_LOCK & 1)


def _status(key: str, absent: str) -> str:
    """Return a value of /proc/self/status."""
    for line in _read(Path("/proc/self/status")).splitlines():
        name, _, value = line.partition(":")
        if name == key:
            return value.strip()
    return absent


def _read(path: Path) -> str:
    """Return the text of a file of /proc; empty where the kernel was built without it."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""


def _prctl(option: int, argument: int = 0) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    # Varargs: every argument is an unsigned long, and the kernel refuses unused ones that are not zero.
    result = int(libc.prctl(option, *(ctypes.c_ulong(value) for value in (argument, 0, 0, 0))))
    if result < 0:
        number = ctypes.get_errno()
        raise UsageError(
            f"the kernel refuses prctl({option}): {os.strerror(number)}",
            hint="a seccomp filter around the server has to allow prctl",
        )
    return result
