"""What a policy may demand of TDX, and the judgement of verified claims against it.

Code identity is MRTD (the firmware) with RTMR1 and RTMR2 (kernel, command line, initrd, application):
MRTD alone names a cloud's firmware, not our code, so all three are required.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from blindai.attestation.intel.tdx import MEASUREMENTS, TEE, TdxClaims
from blindai.attestation.toml_table import Table
from blindai.attestation.verdict import Check, judge
from blindai.errors import PolicyError, Reason

CODE_IDENTITY = ("mrtd", "rtmr1", "rtmr2")
DIGEST_BYTES = 48
TCB_STATUSES = (
    "UpToDate", "SWHardeningNeeded", "ConfigurationNeeded", "ConfigurationAndSWHardeningNeeded",
    "OutOfDate", "OutOfDateConfigurationNeeded",
)  # fmt: skip


@dataclass(frozen=True)
class TdxAccept:
    """One `[[accept]] tee = "tdx"`. `measurements` are compared; the rest are the defaults unless named."""

    measurements: Mapping[str, bytes]
    tcb_status: frozenset[str] = frozenset({"UpToDate"})
    allow_advisories: frozenset[str] = frozenset()
    min_tcb_evaluation: int = 0
    allow_dynamic_platform: bool = False
    allow_cached_keys: bool = False
    allow_smt: bool = False
    tee: str = TEE


def load(table: Table) -> TdxAccept:
    """Read an entry, or raise PolicyError. A missing code identity does not load."""
    if "allow_debug" in table:
        raise table.error("allow_debug", "is not offered for tdx: a debug trust domain is always refused")
    measurements = {
        name: value
        for name in MEASUREMENTS
        if (value := table.hexadecimal(name, size_bytes=DIGEST_BYTES)) is not None
    }
    statuses = table.strings("tcb_status", default=("UpToDate",))
    for status in statuses:
        if status not in TCB_STATUSES:
            raise table.error("tcb_status", f"knows {', '.join(TCB_STATUSES)}; not {status!r}")
    accept = TdxAccept(
        measurements=measurements,
        tcb_status=frozenset(statuses),
        allow_advisories=frozenset(table.strings("allow_advisories")),
        min_tcb_evaluation=table.integer("min_tcb_evaluation", default=0),
        allow_dynamic_platform=table.boolean("allow_dynamic_platform", default=False),
        allow_cached_keys=table.boolean("allow_cached_keys", default=False),
        allow_smt=table.boolean("allow_smt", default=False),
    )
    table.finish()  # first: a misspelt digest is named as that, not as missing
    missing = [name for name in CODE_IDENTITY if name not in measurements]
    if missing:
        raise PolicyError(
            f"{table.error('tee', 'says tdx')}, but {' and '.join(missing)} is missing: "
            "without mrtd, rtmr1 and rtmr2 the policy does not say which code it accepts",
            hint="blindai measure prints them",
        )
    return accept


DEFAULTS = TdxAccept(measurements={})
"""What is demanded of the platform when nobody named a measurement (simulation without a policy)."""


def appraise(accept: TdxAccept, claims: TdxClaims) -> tuple[Check, ...]:
    """Judge every claim that the entry speaks about."""
    measured = tuple(
        judge(
            name,
            claims.measurements[name] == expected,
            Reason.MEASUREMENT_MISMATCH,
            source="evidence",
            found=claims.measurements[name].hex(),
            expected=expected.hex(),
        )
        for name, expected in accept.measurements.items()
    )
    return (*measured, *_tcb(accept, claims), *_configuration(accept, claims))


def _tcb(accept: TdxAccept, claims: TdxClaims) -> tuple[Check, ...]:
    refused = sorted(set(claims.advisories) - accept.allow_advisories)
    return (
        judge(
            "tcb_status",
            claims.tcb_status in accept.tcb_status,
            Reason.TCB_STATUS,
            source="collateral",
            found=claims.tcb_status,
            expected=" or ".join(sorted(accept.tcb_status)),
        ),
        judge(
            "tcb_advisories",
            not refused,
            Reason.TCB_ADVISORY,
            source="collateral",
            found=", ".join(claims.advisories) or "none",
            expected=", ".join(sorted(accept.allow_advisories)) or "none",
        ),
        judge(
            "tcb_evaluation",
            claims.tcb_evaluation >= accept.min_tcb_evaluation,
            Reason.TCB_EVALUATION,
            source="collateral",
            found=str(claims.tcb_evaluation),
            expected=f"{accept.min_tcb_evaluation} or newer",
        ),
    )


def _configuration(accept: TdxAccept, claims: TdxClaims) -> tuple[Check, ...]:
    features = {
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
            expected=f"off (allow_{name} = true accepts it)",
        )
        for name, (present, allowed) in features.items()
    )
