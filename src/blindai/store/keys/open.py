"""From the text in the settings to a source of sealing keys."""

from __future__ import annotations

import difflib
from pathlib import Path

from blindai.errors import UsageError
from blindai.store.keys.file import FileKey
from blindai.store.keys.gramine import GramineKey
from blindai.store.keys.memory import MemoryKey
from blindai.store.keys.snp import SnpKey
from blindai.store.keys.source import KeySource
from blindai.store.keys.vtpm import VtpmKey

_PLAIN = ("memory", "gramine", "gramine-mrsigner", "snp")
_WITH_PATH = ("file", "vtpm")
_TEXTS = (*_PLAIN, *(f"{word}:/path" for word in _WITH_PATH))


def open_source(text: str, *, simulation: bool) -> KeySource:
    """Return the source that `text` names, or raise UsageError. Nothing is opened or asked for yet."""
    word, colon, path = text.partition(":")
    if word in _WITH_PATH:
        return _with_path(word, path, simulation=simulation)
    if word not in _PLAIN or colon:
        raise _unknown(text)
    if word == "memory":
        return MemoryKey()
    if word == "snp":
        return SnpKey()
    return GramineKey("mrsigner" if word == "gramine-mrsigner" else "mrenclave")


def _with_path(word: str, path: str, *, simulation: bool) -> KeySource:
    # An absolute path: a relative one would mean another key when started from another folder.
    if not path.startswith("/") or path.endswith("/") or "\0" in path:
        raise UsageError(
            f'the sealing key "{word}" needs the absolute path of a file',
            hint=f"for example {word}:/var/lib/blindai/sealing.key",
        )
    if word == "vtpm":
        return VtpmKey(Path(path))
    if not simulation:
        raise UsageError(
            "a sealing key in a file protects from nobody: the host reads the file, and every model with it",
            hint="use gramine, snp or vtpm:/path on such a machine, or memory; file:/path needs --simulation",
        )
    return FileKey(Path(path))


def _unknown(text: str) -> UsageError:
    near = difflib.get_close_matches(text.lower(), (*_PLAIN, *_WITH_PATH), n=1)
    meant = next((known for known in _TEXTS if near and known.split(":", maxsplit=1)[0] == near[0]), None)
    return UsageError(
        "the sealing key is none of those that exist",
        hint=f"did you mean {meant}?" if meant else f"one of {', '.join(_TEXTS)}",
    )
