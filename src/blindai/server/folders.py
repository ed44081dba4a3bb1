"""Whether a folder can be used, or made when it is needed. Nothing is made to find out."""

from __future__ import annotations

import os
import stat
from pathlib import Path

_ANY_WRITE = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH


def first_there(folder: Path) -> Path:
    """Return the folder, or the nearest above it that exists, as this user sees it."""
    # `Path.exists` raises for what lies in a folder closed to this user.
    return next(path for path in (folder, *folder.absolute().parents) if os.path.exists(path))  # noqa: PTH110


def can_be_written(folder: Path) -> bool:
    """Return whether this user can make files in a folder that exists."""
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        return False
    # Root may write anywhere, says `access`, and in /proc or /sys nobody can make a file all the same. Such
    # a file system has no room at all, and not even its owner may write; a tmpfs without a bound has no
    # room either, by its own account.
    no_room = os.statvfs(folder).f_blocks == 0
    return not (no_room and not folder.stat().st_mode & _ANY_WRITE)
