"""Opens the sealed store that the settings name, under the sealing key that they name."""

from __future__ import annotations

import contextlib
import logging
import re
import secrets
from collections.abc import Iterator
from pathlib import Path

from blindai import private_file
from blindai.errors import StoreError, StoreFault, UsageError
from blindai.server.settings import Settings
from blindai.store import catalogue, inspection
from blindai.store.folder import Folder
from blindai.store.keys import KeySource, open_source
from blindai.store.store import Store

MEMORY = "memory"
_log = logging.getLogger("blindai.server")
_PASSING = "passing-"  # folders of stores whose key ends with their process
_OURS = re.compile(f"{_PASSING}[0-9a-f]{{32}}")


@contextlib.contextmanager
def opened_store(settings: Settings) -> Iterator[tuple[Store | None, str]]:
    """Open the store, if there is one, and say what the keyset says of sealing. UsageError, StoreError."""
    if settings.store_path is None or settings.store_key is None:  # the settings have both or no path
        yield None, MEMORY
        return
    source = open_source(settings.store_key, simulation=settings.simulation)
    path = Path(settings.store_path)
    with contextlib.ExitStack() as closing:
        if not source.persistent:
            path = closing.enter_context(_passing(path))
        key = _key(settings.store_key, source, path)
        yield closing.enter_context(Store.open(path, key)), source.name


def _key(text: str, source: KeySource, path: Path) -> bytes:
    """Return the sealing key. One in a file is made for a new store only: a slip in the path would make one
    that opens nothing."""
    word, _, file = text.partition(":")
    missing = word == "file" and not Path(file).exists()
    if missing and (path / catalogue.NAME).exists():
        raise UsageError(
            f"there is no key at {file}, and the store {path} was sealed under one",
            hint="mend [store] key; a new key is made for a new store only",
        )
    key = source.sealing_key()
    if missing:
        _log.warning("made a new sealing key, %s: keep a copy; without it the store is lost", file)
    return key


@contextlib.contextmanager
def _passing(path: Path) -> Iterator[Path]:
    """Make a folder that ends with the server, beside those of servers that were killed: these go first.

    Nobody can open them any more: their keys are gone.
    """
    try:
        private_file.make_folder(path)
        for old in path.iterdir():
            if _OURS.fullmatch(old.name) and not old.is_symlink():
                _remove(old)
        folder = path / f"{_PASSING}{secrets.token_hex(16)}"
        folder.mkdir(mode=0o700)
    except OSError as exc:
        raise StoreError(
            StoreFault.UNAVAILABLE, f"the folder of the store cannot be used: {exc.strerror}"
        ) from exc
    try:
        yield folder
    finally:
        _remove(folder)


def _remove(folder: Path) -> None:
    """Remove a passing store that nobody uses. Whatever else lies in the folder stays, and the folder too."""
    with contextlib.suppress(StoreError, OSError):
        opened = Folder.open(folder)
        try:
            for name in opened.names():
                if inspection.is_ours(name):
                    opened.unlink(name)
        finally:
            opened.close()
        folder.rmdir()
