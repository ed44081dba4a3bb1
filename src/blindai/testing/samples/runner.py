"""From a tree of samples to results: each is judged first, and only then is its expectation read."""

from __future__ import annotations

import datetime
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blindai.errors import UsageError
from blindai.testing.samples.expectation import contradiction
from blindai.testing.samples.judgement import Circumstances, Judgement, judge

META = "meta.json"
MAX_META_BYTES = 1024 * 1024
UNREADABLE = "unreadable"


@dataclass(frozen=True)
class Result:
    """One sample, judged. `contradiction` is empty where the judgement is as expected."""

    name: str
    judgement: Judgement
    contradiction: str

    def __str__(self) -> str:
        fields = f"{self.name:<42} {self.judgement.verdict:<11} {','.join(self.judgement.reasons)}".rstrip()
        return f"{fields}  CONTRADICTION: {self.contradiction}" if self.contradiction else fields

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "verdict": self.judgement.verdict,
            "reasons": list(self.judgement.reasons),
            "detail": self.judgement.detail,
            "contradiction": self.contradiction,
        }


def find(root: Path) -> list[Path]:
    """Return every folder under `root`, itself included, that holds a sample, or raise UsageError."""

    def refuse(error: OSError) -> None:
        raise UsageError(f"{error.filename} cannot be read: {error.strerror}", hint=_HINT) from error

    folders = [Path(folder) for folder, _, names in os.walk(root, onerror=refuse) if META in names]
    if not folders:
        raise UsageError(f"no sample under {root}: no folder there holds a {META}", hint=_HINT)
    return sorted(folders)


_HINT = "name a folder of samples, each a folder with a meta.json and the files of one recording"


def run(folder: Path, *, root: Path) -> Result:
    """Judge one sample, then read what its author expected."""
    name = folder.resolve().name if folder == root else folder.relative_to(root).as_posix()
    name = "".join(character if character.isprintable() else "?" for character in name)
    try:
        judgement = judge(folder, circumstances(folder))
        return Result(name, judgement, contradiction(judgement, _meta(folder).get("expect")))
    except UsageError as error:
        return Result(name, Judgement(UNREADABLE), str(error))


def circumstances(folder: Path) -> Circumstances:
    """Read what the judge may know: the TEE and the time. What else meta.json says, it never sees."""
    meta = _meta(folder)
    tee, now = meta.get("tee"), meta.get("now")
    if not isinstance(tee, str):
        raise UsageError(f"{META} names no tee")
    try:
        if isinstance(now, int) and not isinstance(now, bool):
            moment = datetime.datetime.fromtimestamp(now, datetime.UTC)
        else:
            moment = datetime.datetime.fromisoformat(str(now))
    except (ValueError, OverflowError, OSError) as exc:
        raise UsageError(f"{META} says no `now` that can be read: an ISO 8601 time is needed") from exc
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    return Circumstances(tee, int(moment.timestamp()))


def _meta(folder: Path) -> dict[str, Any]:
    try:
        with (folder / META).open("rb") as file:
            meta = json.loads(file.read(MAX_META_BYTES))
    except (OSError, ValueError, RecursionError) as exc:
        raise UsageError(f"{META} cannot be read") from exc
    if not isinstance(meta, dict):
        raise UsageError(f"{META} is not an object")
    return meta
