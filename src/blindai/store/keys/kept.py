"""A small file that is made once, and then either read as it was made or refused."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

from blindai import private_file
from blindai.errors import StoreError, StoreFault, UsageError


def read(path: Path, max_bytes: int) -> bytes | None:
    """Return what lies at `path`, at most one byte more than `max_bytes`; None if there is no file.

    UsageError unless it is a plain file that nobody else can read or write.
    """
    try:
        # No link is followed, and a pipe in its place does not keep the server waiting.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as exc:
        if path.is_symlink():
            raise UsageError(f"{path} is a link: whoever made it chooses the key", hint=_MOVE) from exc
        raise StoreError(StoreFault.UNAVAILABLE, f"{path} cannot be read: {exc.strerror}") from exc
    try:
        _check(path, os.fstat(descriptor))
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(max_bytes + 1)
    except OSError as exc:
        raise StoreError(StoreFault.UNAVAILABLE, f"{path} cannot be read: {exc.strerror}") from exc
    finally:
        os.close(descriptor)


def make(path: Path, data: bytes) -> bool:
    """Put `data` at `path` for good, or return False if another process was first.

    Never a replacement: two servers that start at one moment must end up with one key, not with one each.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        private_file.replace(draft, data)
        os.link(draft, path, follow_symlinks=False)
        _sync(path.parent)  # a key that a power cut can take away takes every model with it
    except FileExistsError:
        return False
    except OSError as exc:
        if exc.errno == errno.ENOENT:
            raise UsageError(
                f"there is no folder {path.parent}", hint="make it first, or mend the path"
            ) from exc
        fault = StoreFault.FULL if exc.errno in _FULL else StoreFault.UNAVAILABLE
        raise StoreError(fault, f"{path} cannot be made: {exc.strerror}") from exc
    finally:
        with suppress(OSError):
            draft.unlink()
    return True


_MOVE = "name the file itself, in a folder that only the server's user can write"
_FULL = (errno.ENOSPC, errno.EDQUOT)


def _check(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise UsageError(f"{path} is not a plain file", hint=_MOVE)
    if status.st_uid != os.geteuid():
        raise UsageError(
            f"{path} belongs to another user, who can read it", hint=f"chown it to uid {os.geteuid()}"
        )
    if status.st_mode & 0o077:
        raise UsageError(f"{path} is open to other users", hint=f"chmod 600 {path}")


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
