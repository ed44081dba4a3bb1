"""Answers of vendors' services on disk, so that nobody is asked twice for what has not changed.

A file's name is the SHA-256 of the request; its content is as untrusted as the network's. The digest in it
finds a damaged file, not a forged one: a forged answer fails where a forged answer of the network would.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import math
import os
import re
import stat
import time
from collections.abc import Callable
from pathlib import Path

from blindai import private_file
from blindai.transport.collateral.piece import Answer
from blindai.wire import strict_json

VERSION = 1
MAX_FILE_BYTES = 1024 * 1024
_CLOCK_SKEW_SECONDS = 300
_UNFINISHED = re.compile(r"\.[0-9a-f]{64}\..+")  # `private_file.replace` names them so
_UNFINISHED_SECONDS = 3600


def default_folder() -> Path:
    """Return the user's cache folder for collateral (XDG base directories)."""
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    base = given if given.is_absolute() else Path.home() / ".cache"
    return base / "blindai" / "collateral"


class Cache:
    """A folder of answers. Trouble with it is said aloud and never fails a command."""

    def __init__(self, folder: Path, *, say: Callable[[str], None]) -> None:
        self._folder = folder
        self._say = say
        self._swept = False

    def read(self, name: str, *, now: int) -> Answer | None:
        """Return a kept answer, or None."""
        path = self._folder / name
        try:
            # Not a pipe, which would block, and not a link to elsewhere.
            if not stat.S_ISREG(path.lstat().st_mode):
                raise ValueError("not a file")
            with path.open("rb") as file:
                return _decoded(file.read(MAX_FILE_BYTES + 1), now)
        except FileNotFoundError:
            return None
        except OSError as exc:
            self._say(f"the cache cannot be read: {exc.strerror}")
            return None
        except ValueError:
            self.damaged()
            return None

    def damaged(self) -> None:
        """Say that a kept answer is of no use."""
        self._say("warning: a file in the cache is damaged; fetching it anew")

    def write(self, name: str, answer: Answer) -> None:
        """Keep an answer; a reader of the same moment sees the old file or the new one, whole."""
        try:
            private_file.make_folder(self._folder)
            self._sweep()
            private_file.replace(self._folder / name, _encoded(answer))
        except OSError as exc:
            self._say(f"the cache cannot be written: {exc.strerror}")

    def _sweep(self) -> None:
        """Remove what processes left that were killed in the middle of a write, once."""
        if self._swept:
            return
        self._swept = True
        for path in self._folder.iterdir():
            with contextlib.suppress(OSError):  # another process sweeps, too
                old = time.time() - path.lstat().st_mtime > _UNFINISHED_SECONDS
                if old and _UNFINISHED.fullmatch(path.name):
                    path.unlink()

    def seconds_since_asked(self, origin: str) -> float:
        """Return how long ago a process of this user asked a service; infinite if none is known to have."""
        try:
            since = time.time() - self._mark(origin).stat().st_mtime
        except OSError:
            return math.inf
        return since if since >= 0 else math.inf

    def note_asked(self, origin: str) -> None:
        """Note that a service is asked now."""
        with contextlib.suppress(OSError):  # a folder that cannot be written is reported where it matters
            private_file.make_folder(self._folder)
            self._mark(origin).touch(mode=0o600)

    def _mark(self, origin: str) -> Path:
        return self._folder / hashlib.sha256(f"asked {origin}".encode()).hexdigest()


def _encoded(answer: Answer) -> bytes:
    body = base64.b64encode(answer.body).decode("ascii")
    content = {"fetched": answer.fetched, "headers": dict(answer.headers), "body": body}
    return json.dumps({"version": VERSION, "sha256": _digest(content), "content": content}).encode()


def _decoded(data: bytes, now: int) -> Answer:
    value = strict_json.decode_object(data, max_bytes=MAX_FILE_BYTES)
    outer = strict_json.members(value, "the file", {"version", "sha256", "content"})
    content = strict_json.members(outer["content"], "its content", {"fetched", "headers", "body"})
    if outer["version"] != VERSION or outer["sha256"] != _digest(content):
        raise ValueError("another version, or damaged")
    fetched, headers, body = content["fetched"], content["headers"], content["body"]
    # From the future: it would be kept longer than meant.
    if not isinstance(fetched, int) or fetched > now + _CLOCK_SKEW_SECONDS:
        raise ValueError("its date")
    if not isinstance(headers, dict) or not all(isinstance(text, str) for text in headers.values()):
        raise ValueError("its headers")
    return Answer(base64.b64decode(str(body), validate=True), headers, fetched)


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
