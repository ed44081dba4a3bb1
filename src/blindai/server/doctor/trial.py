"""Takes every step that locks a process down, in a process made for it, and prints which of them held.

Run as a script, by itself: nothing of this package is imported. One JSON line for each step, so that what was
found before a filter around us ends the process is not lost: [name, a number if it worked, or why not].
"""

from __future__ import annotations

import ctypes
import errno
import json
import mmap
import os
import resource
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS, _PR_GET_NO_NEW_PRIVS = 4, 38, 39
_SECCOMP = {"x86_64": 317, "aarch64": 277}
_SECCOMP_SET_MODE_FILTER, _SECCOMP_FILTER_FLAG_TSYNC = 1, 1
_BPF_RET, _SECCOMP_RET_ALLOW = 6, 0x7FFF0000
# The same number on every architecture.
_LANDLOCK_CREATE_RULESET, _LANDLOCK_RESTRICT_SELF, _MEMFD_SECRET = 444, 446, 447
_LANDLOCK_CREATE_RULESET_VERSION = 1
_LANDLOCK_ACCESS_FS_READ_FILE = 1 << 2
_CLONE_NEWUSER = 0x10000000
_PAGE = 4096

_libc = ctypes.CDLL(None, use_errno=True)


def user_namespace() -> int:
    """In a grandchild: whoever is in a new user namespace is another user."""
    child = os.fork()
    if child == 0:
        os._exit(0 if _libc.unshare(_CLONE_NEWUSER) == 0 else ctypes.get_errno() & 0xFF)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code != 0:
        raise OSError(code if code > 0 else errno.EPERM, "")
    return 1


def no_new_privileges() -> int:
    """Set it, and ask the kernel whether it holds."""
    _checked(_libc.prctl(_PR_SET_NO_NEW_PRIVS, *_longs(1, 0, 0, 0)))
    return _checked(_libc.prctl(_PR_GET_NO_NEW_PRIVS, *_longs(0, 0, 0, 0)))


def seccomp() -> int:
    """Load a filter that allows everything, and see that a thread started before has it too."""
    program = struct.pack("=HBBI", _BPF_RET, 0, 0, _SECCOMP_RET_ALLOW)
    if os.uname().machine not in _SECCOMP:
        raise OSError(errno.ENOSYS, "")
    held = ctypes.create_string_buffer(program, len(program))
    filtering = ctypes.create_string_buffer(struct.pack("@HP", 1, ctypes.addressof(held)))
    with _another_thread():
        before = _filters()
        _syscall(
            _SECCOMP[os.uname().machine],
            _SECCOMP_SET_MODE_FILTER,
            _SECCOMP_FILTER_FLAG_TSYNC,
            ctypes.addressof(filtering),
        )
        after = _filters()
    # A container's filter is there already: each thread has to have one more.
    if after != [filters + 1 for filters in before]:
        raise OSError(errno.EOPNOTSUPP, "")
    return 1


def landlock() -> int:
    """Forbid ourselves to read files, see that this one cannot be read any more; return the ABI."""
    abi = _syscall(_LANDLOCK_CREATE_RULESET, 0, 0, _LANDLOCK_CREATE_RULESET_VERSION)
    rules = ctypes.create_string_buffer(struct.pack("=Q", _LANDLOCK_ACCESS_FS_READ_FILE), 8)
    ruleset = _syscall(_LANDLOCK_CREATE_RULESET, ctypes.addressof(rules), 8, 0)
    _syscall(_LANDLOCK_RESTRICT_SELF, ruleset, 0, 0)
    try:
        os.close(os.open(sys.argv[0], os.O_RDONLY))
    except PermissionError:
        return abi
    raise OSError(errno.EOPNOTSUPP, "")


def memfd_secret() -> int:
    """Make a page that not even the kernel maps, and write to it."""
    descriptor = _syscall(_MEMFD_SECRET, 0, 0, 0)
    os.ftruncate(descriptor, _PAGE)
    with mmap.mmap(descriptor, _PAGE) as page:
        page[:1] = b"x"
    os.close(descriptor)
    return 1


def core_limit() -> int:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    return 1


def undumpable() -> int:
    _checked(_libc.prctl(_PR_SET_DUMPABLE, *_longs(0, 0, 0, 0)))
    return 1


# Each may take something from those after it: the grandchild needs a process with one thread, Landlock and
# seccomp need no_new_privs, and after Landlock nothing is read.
STEPS: tuple[Callable[[], int], ...] = (
    user_namespace,
    no_new_privileges,
    seccomp,
    memfd_secret,
    core_limit,
    landlock,
    undumpable,
)


def main() -> None:
    for step in STEPS:
        result: int | str
        try:
            result = step()
        except OSError as exc:
            result = os.strerror(exc.errno or errno.EIO)
        sys.stdout.write(json.dumps([step.__name__, result]) + "\n")
        sys.stdout.flush()


@contextmanager
def _another_thread() -> Iterator[None]:
    end = threading.Event()
    thread = threading.Thread(target=end.wait)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()


def _filters() -> list[int]:
    """Return how many filters each thread of this process has; before Linux 5.9 that is not told."""
    found = []
    for thread in sorted(Path("/proc/self/task").iterdir()):
        lines = (thread / "status").read_text().splitlines()
        status = dict(line.partition(":")[::2] for line in lines)
        found.append(int(status.get("Seccomp_filters") or int(status["Seccomp"]) // 2))
    return found


def _syscall(number: int, *arguments: int) -> int:
    return _checked(_libc.syscall(*_longs(number, *arguments)))


def _longs(*values: int) -> list[ctypes.c_ulong]:
    """Varargs are read as longs; what ctypes passes unasked is an int."""
    return [ctypes.c_ulong(value) for value in values]


def _checked(result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), "")
    return result


if __name__ == "__main__":
    main()
