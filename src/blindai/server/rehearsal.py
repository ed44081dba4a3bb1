"""What can be known of the settings without starting: `blindai serve --check-config`.

Nothing is opened for writing, no device is asked for a key and no port is bound; models are not parsed.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from blindai.errors import BlindAIError, UsageError
from blindai.server import environment, folders
from blindai.server.keys.operator import Operator
from blindai.server.published import published_policy
from blindai.server.settings import ModelSettings, Settings
from blindai.server.who_may import known_callers
from blindai.store.keys import open_source


def problems(settings: Settings, variables: Mapping[str, str]) -> tuple[str, ...]:
    """Return what would keep a server with these settings from starting, as far as files and rules show."""
    found = []
    for check in _checks(settings, variables):
        try:
            check()
        except BlindAIError as exc:
            found.append(f"{exc} ({exc.hint})" if exc.hint else str(exc))
    return tuple(found)


def _checks(settings: Settings, variables: Mapping[str, str]) -> Iterator[Callable[[], object]]:
    yield lambda: environment.check(variables, simulation=settings.simulation)
    yield lambda: known_callers(settings, settings.dialled_names())
    yield lambda: published_policy(settings)
    yield lambda: _check_operator(settings)
    yield lambda: _check_collateral(settings)
    yield lambda: _check_store(settings)
    for model in settings.models:
        yield functools.partial(_check_model, settings, model)
    yield lambda: _check_sum(settings)


def _check_operator(settings: Settings) -> None:
    if settings.tls_dir is not None:
        Operator.load(Path(settings.tls_dir), now=int(time.time()))


def _check_collateral(settings: Settings) -> None:
    # What fetches from vendors takes a tenth of a second to import: for this only where it is asked for.
    from blindai.server.evidence.stapling import choose  # noqa: PLC0415

    choose.check(settings)


def _check_store(settings: Settings) -> None:
    if settings.store_key is not None:
        open_source(settings.store_key, simulation=settings.simulation)
        _check_key_folder(settings.store_key)
    if settings.store_path is None:
        return
    folder = Path(settings.store_path)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"[store] path is not a folder: {folder}")
    # The store makes its own folder, not those above it.
    needed = folder if folder.exists() else folder.parent
    if not needed.is_dir():
        raise UsageError(f"[store] path: there is no folder {needed}")
    if not folders.can_be_written(needed):
        raise UsageError(f"[store] path: {needed} cannot be written to")


def _check_key_folder(key: str) -> None:
    """A key in a file, sealed or in clear, is made on first use; the folder of that file is not."""
    path = key.partition(":")[2]
    if path and not (folder := Path(path).parent).is_dir():
        raise UsageError(f"[store] key: there is no folder {folder}", hint="make it first, or mend the path")


def _check_model(settings: Settings, model: ModelSettings) -> None:
    if _size(model) > settings.max_model_bytes:
        raise UsageError(f"{model.path} is over the limit of {settings.max_model_bytes} bytes")


def _check_sum(settings: Settings) -> None:
    if len(settings.models) > settings.max_models:
        raise UsageError(f"{len(settings.models)} models are over the limit of {settings.max_models}")
    try:
        total = sum(_size(model) for model in settings.models)
    except UsageError:
        return  # said already, of that model
    if total > settings.max_total_model_bytes:
        raise UsageError(
            f"the models have {total} bytes together, over the limit of {settings.max_total_model_bytes}"
        )


def _size(model: ModelSettings) -> int:
    path = Path(model.path)
    try:
        if not path.is_file():
            raise UsageError(f"there is no file {path}")
        with path.open("rb") as file:
            return os.fstat(file.fileno()).st_size
    except OSError as exc:
        raise UsageError(f"{path} cannot be read: {exc.strerror}") from exc
