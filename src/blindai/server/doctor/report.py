"""What an examination found, for people and for programs. It names no chip, no host and no user."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

VERSION = 1


class Status(StrEnum):
    """What a finding means for a server on hardware."""

    OK = "ok"
    WARNING = "warning"  # it starts, with less than it could have
    MISSING = "missing"  # not here; whether a server needs it, another check says
    FAILED = "failed"  # it does not start


@dataclass(frozen=True)
class Check:
    """One thing that was looked at: `found` is what it was, `hint` what to do about it."""

    name: str
    status: Status
    found: str
    hint: str = ""


@dataclass(frozen=True)
class Section:
    """The checks of one concern. `name` is its key in JSON."""

    name: str
    checks: tuple[Check, ...]


@dataclass(frozen=True)
class Report:
    """Everything that was looked at. `tee` and `interface` are of the TEE that works, "" if none does."""

    sections: tuple[Section, ...]
    tee: str
    interface: str

    @property
    def ready(self) -> bool:
        """Whether a server could start here on hardware, as far as can be known before it does."""
        return bool(self.interface) and not self.failed

    @property
    def failed(self) -> tuple[Check, ...]:
        return tuple(check for check in self._checks() if check.status is Status.FAILED)

    def summary(self) -> str:
        """Return one line: can a server start here?"""
        if not self.interface:
            return "not ready: no TEE works here, so a server starts with --simulation only"
        if self.failed:
            return f"not ready: {', '.join(check.name for check in self.failed)}"
        return f"ready: a server can start here, in {self.tee} through {self.interface}"

    def to_json(self) -> dict[str, Any]:
        """Return it for programs. The keys are stable; checks are added, and none changes its name."""
        return {
            "version": VERSION,
            "ready": self.ready,
            "tee": self.tee or None,
            "interface": self.interface or None,
            "sections": {
                section.name: [dataclasses.asdict(check) for check in section.checks]
                for section in self.sections
            },
        }

    def _checks(self) -> Iterator[Check]:
        for section in self.sections:
            yield from section.checks
