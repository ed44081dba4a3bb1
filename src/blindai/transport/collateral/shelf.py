"""What a server falls back on: what it has verified in this run, and below that what lies on the disk.

The disk is shared and may be missing, set back or written by others: what is read there is as untrusted as
the network's, until all of it together has been verified with the machine's own evidence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from pathlib import Path

from blindai.transport.collateral.cache import Cache
from blindai.transport.collateral.piece import Answer


@dataclass(frozen=True)
class Fetched:
    """What a job gathered, when the first piece of it ends (None: never), and what went wrong on the way."""

    members: Mapping[str, str]
    until: int | None
    problems: tuple[str, ...]


class Shelf:
    """Answers by the name of their request. One for each source, for as long as the server runs."""

    def __init__(self, folder: Path | None, *, warn: Callable[[str], None]) -> None:
        self.cache = None if folder is None else Cache(folder, say=warn)
        self.adopted: Fetched | None = None  # the last that was verified, whole
        self._answers: Mapping[str, Answer] = {}

    def read(self, name: str, *, now: int) -> Answer | None:
        """Return what was verified, or else what lies on the disk. None if there is nothing."""
        if name in self._answers:
            return self._answers[name]
        return None if self.cache is None else self.cache.read(name, now=now)

    def damaged(self) -> None:
        """Say that a kept answer is of no use."""
        if self.cache is not None:
            self.cache.damaged()

    def adopt(self, fetched: Fetched, answers: Mapping[str, Answer], fresh: Set[str]) -> None:
        """Take what was verified in place of what was before; those named in `fresh` are new to the disk."""
        self.adopted, self._answers = fetched, dict(answers)
        if self.cache is None:
            return
        for name in fresh:
            self.cache.write(name, answers[name])
