"""What one interface to a TEE turned out to be when it was tried."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Presence(StrEnum):
    """Whether evidence can be asked for through an interface."""

    WORKS = "works"  # it answered
    BROKEN = "broken"  # it is there, and does not answer
    ABSENT = "absent"


@dataclass(frozen=True)
class Finding:
    """One interface, tried. `tee` is its name in policies, "" if the interface did not get to say.

    `seen` is one sentence about what was found; `hint` says what to do about it.
    """

    interface: str
    tee: str
    presence: Presence
    seen: str
    hint: str = ""
