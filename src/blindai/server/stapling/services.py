"""What `[collateral]` says of all services: where answers are kept, whom TLS trusts, how long it may take."""

from __future__ import annotations

import logging
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

from blindai.errors import BlindAIError, UnreachableError, UsageError
from blindai.server.settings import Settings
from blindai.server.stapling.source import Gathered
from blindai.transport.collateral.cache import default_folder
from blindai.transport.collateral.fallback import FallbackCollector, Keeping, gather
from blindai.transport.collateral.source import Limits, trusted_by

_log = logging.getLogger("blindai.server")


def keeping(settings: Settings) -> Keeping:
    """Return the settings that every vendor's services share."""
    limits = Limits(timeout_seconds=settings.collateral_timeout_seconds)
    return Keeping(_folder(settings), settings.collateral_tls_ca, limits)


def gathered(
    vendor: str,
    job: Callable[[FallbackCollector], Awaitable[dict[str, str]]],
    keeping: Keeping,
    *,
    now: int,
    anew: bool,
) -> Gathered:
    """Return what a job gathers, as the collateral of one vendor. Blocks."""
    try:
        found = gather(job, keeping, now=now, anew=anew, say=_log.debug, warn=_log.warning)
    except (UnreachableError, UsageError) as exc:
        # Without the hint: it is about the options of a command, and this is a server.
        raise type(exc)(str(exc)) from exc
    return Gathered({vendor: dict(found.members)}, found.until, found.problems)


def check(settings: Settings) -> None:
    """Raise UsageError for settings that cannot work."""
    folder = _folder(settings)
    if settings.collateral_path is not None and folder is not None:
        _check_folder(folder)
    try:
        trusted_by(settings.collateral_tls_ca)
    except BlindAIError as exc:
        raise UsageError(f"[collateral] tls_ca: {exc}") from exc


def _folder(settings: Settings) -> Path | None:
    if settings.collateral_path is not None:
        return Path(settings.collateral_path)
    try:
        return default_folder()
    except RuntimeError:
        return None  # a user without a home: after a restart everything is fetched again


def _check_folder(folder: Path) -> None:
    existing = folder
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if not existing.is_dir():
        raise UsageError(f"[collateral] path is not a folder: {existing}")
    if not os.access(existing, os.R_OK | os.W_OK | os.X_OK):
        raise UsageError(f"[collateral] path: {existing} cannot be written to")
