"""Who may reach a file with a secret in it: this user alone, for both its bytes and its place."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from shlex import quote

from blindai.errors import UsageError


def check(path: Path, status: os.stat_result) -> None:
    """Refuse a secret that other users can read or replace; root's may be shared with a group of this user.

    Devices and pipes pass: what comes out of them is not what lies in a folder.
    """
    if not stat.S_ISREG(status.st_mode):
        return
    by_root = status.st_uid == 0 and os.geteuid() != 0
    if status.st_uid != os.geteuid() and not by_root:
        raise UsageError(f"{path} belongs to another user", hint=f"chown {os.geteuid()} {quote(str(path))}")
    if status.st_mode & (0o037 if by_root else 0o077):
        mode = "640" if by_root else "600"
        raise UsageError(f"{path} is open to other users", hint=f"chmod {mode} {quote(str(path))}")
