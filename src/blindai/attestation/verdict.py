"""The outcome of an appraisal, claim by claim: what was demanded, what was found, what is not known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from blindai.reasons import Reason


class Outcome(StrEnum):
    """`UNKNOWN` is a claim that nobody demanded and nothing proves. A demanded unknown is a `FAIL`."""

    PASS = "pass"  # noqa: S105  a word, not a password
    FAIL = "fail"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Check:
    """One claim. `source` is where it was found: evidence, collateral, keyset, channel, policy, receipt
    or proof.

    `accepted_by` is the line of a policy that would accept a failed claim as it is, where one could.
    """

    claim: str
    outcome: Outcome
    source: str
    found: str = ""
    expected: str = ""
    reason: Reason | None = None
    accepted_by: str = ""


@dataclass(frozen=True)
class Verdict:
    """Everything that was checked about one server at one time (`at`, Unix seconds)."""

    tee: str
    simulated: bool
    at: int
    policy_sha256: str
    checks: tuple[Check, ...]

    @property
    def accepted(self) -> bool:
        """Whether nothing failed. An empty verdict accepts nothing."""
        return bool(self.checks) and not self.failures

    @property
    def failures(self) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if check.outcome is Outcome.FAIL)

    @property
    def reasons(self) -> tuple[Reason, ...]:
        return tuple(check.reason for check in self.failures if check.reason is not None)

    def to_json(self) -> dict[str, Any]:
        """Return the verdict with EAR's names where EAR has one (draft-ietf-rats-ear)."""
        return {
            "ear.status": "affirming" if self.accepted else "contraindicated",
            "ear.appraisal-policy-id": f"sha256:{self.policy_sha256}",
            "iat": self.at,
            "tee": self.tee,
            "simulated": self.simulated,
            "claims": [_check_json(check) for check in self.checks],
        }

    def __str__(self) -> str:
        """Return the verdict as a tree that people can read."""
        word = "accepted" if self.accepted else "REFUSED"
        what = f"SIMULATED {self.tee} (no hardware protects this server)" if self.simulated else self.tee
        lines = [f"{word}: {what}"]
        for position, check in enumerate(self.checks):
            branch = "└─" if position == len(self.checks) - 1 else "├─"
            lines.append(f"{branch} {_MARKS[check.outcome]} {check.claim}: {_describe(check)}")
            if check.accepted_by:
                lines.append(f"{'│' if branch == '├─' else ' '}          accepted by: {check.accepted_by}")
        return "\n".join(lines)


_MARKS = {Outcome.PASS: "pass   ", Outcome.FAIL: "FAIL   ", Outcome.UNKNOWN: "unknown"}


def judge(  # noqa: PLR0913  one row of a verdict
    claim: str,
    holds: bool,
    reason: Reason,
    *,
    source: str,
    found: str,
    expected: str = "",
    accepted_by: str = "",
) -> Check:
    """Return a demanded claim as PASS or FAIL."""
    if holds:
        return Check(claim, Outcome.PASS, source, _printable(found), _printable(expected))
    shown, wanted, line = map(_printable, (found, expected, accepted_by))
    return Check(claim, Outcome.FAIL, source, shown, wanted, reason, line)


def judge_equal(claim: str, found: bytes | int, expected: bytes | int, reason: Reason) -> Check:
    """Judge a signed field that must be exactly this. Its key in a policy has the claim's name."""
    shown, wanted = (value.hex() if isinstance(value, bytes) else str(value) for value in (found, expected))
    line = f'{claim} = "{shown}"' if isinstance(found, bytes) else f"{claim} = {shown}"
    return judge(
        claim, found == expected, reason, source="evidence", found=shown, expected=wanted, accepted_by=line
    )


def judge_at_least(
    claim: str, found: int, least: int, reason: Reason, *, key: str, source: str = "evidence"
) -> Check:
    """Judge a number that only grows against the least that `key` of a policy accepts."""
    return judge(
        claim,
        found >= least,
        reason,
        source=source,
        found=str(found),
        expected=f"{least} or newer",
        accepted_by=f"{key} = {found}",
    )


def established(claim: str, found: str, *, source: str) -> Check:
    """Return a claim that the verification has shown: without it there would be no claims to judge."""
    return Check(claim, Outcome.PASS, source, found)


def unknown(claim: str, *, source: str, found: str) -> Check:
    """Return a claim that nobody demanded and nothing proves."""
    return Check(claim, Outcome.UNKNOWN, source, _printable(found))


def _printable(found: str) -> str:
    """A server chooses its names and settings: they may not paint over a terminal or break a log's lines."""
    if found.isprintable():
        return found
    return "".join(character if character.isprintable() else "?" for character in found)


def fewest_failures(candidates: Iterable[tuple[Check, ...]]) -> tuple[Check, ...]:
    """Return the candidate that came nearest to acceptance: the one whose failures help the reader most."""
    return min(candidates, key=lambda checks: sum(check.outcome is Outcome.FAIL for check in checks))


def _describe(check: Check) -> str:
    if check.outcome is Outcome.FAIL:
        wanted = f", expected {check.expected}" if check.expected else ""
        return f"{check.found}{wanted} [{check.reason}]"
    return check.found


def _check_json(check: Check) -> Mapping[str, str]:
    fields = {
        "claim": check.claim,
        "outcome": str(check.outcome),
        "source": check.source,
        "found": check.found,
        "expected": check.expected,
        "reason": str(check.reason or ""),
        "accepted_by": check.accepted_by,
    }
    return {key: value for key, value in fields.items() if value}
