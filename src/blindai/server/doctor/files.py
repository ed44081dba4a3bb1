"""How many files a server may open, and where it keeps collateral."""

from __future__ import annotations

import resource
from collections.abc import Callable, Mapping
from pathlib import Path

from blindai.errors import UsageError
from blindai.server import folders
from blindai.server.doctor.report import Check, Status
from blindai.server.settings import Settings, load_settings

# Beside connections: listening sockets, models while they load, the store, logs, the event loop.
_OTHER_DESCRIPTORS = 128
_NAME_FOLDER = "[collateral] path names another folder"


def descriptor_limit() -> int:
    """Return how many files this process may have open; -1 is without limit."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def checks(
    environment: Mapping[str, str], *, descriptors: int, cache_folder: Callable[[], Path]
) -> tuple[Check, ...]:
    """Return whether limits and folders fit the settings, which are the environment's and the defaults."""
    wrong: list[Check] = []
    try:
        settings = load_settings(None, environment, {}).settings
    except UsageError as exc:
        settings = Settings()
        wrong.append(Check("settings", Status.FAILED, str(exc), exc.hint))
    return (*wrong, _descriptors(settings, descriptors), _collateral(settings, cache_folder))


def _descriptors(settings: Settings, limit: int) -> Check:
    needed = settings.max_connections + _OTHER_DESCRIPTORS
    of = f"of them {settings.max_connections} are [limits] max_connections"
    if limit == resource.RLIM_INFINITY:
        return Check("open files", Status.OK, "no limit")
    if limit >= needed:
        return Check("open files", Status.OK, f"{limit} may be open, up to {needed} are needed")
    return Check(
        "open files",
        Status.WARNING,
        f"{limit} may be open, up to {needed} are needed; {of}",
        f"ulimit -n {needed}, LimitNOFILE={needed} in a unit, or a smaller max_connections",
    )


def _collateral(settings: Settings, cache_folder: Callable[[], Path]) -> Check:
    name = "collateral folder"
    try:
        folder = Path(settings.collateral_path) if settings.collateral_path else cache_folder()
    except RuntimeError:
        return Check(name, Status.WARNING, "this user has no home folder", _NAME_FOLDER)
    there = folders.first_there(folder)
    if not there.is_dir():
        return Check(name, Status.WARNING, "a file stands where the folder would be", _NAME_FOLDER)
    if not folders.can_be_written(there):
        return Check(
            name,
            Status.WARNING,
            "it cannot be written to: after every start all collateral is fetched anew",
            f"give this user the folder; or {_NAME_FOLDER}",
        )
    return Check(name, Status.OK, "can be written to" if there == folder else "can be made")
