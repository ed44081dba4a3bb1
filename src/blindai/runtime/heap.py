"""Gives freed memory back to the system.

The allocator keeps what a model of gigabytes left behind for the next one: measured with glibc, 330 of 384 MB
stay with the process after the session has gone.
"""

from __future__ import annotations

import ctypes


def trim() -> None:
    """Return the free parts of the heap. Nothing happens where the C library cannot."""
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if malloc_trim is not None:
        malloc_trim(ctypes.c_size_t(0))
