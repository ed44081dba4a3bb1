"""Opens the sealed store that the settings name, under the sealing key that they name."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from blindai import private_file
from blindai.errors import StoreError, StoreFault
from blindai.server.settings import Settings
from blindai.store.folder import Folder
from blindai.store.keys import open_source
from blindai.store.store import Store

MEMORY = "memory"
_PASSING = "passing-"  # folders of stores whose key ends with their process


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
        yield closing.enter_context(Store.open(path, source.sealing_key())), source.name


@contextlib.contextmanager
def _passing(path: Path) -> Iterator[Path]:
    """Make a folder that ends with the server, beside those of servers that were killed: these go first.

    Nobody can open them any more: their keys are gone.
    """
    try:
        private_file.make_folder(path)
        for old in path.glob(f"{_PASSING}*"):
            with contextlib.suppress(StoreError):  # one that another server uses stays
                locked = Folder.open(old)
                shutil.rmtree(old, ignore_errors=True)
                locked.close()
        folder = Path(tempfile.mkdtemp(prefix=_PASSING, dir=path))
    except OSError as exc:
        raise StoreError(
            StoreFault.UNAVAILABLE, f"the folder of the store cannot be used: {exc.strerror}"
        ) from exc
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
