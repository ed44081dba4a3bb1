"""What `[collateral]` says of all services: where answers are kept, whom TLS trusts, how long it may take."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from blindai.attestation.trust import Trust
from blindai.attestation.types import Evidence
from blindai.errors import BlindAIError, UnreachableError, UsageError
from blindai.server import folders
from blindai.server.evidence.stapling.judgement import judged
from blindai.server.evidence.stapling.source import Gathered
from blindai.server.settings import Settings
from blindai.transport.collateral.adoption import Job, Judged, Keeping, gather
from blindai.transport.collateral.cache import default_folder
from blindai.transport.collateral.shelf import Shelf
from blindai.transport.collateral.source import Limits, trusted_by

_log = logging.getLogger("blindai.server")


def keeping(settings: Settings) -> Keeping:
    """Return the settings that every vendor's services share."""
    limits = Limits(timeout_seconds=settings.collateral_timeout_seconds)
    return Keeping(_folder(settings), settings.collateral_tls_ca, limits)


class Gatherer:
    """Gathers one vendor's collateral, and adopts what `trust` and the verifier say is genuine."""

    def __init__(self, vendor: str, keeping: Keeping, trust: Trust) -> None:
        self._vendor = vendor
        self._keeping = keeping
        self._trust = trust
        self._shelf = Shelf(keeping.folder, warn=_log.warning)

    def gather(self, job: Job, sample: Evidence, *, now: int, anew: bool) -> Gathered:
        """Return what a job gathers for evidence like `sample`. Blocks."""

        def judge(members: Mapping[str, str]) -> Judged:
            return judged(sample, {self._vendor: dict(members)}, trust=self._trust, now=now)

        try:
            found = gather(job, self._keeping, self._shelf, judge=judge, now=now, anew=anew, say=_log.debug)
        except (UnreachableError, UsageError) as exc:
            # Without the hint: it is about the options of a command, and this is a server.
            raise type(exc)(str(exc)) from exc
        return Gathered({self._vendor: dict(found.members)}, found.until, found.problems)


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
    there = folders.first_there(folder)
    if not there.is_dir():
        raise UsageError(f"[collateral] path is not a folder: {there}")
    if not folders.can_be_written(there):
        raise UsageError(f"[collateral] path: {there} cannot be written to")
