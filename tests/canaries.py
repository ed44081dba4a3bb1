"""Secrets of a test that are found again wherever they leak, in whatever encoding.

Every canary is random and used once. Only parts of it are searched for, so that one that was cut short, or
cut in two by a line break, is found too.
"""

from __future__ import annotations

import base64
import contextlib
import json
import secrets
import struct
import urllib.parse
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"
_PART = 12  # characters: of random text, more than ever comes together by chance
_PIECE = 2**16  # words that are looked at together: more do not fit into a processor's cache
_HASH_BITS = 18
_LATIN = "àáâãäåæçèéêëìíîïðñòóôõöøùúûüýþÿ"


@dataclass
class Canaries:
    """The canaries of one test. Each is called by what it is and a number of its own."""

    _count: int = 0
    _needles: dict[bytes, str] = field(default_factory=dict, repr=False)
    _indexed: tuple[int, NDArray[np.bool_], dict[int, list[bytes]]] | None = field(default=None, repr=False)

    def text(self, what: str) -> str:
        """A new one of small letters and digits: it fits into names, headers and paths as it is."""
        return self.known(what, "".join(secrets.choice(_ALPHABET) for _ in range(32)))

    def accented(self, what: str) -> str:
        """A new one of letters that every encoding writes in another way."""
        return self.known(what, "".join(secrets.choice(_LATIN) for _ in range(24)))

    def known(self, what: str, text: str) -> str:
        """Look for a text that is random already, such as an API key."""
        name = self._name(what)
        for form in _forms_of_text(text):
            self._plant(name, form)
        return text

    def digest(self, what: str) -> str:
        """A new one that is a SHA-256 in hexadecimal, such as the id of a key."""
        digest = secrets.token_bytes(32)
        self.raw(what, digest)
        return digest.hex()

    def integer(self, what: str) -> int:
        """A new one of 19 digits, which is also eight bytes of a tensor."""
        value = 2**63 - 1 - secrets.randbelow(2**62)
        name = self._name(what)
        self._plant_bytes(name, struct.pack("<q", value))
        self._plant_bytes(name, struct.pack(">q", value))
        self._plant(name, str(value).encode()[:_PART])
        self._plant(name, f"{value:x}".encode()[:_PART])
        return value

    def number(self, what: str) -> float:
        """A new one of 16 significant digits, which is also eight bytes of a tensor."""
        value = secrets.randbelow(2**52) / 2**48 + 0.001
        name = self._name(what)
        self._plant_bytes(name, struct.pack("<d", value))
        self._plant_bytes(name, struct.pack(">d", value))
        self._plant(name, repr(value).encode()[:_PART])
        return value

    def raw(self, what: str, data: bytes) -> bytes:
        """Look for bytes that are random already."""
        self._plant_bytes(self._name(what), data)
        return data

    def found_in(self, data: bytes) -> set[str]:
        """Return what leaked into `data`."""
        return self._matches(data) | self._matches(data.lower())

    def _matches(self, data: bytes) -> set[str]:
        """Compare every eight bytes of `data` with the beginnings of all needles at once: there are many."""
        likely, beginnings = self._index()
        found = set()
        for start in range(0, len(data) - 7, 8 * _PIECE):
            for offset in range(start, min(start + 8, len(data) - 7)):
                words = np.frombuffer(data, "<u8", min(_PIECE, (len(data) - offset) // 8), offset)
                for place in np.flatnonzero(likely[_hashed(words)]):
                    for needle in beginnings.get(int(words[place]), ()):
                        if data.startswith(needle, offset + 8 * int(place)):
                            found.add(self._needles[needle])
        return found

    def _index(self) -> tuple[NDArray[np.bool_], dict[int, list[bytes]]]:
        if self._indexed is None or self._indexed[0] != len(self._needles):
            beginnings: dict[int, list[bytes]] = {}
            for needle in self._needles:
                beginnings.setdefault(int.from_bytes(needle[:8], "little"), []).append(needle)
            likely = np.zeros(2**_HASH_BITS, dtype=bool)
            likely[_hashed(np.array(list(beginnings), dtype="<u8"))] = True
            self._indexed = len(self._needles), likely, beginnings
        return self._indexed[1:]

    def _name(self, what: str) -> str:
        self._count += 1
        return f"{what} #{self._count}"

    def _plant(self, what: str, form: bytes) -> None:
        size = max(_PART, len(form) * 3 // 8)  # of a long-winded form, as many characters of the secret
        for part in (form[:size], form[-size:]):
            self._needles[part] = what

    def _plant_bytes(self, what: str, data: bytes) -> None:
        self._needles[data[:16]] = what
        for form in _forms_of_bytes(data):
            self._plant(what, form)


def _hashed(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    return (words * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(64 - _HASH_BITS)


def _forms_of_text(text: str) -> Iterator[bytes]:
    utf8 = text.encode()
    yield utf8
    yield from _forms_of_bytes(utf8)
    for encoding in ("latin-1", "utf-16-le", "utf-16-be", "utf-32-le"):
        encoded = text.encode(encoding)
        yield encoded
        yield from _forms_of_bytes(encoded)
    yield utf8.decode("latin-1").encode()  # read in the wrong encoding, and written again
    yield json.dumps(text).strip('"').encode()
    yield "".join(f"\\u{ord(character):04x}" for character in text).encode()
    yield ascii(text).strip("'").encode()
    yield urllib.parse.quote(text).lower().encode()


def _forms_of_bytes(data: bytes) -> Iterator[bytes]:
    yield data.hex().encode()
    yield data.hex(" ").encode()
    yield data.hex(":").encode()
    yield "".join(f"\\x{byte:02x}" for byte in data).encode()
    yield "".join(f"%{byte:02x}" for byte in data).encode()
    yield repr(data)[2:-1].encode()
    yield repr(list(data))[1:-1].encode()
    for start in range(3):  # base64 depends on what stands before
        after = (start + len(data)) % 3
        encoded = base64.b64encode(bytes(start) + data)
        whole = encoded[(4 if start else 0) : (-4 if after else None)]
        yield whole
        yield base64.urlsafe_b64encode(base64.b64decode(whole)).rstrip(b"=")


def leaks(canaries: Canaries, places: Iterable[tuple[str, bytes]]) -> dict[str, set[str]]:
    """Return what was found, by place."""
    found: dict[str, set[str]] = {}
    for place, data in places:
        if what := canaries.found_in(data):
            found.setdefault(place, set()).update(what)
    return found


def files(*folders: Path) -> Iterator[tuple[str, bytes]]:
    """Every file below the folders, with its name, and where links lead."""
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            name = str(path.relative_to(folder)).encode()
            try:
                if path.is_symlink():
                    content = str(path.readlink()).encode()
                else:
                    content = path.read_bytes() if path.is_file() else b""
            except FileNotFoundError:  # gone meanwhile
                content = b""
            yield str(path), name + b"\n" + content


def process(pid: int) -> Iterator[tuple[str, bytes]]:
    """What the kernel shows to whoever looks: command line, environment, names of threads and of files."""
    folder = Path(f"/proc/{pid}")
    for name in ("cmdline", "environ", "comm", "maps"):
        try:
            yield name, (folder / name).read_bytes()
        except PermissionError:  # nobody but root sees more of an undumpable process
            continue
    yield "threads", b"\n".join(_each(folder.glob("task/*/comm"), Path.read_bytes))
    try:
        links = list((folder / "fd").iterdir())
    except PermissionError:
        links = []
    yield "open files", b"\n".join(_each(links, lambda link: str(link.readlink()).encode()))


def _each(paths: Iterable[Path], content: Callable[[Path], bytes]) -> Iterator[bytes]:
    for path in paths:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # ended, or closed, meanwhile
            yield content(path)
