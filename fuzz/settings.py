"""Settings files: TOML from an operator, in which nothing may be overlooked or be read as something else."""

from __future__ import annotations

import json
import tomllib
from typing import Any

from blindai.server.settings.entries import ENTRIES
from blindai.server.settings.sources import load_settings
from blindai.server.settings.tables import KEYS, TABLES
from fuzz import scratch
from fuzz.signing import members_of


def settings(data: bytes) -> None:
    """A file that loads was understood to its last key; what is a limit in it is that limit."""
    tables = members_of(data)
    text = _toml(tables) if tables else data
    path = scratch.folder() / "blindai.toml"
    path.write_bytes(text)
    loaded = load_settings(path, {}, {}).settings
    written = tomllib.loads(text.decode("utf-8"))
    if written.keys() - TABLES.keys() - ENTRIES.keys():
        raise AssertionError("a table was overlooked")
    known = {key.dotted: key for key in KEYS}
    for table in written.keys() & TABLES.keys():
        for name, value in written[table].items():
            key = known.get(f"{table}.{name}")
            if key is None or not _same(getattr(loaded, key.field), value, is_path=key.about.is_path):
                raise AssertionError("a key was overlooked, or read as something else")
    for table, entries in (("callers", loaded.callers), ("models", loaded.models)):
        for entry, given in zip(entries, written.get(table, []), strict=True):
            for name, value in given.items():
                if not _same(getattr(entry, name), value, is_path=name == "path"):
                    raise AssertionError("a key of an entry was read as something else")


def _same(read: Any, written: Any, *, is_path: bool) -> bool:
    if is_path:
        return bool(str(scratch.folder() / written) == read)
    return bool((list(read) if isinstance(read, tuple) else read) == written)


def _toml(tables: dict[str, Any]) -> bytes:
    """Write tables as TOML; what TOML has no word for is written as JSON has it, and is refused."""
    lines: list[str] = []
    for name, table in tables.items():
        if isinstance(table, str):  # as it is: comments, keys in other spellings, damage
            lines.append(table)
            continue
        header = f"[[{name}]]" if isinstance(table, list) else f"[{name}]"
        for entry in table if isinstance(table, list) else [table]:
            lines.append(header)
            values = entry.items() if isinstance(entry, dict) else ()
            lines += [f"{key} = {json.dumps(value)}" for key, value in values]
    return "\n".join(lines).encode("utf-8", "replace")


def settings_files() -> list[bytes]:
    """Return all keys at once, the entries, and a text as an operator writes it."""
    whole: dict[str, Any] = {table: {} for table in TABLES}
    for key in KEYS:
        if key.default is not None and key.default != ():
            whole[key.table][key.name] = key.default
    whole["store"] = {**whole["store"], "path": "store", "key": "snp"}
    whole["server"] = {**whole["server"], "names": ["a.example", "::1"]}
    entries = {
        "text": "# a comment",
        "callers": [
            {"name": "alice", "role": "owner", "key_sha256": "ab" * 32, "requests_per_minute": 60},
            {"name": "root", "role": "admin", "key_sha256": "cd" * 32},
        ],
        "models": [
            {"path": "a.onnx", "visibility": "shared", "shared_with": ["ab" * 32]},
            {"path": "/srv/b.onnx", "name": "b", "max_waiting": 3},
        ],
        "jwt": {"jwks": "jwks.json", "issuer": "https://issuer.example.org"},
    }
    text = b"""# for trying
[server]
port = 0x1F90
names = ["a.example"]  # one
'simulation' = true
[limits]
max_models = 1_000
[[callers]]
name = \"""bob\"""
role = "user"
key_sha256 = '%s'
""" % (b"ab" * 32)
    return [json.dumps(whole, default=list).encode(), json.dumps(entries).encode(), text]
