"""What a policy may demand of an Intel platform, SGX and TDX alike: TCB status, advisories, features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from blindai.attestation.intel.evidence import IntelClaims
from blindai.attestation.relaxation import Relaxation
from blindai.attestation.toml_table import Table, not_among, toml_list
from blindai.attestation.verdict import Check, judge, judge_at_least
from blindai.errors import Reason

UP_TO_DATE = "UpToDate"
# Intel's words for how up to date a platform is, and the reason for refusing each. A word that is not here
# cannot be accepted.
STATUS_REASONS = {
    "SWHardeningNeeded": Reason.TCB_HARDENING_NEEDED,
    "ConfigurationNeeded": Reason.TCB_CONFIGURATION_NEEDED,
    "ConfigurationAndSWHardeningNeeded": Reason.TCB_CONFIGURATION_NEEDED,
    "OutOfDate": Reason.TCB_OUT_OF_DATE,
    "OutOfDateConfigurationNeeded": Reason.TCB_OUT_OF_DATE,
}
TCB_STATUSES = (UP_TO_DATE, *STATUS_REASONS)

RELAXATIONS = (
    Relaxation(
        "multi-socket",
        "the platform may be one of several sockets, whose keys are cached by Intel's registration service "
        "and to which a processor can be added later",
        {"allow_dynamic_platform": True, "allow_cached_keys": True},
    ),
    Relaxation(
        "hyper-threading",
        "another tenant may run on the same core at the same time, and observe timing and caches",
        {"allow_smt": True},
    ),
    Relaxation(
        "hardening-needed",
        "the platform has weaknesses that software must mitigate; the advisories still have to be named",
        {"tcb_status": [UP_TO_DATE, "SWHardeningNeeded"]},
    ),
    Relaxation(
        "configuration-needed",
        "the platform's firmware settings leave weaknesses open; the advisories still have to be named",
        {"tcb_status": [UP_TO_DATE, "ConfigurationNeeded", "ConfigurationAndSWHardeningNeeded"]},
    ),
    Relaxation(
        "out-of-date",
        "the platform lacks security updates: published attacks may work; the advisories still have to be "
        "named",
        {"tcb_status": [UP_TO_DATE, "OutOfDate", "OutOfDateConfigurationNeeded"]},
    ),
)


@dataclass(frozen=True)
class TcbAccept:
    """What is demanded of the platform; strict unless named."""

    tcb_status: frozenset[str] = frozenset({UP_TO_DATE})
    allow_advisories: frozenset[str] = frozenset()
    min_tcb_evaluation: int = 0
    allow_dynamic_platform: bool = False
    allow_cached_keys: bool = False
    allow_smt: bool = False


def load(table: Table) -> TcbAccept:
    """Read the platform's keys of an entry, or raise PolicyError."""
    if "allow_debug" in table:
        raise table.error("allow_debug", "is not offered: a debug guest is always refused")
    statuses = table.strings("tcb_status", default=(UP_TO_DATE,))
    for status in statuses:
        if status not in TCB_STATUSES:
            raise table.error("tcb_status", not_among(status, TCB_STATUSES))
    return TcbAccept(
        tcb_status=frozenset(statuses),
        allow_advisories=frozenset(table.strings("allow_advisories")),
        min_tcb_evaluation=table.integer("min_tcb_evaluation", default=0),
        allow_dynamic_platform=table.boolean("allow_dynamic_platform", default=False),
        allow_cached_keys=table.boolean("allow_cached_keys", default=False),
        allow_smt=table.boolean("allow_smt", default=False),
    )


def appraise(accept: TcbAccept, claims: IntelClaims) -> tuple[Check, ...]:
    """Judge the platform."""
    return (*_tcb(accept, claims), *_configuration(accept, claims))


def _tcb(accept: TcbAccept, claims: IntelClaims) -> tuple[Check, ...]:
    refused = sorted(set(claims.advisories) - accept.allow_advisories)
    return (
        judge(
            "tcb_status",
            claims.tcb_status in accept.tcb_status,
            STATUS_REASONS.get(claims.tcb_status, Reason.TCB_UNKNOWN),
            source="collateral",
            found=claims.tcb_status,
            expected=" or ".join(sorted(accept.tcb_status)),
            accepted_by=f"tcb_status = {toml_list(accept.tcb_status | {claims.tcb_status})}",
        ),
        judge(
            "tcb_advisories",
            not refused,
            Reason.TCB_ADVISORY,
            source="collateral",
            found=", ".join(claims.advisories) or "none",
            expected=", ".join(sorted(accept.allow_advisories)) or "none",
            accepted_by=f"allow_advisories = {toml_list(accept.allow_advisories | set(claims.advisories))}",
        ),
        judge_at_least(
            "tcb_evaluation",
            claims.tcb_evaluation,
            accept.min_tcb_evaluation,
            Reason.TCB_EVALUATION,
            key="min_tcb_evaluation",
            source="collateral",
        ),
    )


def _configuration(accept: TcbAccept, claims: IntelClaims) -> tuple[Check, ...]:
    features: Mapping[str, tuple[bool, bool]] = {
        "dynamic_platform": (claims.dynamic_platform, accept.allow_dynamic_platform),
        "cached_keys": (claims.cached_keys, accept.allow_cached_keys),
        "smt": (claims.smt, accept.allow_smt),
    }
    return tuple(
        judge(
            name,
            allowed or not present,
            Reason.PLATFORM_CONFIGURATION,
            source="evidence",
            found="on" if present else "off",
            expected="off",
            accepted_by=f"allow_{name} = true",
        )
        for name, (present, allowed) in features.items()
    )
