"""A key in a file, for simulation: it survives restarts, and protects from nobody who reads that file."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path

from blindai.errors import UsageError
from blindai.store.keys import kept
from blindai.store.keys.source import KEY_BYTES


@dataclass(frozen=True)
class FileKey:
    """32 random bytes at `path`, made on first use."""

    path: Path
    name = "file"
    persistent = True

    def sealing_key(self) -> bytes:
        key = kept.read(self.path, KEY_BYTES)
        if key is None:
            kept.make(self.path, secrets.token_bytes(KEY_BYTES))
            key = kept.read(self.path, KEY_BYTES)  # what is there now: another process may have been first
        if key is None or len(key) != KEY_BYTES:
            raise UsageError(
                f"{self.path} is not a sealing key: it has to have {KEY_BYTES} bytes",
                hint="name another file",
            )
        if not any(key):  # what some file systems leave behind after a power cut
            raise UsageError(f"{self.path} holds zeros, not a sealing key", hint="name another file")
        return key
