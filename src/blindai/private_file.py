"""Files that are this user's alone, and whole at every moment."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path


def replace(path: Path, data: bytes) -> None:
    """Put `data` at `path` in one step, readable by its owner only; OSError leaves what was there.

    A reader of the same moment sees the old file or the new one. Nobody's link is followed.
    """
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:  # an interrupt leaves nothing behind either
        with contextlib.suppress(OSError):
            Path(temporary).unlink()
        raise


def make_folder(folder: Path) -> None:
    """Make a folder and its missing parents for this user alone; `mkdir(parents=True)` would open those."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)
