"""A key that dies with the process: the store survives no restart, and no disk ever holds its key."""

from __future__ import annotations

import secrets

from blindai.store.keys.source import KEY_BYTES


class MemoryKey:
    """One random key for the life of this object."""

    name = "memory"
    persistent = False

    def __init__(self) -> None:
        self._key = secrets.token_bytes(KEY_BYTES)

    def sealing_key(self) -> bytes:
        return self._key
