"""Roll-back floors in a small file, so that what one client saw binds the next.

Collateral expires after weeks: until then somebody in between could serve last month's, from before a
vulnerability was known. What is kept is the newest that was accepted, by root and platform family
(`Claims.platform`); no serial number of any hardware is in the file.

1. read strictly, at every attestation: a file that is not understood is an error, not an empty file
2. to raise a floor, read again, merge, and replace the file as a whole: no reader sees half of one
3. where nothing can be written, warn once and go on: the session keeps its floors in memory

Two clients that write in the same instant can lose the raise of one; its next attestation makes it again.
"""

from __future__ import annotations

import json
import os
import threading
import warnings
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from blindai import private_file
from blindai.attestation.types import Floor
from blindai.errors import UsageError
from blindai.wire import strict_json

VERSION = 1
MAX_FILE_BYTES = 1024 * 1024
MAX_PLATFORMS = 1024
_MAX_KEY_CHARACTERS = 256
_NUMBERS = frozenset(field.name for field in fields(Floor))
_WRITING = threading.Lock()  # of all threads of this process, whichever client is theirs

FloorsLike = bool | str | os.PathLike[str]


class FloorsWarning(UserWarning):
    """Roll-back floors cannot be kept: they end with this client."""


class FileFloors:
    """The floors in one file; `transport.session.Floors`. Thread-safe."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._warned = False

    def load(self) -> dict[str, Floor]:
        """Return the floors, or raise UsageError if the file cannot be read or is malformed."""
        # A folder that cannot be looked into holds nothing of ours: writing will fail and say so.
        if not os.path.lexists(self.path):
            return {}
        try:
            with self.path.open("rb") as file:
                raw = file.read(MAX_FILE_BYTES + 1)
            return _parse(raw)
        except FileNotFoundError:
            return {}
        except OSError as exc:
            raise self._unusable(f"cannot be read: {exc.strerror}") from exc
        except ValueError as exc:
            raise self._unusable(f"is malformed: {exc}") from exc

    def raise_to(self, platform: str, floor: Floor) -> None:
        """Keep what was seen of a platform, or warn (once) that it cannot be kept."""
        with _WRITING:
            kept = self.load()
            before = kept.pop(platform, Floor())
            kept[_platform(platform)] = before.raised_to(floor)
            if kept[platform] == before:
                return
            while len(kept) > MAX_PLATFORMS:
                del kept[next(iter(kept))]  # the one that was raised longest ago
            try:
                private_file.make_folder(self.path.parent)
                private_file.replace(self.path, _encode(kept))
            except OSError as exc:
                self._warn(exc)

    def _warn(self, exc: OSError) -> None:
        if not self._warned:
            self._warned = True
            warnings.warn(
                f"roll-back floors cannot be kept in {self.path} ({exc.strerror}): "
                "older collateral will be noticed by this client only, and not by the next",
                FloorsWarning,
                stacklevel=2,
            )

    def _unusable(self, what: str) -> UsageError:
        return UsageError(
            f"the file of roll-back floors {what}: {self.path}",
            hint="look before you delete it: without it, older collateral than seen before is accepted; "
            "floors=PATH (--floors) names another file, floors=False (--no-floors) does without",
        )


def chosen(floors: FloorsLike) -> FileFloors | None:
    """Return what `floors=` asks for: True is the default file, False is memory only."""
    if floors is False:
        return None
    if floors is True:
        try:
            path = default_path()
        except RuntimeError:  # a user without a home
            warnings.warn("roll-back floors cannot be kept: there is no home", FloorsWarning, stacklevel=2)
            return None
    elif os.fspath(floors):
        path = Path(floors)
    else:
        raise UsageError("floors= is an empty path", hint="floors=False (--no-floors) does without a file")
    kept = FileFloors(path)
    kept.load()  # what is malformed is said before anything is sent
    return kept


def default_path() -> Path:
    """Return $XDG_STATE_HOME/blindai/floors.json, or the same under ~/.local/state."""
    state = Path(os.environ.get("XDG_STATE_HOME", ""))
    if not state.is_absolute():  # the XDG specification has relative paths ignored
        state = Path.home() / ".local" / "state"
    return state / "blindai" / "floors.json"


def _encode(floors: Mapping[str, Floor]) -> bytes:
    value = {"version": VERSION, "floors": {name: asdict(floor) for name, floor in floors.items()}}
    return json.dumps(value, indent=1).encode("utf-8") + b"\n"


def _parse(raw: bytes) -> dict[str, Floor]:
    value = strict_json.members(
        strict_json.decode_object(raw, max_bytes=MAX_FILE_BYTES), "the file", {"version", "floors"}
    )
    if value["version"] != VERSION or isinstance(value["version"], bool):
        raise ValueError("unknown version")
    if not isinstance(value["floors"], dict) or len(value["floors"]) > MAX_PLATFORMS:
        raise ValueError(f"floors is not an object of at most {MAX_PLATFORMS} members")
    return {_platform(name): _floor(numbers) for name, numbers in value["floors"].items()}


def _platform(name: str) -> str:
    if not 1 <= len(name) <= _MAX_KEY_CHARACTERS or not name.isprintable():
        raise ValueError("a platform's name is no name")
    return name


def _floor(numbers: Any) -> Floor:
    # A number that is missing was not known to the version that wrote the file: nothing was seen of it.
    given = strict_json.members(numbers, "a floor", set(), _NUMBERS)
    if not all(type(number) is int and number >= 0 for number in given.values()):
        raise ValueError("a floor is not a whole number")
    return Floor(**given)
