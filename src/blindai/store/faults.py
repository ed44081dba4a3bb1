"""The one place where what an operating system says of a disk becomes a StoreError."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from blindai.errors import StoreError, StoreFault

_FAULTS = {
    errno.ENOSPC: StoreFault.FULL,
    errno.EDQUOT: StoreFault.FULL,
    errno.EFBIG: StoreFault.FULL,  # a limit on the size of a file, set on the process
    errno.EROFS: StoreFault.READ_ONLY,
    errno.EACCES: StoreFault.READ_ONLY,
    errno.EPERM: StoreFault.READ_ONLY,
    errno.ENOENT: StoreFault.MISSING,
    errno.ELOOP: StoreFault.MALFORMED,  # a symbolic link in the place of a file of ours: never followed
}
_HINTS = {
    StoreFault.FULL: "free some space on the store's disk; what was stored before is unchanged",
    StoreFault.READ_ONLY: "let the server's user write to the store's folder",
    StoreFault.MISSING: "restore the file from a backup",
    StoreFault.MALFORMED: "the store holds plain files only; look who put something else there",
    StoreFault.UNAVAILABLE: "look at the disk and at the system's log",
}


@contextmanager
def translated(action: str, name: str) -> Iterator[None]:
    """Raise StoreError for an OSError of the block: "cannot `action` `name`"."""
    try:
        yield
    except OSError as exc:
        fault = _FAULTS.get(exc.errno or 0, StoreFault.UNAVAILABLE)
        raise StoreError(fault, f"cannot {action} {name}: {exc.strerror}", hint=_HINTS[fault]) from exc
