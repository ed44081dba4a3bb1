"""What a lie is: one thing that is wrong about a machine, an answer or a client, and how it must end."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from blindai.attestation.policy import Policy
from blindai.errors import AttestationError, EvidenceForged, EvidenceMalformed, EvidenceRejected, Reason
from tests.attestation.scene import Client, Machine, healthy, machine_of, policy_of

HOUR = 3600
Answer = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Lie:
    """What is wrong (`machine`, `answer`), or what the client demands (`client`), and how it must end."""

    name: str
    reason: Reason
    kind: type[AttestationError]
    tee: str = "tdx"
    machine: Mapping[str, Any] = field(default_factory=dict)
    answer: Answer | Callable[[Any], Answer] = field(default_factory=dict)
    client: Callable[[Any], Client] | None = None

    def __str__(self) -> str:
        return f"{self.tee}: {self.name}"


def malformed(name: str, reason: Reason, **rest: Any) -> Lie:
    return Lie(name, reason, EvidenceMalformed, **rest)


def forged(name: str, reason: Reason, **rest: Any) -> Lie:
    return Lie(name, reason, EvidenceForged, **rest)


def rejected(name: str, reason: Reason, **rest: Any) -> Lie:
    return Lie(name, reason, EvidenceRejected, **rest)


def of_policy(**lines: str) -> Callable[[Machine], Client]:
    """Return a client whose policy has more lines than the machine's own."""
    return lambda machine: Client(policy=policy_of(machine, **lines))


def of_entry(tee: str, *keys: str) -> Callable[[Machine], Client]:
    """Return a client whose policy has this one entry."""
    text = "\n".join(("version = 1", "[[accept]]", f'tee = "{tee}"', *keys))
    return lambda _: Client(policy=Policy.from_toml(text))


@functools.cache
def told(lie: Lie) -> tuple[Machine, Client, dict[str, Any]]:
    """Return the machine, the client, and the keywords of the answer; nothing of it changes by use."""
    machine = machine_of(lie.tee, **lie.machine) if lie.machine else healthy(lie.tee)
    client = lie.client(machine) if lie.client else Client()
    return machine, client, dict(lie.answer(machine) if callable(lie.answer) else lie.answer)
