"""Verified claims of any fake, and a policy's judgement of them: no answer, no keyset, no connection."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from blindai.attestation import appraisal, vendors
from blindai.attestation.policy import Policy
from blindai.attestation.trust import SimulationTrust
from blindai.attestation.types import ChannelFacts, Claims, Floor
from blindai.attestation.verdict import Check, Verdict
from blindai.errors import Reason
from blindai.testing import FakeNitro, FakeSgx, FakeSnp, FakeTdx
from tests.attestation.scene import NOW

OPERATOR = "cd" * 32
GOOD_CHANNEL = ChannelFacts(
    dialled="dialled.example",
    names=("inference.example", "dialled.example"),
    not_before=NOW,
    not_after=NOW + 3600,
    simulated=True,
    settings={"isolation": "process", "sandbox": True},
    operator_spki_sha256=OPERATOR,
)


ALIASES_CHECKED = 1 << 5


def quiet_snp(**knobs: Any) -> FakeSnp:
    """Return a machine that a strict policy accepts: the fake's own has hyper-threading on."""
    return FakeSnp(**{"platform_info": ALIASES_CHECKED, **knobs})


MACHINES: dict[str, Callable[..., Any]] = {
    "tdx": FakeTdx, "sgx": FakeSgx, "sev-snp": quiet_snp, "nitro": FakeNitro,
}  # fmt: skip


@functools.cache
def claims_of(machine: Any, *, now: int = NOW) -> Claims:
    """Return what this fake's evidence says, verified under its own root."""
    trust = SimulationTrust([machine.root_sha256])
    return vendors.verify(machine.evidence(bytes(64)), machine.collateral(), trust=trust, now=now)


def judged(
    policy: Policy | str,
    claims: Claims,
    channel: ChannelFacts = GOOD_CHANNEL,
    *,
    simulated: bool = True,
    floor: Floor = Floor(),  # noqa: B008  it is frozen
    now: int = NOW,
) -> Verdict:
    """Return the verdict on these claims, over a channel against which nothing can be said."""
    policy = Policy.from_toml(policy) if isinstance(policy, str) else policy
    channel = dataclasses.replace(channel, simulated=simulated)
    return appraisal.appraise(claims, channel, policy=policy, floor=floor, now=now)


def policy_of_entry(entry: str) -> str:
    """Return a policy text of nothing but this `[[accept]]` entry."""
    return f"version = 1\n{entry}"


def with_lines(entry: str, *lines: str) -> str:
    """Return the entry with each line instead of the one for the same key, or below the others."""
    keys = {line.partition(" = ")[0] for line in lines}
    kept = [line for line in entry.splitlines() if line.partition(" = ")[0] not in keys]
    return "\n".join([*kept, *lines]) + "\n"


def without(entry: str, *keys: str) -> str:
    """Return the entry without the lines for these keys."""
    return "\n".join(line for line in entry.splitlines() if line.partition(" = ")[0] not in keys) + "\n"


def failed(entry: str, machine: Any, *, now: int = NOW) -> list[Check]:
    """Return what the entry refuses about this machine."""
    return list(judged(policy_of_entry(entry), claims_of(machine, now=now), now=now).failures)


def entry_of(machine: Any, *lines: str) -> str:
    """Return the strict entry that accepts exactly this machine's code, with these lines."""
    return with_lines(vendors.entry_toml(claims_of(machine)), *lines)


@functools.cache
def strict(tee: str) -> str:
    """Return the strict entry of a healthy machine of this TEE."""
    return entry_of(MACHINES[tee](now=NOW))


@dataclass(frozen=True)
class Edge:
    """One demand: the machine that just meets it, and the next one, which is refused for `claim` alone.

    `lines` are added to the strict entry of the machine without knobs. A `final` refusal is one that no line
    of a policy takes back.
    """

    claim: str
    reason: Reason
    bad: dict[str, Any]
    good: dict[str, Any] = field(default_factory=dict)
    lines: tuple[str, ...] = ()
    final: bool = False

    def __str__(self) -> str:
        return f"{self.claim}, {', '.join(map(str, self.bad))}"


def assert_edge(tee: str, edge: Edge) -> None:
    """Assert that `edge` is where it says, and that the line which is said to accept a refusal does."""
    make, entry = MACHINES[tee], with_lines(strict(tee), *edge.lines)
    assert failed(entry, make(now=NOW, **edge.good)) == []
    machine = make(now=NOW, **edge.bad)
    checks = failed(entry, machine)
    assert [(check.claim, check.reason) for check in checks] == [(edge.claim, edge.reason)]
    if edge.final:
        assert checks[0].accepted_by == ""
    else:
        assert failed(with_lines(entry, checks[0].accepted_by), machine) == []
