"""Files of a machine, any of which may be missing, or closed to this user: then there is nothing to see."""

from __future__ import annotations

import os
from pathlib import Path


def is_there(path: Path) -> bool:
    """Return whether this user sees it. `Path.exists` raises for what lies in a folder closed to the user."""
    return os.path.exists(path)  # noqa: PTH110 - see above


def text(path: Path) -> str:
    """Return what a file says; "" if it does not."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
