"""What the user demands (design section 5). Strict: a text that is not fully understood does not load."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from blindai.attestation import toml_table, vendors
from blindai.attestation.toml_table import Table, parse_hexadecimal
from blindai.attestation.types import Accept

VERSION = 1
MAX_POLICY_BYTES = 128 * 1024
SETTINGS = ("isolation", "sandbox", "model_upload", "sealing", "telemetry")


@dataclass(frozen=True)
class Policy:
    """A loaded policy. `expires` is Unix seconds; `sha256` names the exact text.

    `accept` is "any of". `unsafe_any_measurement` says nothing about the code and exists for simulation
    without a policy; no text can set it, and the appraisal refuses it for anything but a simulation.
    """

    accept: tuple[Accept, ...]
    sha256: str
    expires: int | None = None
    names: tuple[str, ...] = ()
    operator_spki_sha256: frozenset[str] = frozenset()
    require: Mapping[str, Any] | None = None
    models_sha256: tuple[str, ...] = ()
    unsafe_any_measurement: bool = False

    @classmethod
    def from_toml(cls, text: str) -> Policy:
        """Load a policy text, or raise PolicyError with the line and a suggestion."""
        values = toml_table.read(text, "the policy", max_bytes=MAX_POLICY_BYTES)
        return _load(Table(values, header="", occurrence=0, text=text), text)

    @classmethod
    def for_simulation(cls) -> Policy:
        """The policy of `simulation=...` without a policy: any code, simulated platforms only."""
        text = "simulation without a policy: any measurement"
        return cls(accept=(), sha256=hashlib.sha256(text.encode()).hexdigest(), unsafe_any_measurement=True)


def _load(top: Table, text: str) -> Policy:
    if top.integer("version", default=0) != VERSION:
        raise top.error("version", f"must be {VERSION}")
    operator = top.table("operator")
    models = top.table("models")
    require = top.table("require")
    policy = Policy(
        accept=tuple(vendors.load_accept(table) for table in top.tables("accept")),
        sha256=hashlib.sha256(text.encode("utf-8")).hexdigest(),
        expires=top.date("expires"),
        names=_names(top),
        operator_spki_sha256=frozenset(_digests(operator, "spki_sha256")),
        require=_settings(require),
        models_sha256=_digests(models, "sha256"),
    )
    for table in (operator, models, require, top):
        table.finish()
    if "operator" in top and not policy.operator_spki_sha256:
        raise top.error("operator", "says nothing: give spki_sha256, or leave the table out")
    if "require" in top and not policy.require:
        raise top.error("require", "says nothing: name a setting, or leave the table out")
    if "models" in top and not policy.models_sha256:
        raise top.error("models", "says nothing: give sha256, or leave the table out")
    return policy


def _names(top: Table) -> tuple[str, ...]:
    names = top.strings("names")
    for name in names:
        port = name.count(":") == 1 or ":" in name.partition("]")[2]
        if name != name.lower() or "*" in name or port:
            raise top.error("names", "must be lower case, without wildcard or port")
    return names


def _digests(table: Table, key: str) -> tuple[str, ...]:
    values = table.strings(key)
    for value in values:
        if parse_hexadecimal(value, 32) is None:
            raise table.error(key, "must hold SHA-256 digests of 64 hexadecimal digits")
    return tuple(value.lower() for value in values)


def _settings(table: Table) -> Mapping[str, Any]:
    settings = table.everything()
    for key, value in settings.items():
        if key not in SETTINGS:
            # A server would have to state it: until one does, this is a typo.
            raise table.error(key, f"is not a known setting; known: {', '.join(SETTINGS)}")
        if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
            continue
        if not isinstance(value, (str, bool, int)) or (isinstance(value, int) and abs(value) >= 2**63):
            raise table.error(key, "must be a string, integer, boolean or list of strings")
    return settings
