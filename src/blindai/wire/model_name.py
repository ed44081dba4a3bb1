"""How models are named: `sentiment` on the server's own shelf, `alice/sentiment` on alice's.

A name becomes neither a path nor a file name: the store keeps a keyed hash of it. The grammar is narrow so
that two names that look alike are the same name, and so that a name means one thing in a URL and in a log.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from blindai.errors import RequestCode, RequestError

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,127}")
_NAMESPACE = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


@dataclass(frozen=True, order=True)
class ModelName:
    """A model's full name. The namespace "" is the server's own."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name

    @classmethod
    def parse(cls, text: str, default_namespace: str = "") -> ModelName:
        """Read `name` or `namespace/name`. Raises RequestError (name-invalid)."""
        before, slash, after = text.rpartition("/")
        if slash:
            check_namespace(before)
        if not _NAME.fullmatch(after) or ".." in after:
            raise _invalid("a model's name", 128, after)
        return cls(before if slash else default_namespace, after)


def check_namespace(text: str) -> None:
    """Raise RequestError (name-invalid) unless `text` may name a namespace."""
    if not _NAMESPACE.fullmatch(text) or ".." in text:
        raise _invalid("a namespace", 64, text)


def _invalid(what: str, longest: int, text: str) -> RequestError:
    hint = " (lower case only)" if text != text.lower() else ""
    return RequestError(
        RequestCode.NAME_INVALID,
        f"{what} has 1 to {longest} characters of a-z, 0-9, '.', '_' and '-', starts with a letter or "
        f"digit and has no '..'{hint}",
    )
