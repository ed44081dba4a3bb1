"""The server's public keys and promises, hashed into the evidence (design 4.1).

A keyset is a JSON text. It travels, is stored and is hashed as the exact bytes that the server made:
nobody re-serialises it. It holds nothing of the certificate, so there is no circle:
key -> SPKI -> keyset -> evidence -> certificate.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from blindai.errors import EvidenceMalformed, Reason
from blindai.wire import base64url, strict_json

VERSION = 1
MAX_KEYSET_BYTES = 16 * 1024
MAX_NAMES = 32
DEFAULT_LIFE_SECONDS = 24 * 3600

SettingValue = str | bool | int | tuple[str, ...]


@dataclass(frozen=True)
class Software:
    """What the server says it is. A claim of the measured code, not a measurement."""

    version: str
    source_sha256: str


@dataclass(frozen=True)
class Keyset:
    """A parsed keyset. Times are Unix seconds."""

    names: tuple[str, ...]
    tls_spki_sha256: bytes
    receipt_key: bytes
    not_before: int
    not_after: int
    software: Software
    settings: Mapping[str, SettingValue]
    simulated: bool
    raw: bytes = field(repr=False)

    @property
    def sha256(self) -> bytes:
        return hashlib.sha256(self.raw).digest()


def encode(
    *,
    names: Sequence[str],
    tls_spki_sha256: bytes,
    receipt_key: bytes,
    not_before: int,
    not_after: int,
    software: Software,
    settings: Mapping[str, SettingValue],
    simulated: bool,
) -> bytes:
    """Write a keyset; the result parses back with `parse`.

    `tls_spki_sha256` is SHA-256 of the DER SubjectPublicKeyInfo (32 bytes), `receipt_key` a raw Ed25519
    public key (32 bytes).
    """
    text = json.dumps(
        {
            "version": VERSION,
            "names": list(names),
            "tls_spki_sha256": base64url.encode(tls_spki_sha256),
            "receipt_key": base64url.encode(receipt_key),
            "not_before": not_before,
            "not_after": not_after,
            "software": {"version": software.version, "source_sha256": software.source_sha256},
            "settings": {key: list(v) if isinstance(v, tuple) else v for key, v in settings.items()},
            "simulated": simulated,
        },
        separators=(",", ":"),
    )
    raw = text.encode("utf-8")
    parse(raw)
    return raw


def parse(raw: bytes) -> Keyset:
    """Read a keyset, or raise EvidenceMalformed. Nothing is judged here: dates and names are appraised."""
    try:
        return _parse(raw)
    except (ValueError, TypeError) as exc:
        raise EvidenceMalformed(Reason.KEYSET_MALFORMED, f"the keyset is malformed: {exc}") from exc


def _parse(raw: bytes) -> Keyset:
    value = strict_json.members(
        strict_json.decode_object(raw, max_bytes=MAX_KEYSET_BYTES),
        "keyset",
        {
            "version",
            "names",
            "tls_spki_sha256",
            "receipt_key",
            "not_before",
            "not_after",
            "software",
            "settings",
            "simulated",
        },
    )
    if value["version"] != VERSION or isinstance(value["version"], bool):
        raise ValueError("unknown version")
    software = strict_json.members(value["software"], "software", {"version", "source_sha256"})
    if not isinstance(value["simulated"], bool):
        raise ValueError("simulated is not true or false")
    return Keyset(
        names=_names(value["names"]),
        tls_spki_sha256=_bytes32(value["tls_spki_sha256"], "tls_spki_sha256"),
        receipt_key=_bytes32(value["receipt_key"], "receipt_key"),
        not_before=_seconds(value["not_before"], "not_before"),
        not_after=_seconds(value["not_after"], "not_after"),
        software=Software(
            version=_text(software["version"], "software.version"),
            source_sha256=_text(software["source_sha256"], "software.source_sha256"),
        ),
        settings=_settings(value["settings"]),
        simulated=value["simulated"],
        raw=raw,
    )


def _names(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_NAMES:
        raise ValueError(f"names is not a list of 1 to {MAX_NAMES}")
    names = tuple(_text(name, "names") for name in value)
    for name in names:
        if name != name.lower() or "*" in name or not name.isascii() or not name.isprintable() or " " in name:
            raise ValueError("a name is not canonical (lower case, no wildcard)")
    return names


def _settings(value: Any) -> dict[str, SettingValue]:
    if not isinstance(value, dict):
        raise ValueError("settings is not an object")
    settings: dict[str, SettingValue] = {}
    for key, item in value.items():
        if isinstance(item, list):
            settings[key] = tuple(_text(entry, "a setting") for entry in item)
        elif isinstance(item, (str, bool, int)):
            settings[key] = item
        else:
            # Its name is the peer's: not shown, it could paint over a terminal.
            raise ValueError("a setting is not a string, boolean, integer or list of strings")
    return settings


def _bytes32(value: Any, what: str) -> bytes:
    data = base64url.decode(_text(value, what))
    if len(data) != 32:
        raise ValueError(f"{what} does not have 32 bytes")
    return data


def _seconds(value: Any, what: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**53:
        raise ValueError(f"{what} is not a Unix time")
    return value


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= 256:
        raise ValueError(f"{what} is not a string of 1 to 256 characters")
    return value
