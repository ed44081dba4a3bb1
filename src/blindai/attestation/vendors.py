"""The only file that knows every vendor. A vendor is a slice: verify, load_accept, appraise.

Slices do not know each other. Adding a TEE is adding a line to each table below.
"""

from __future__ import annotations

from typing import Any

from blindai.attestation.intel import tdx, tdx_policy
from blindai.attestation.toml_table import Table
from blindai.attestation.trust import Trust
from blindai.attestation.types import TDX_QUOTE, Accept, Claims, Collateral, Evidence
from blindai.attestation.verdict import Check
from blindai.errors import EvidenceMalformed, Reason

_VERIFIERS: dict[str, tuple[str, Any]] = {TDX_QUOTE: ("intel", tdx.verify)}
_POLICIES: dict[str, Any] = {tdx.TEE: tdx_policy}


def verify(evidence: Evidence, collateral: Collateral, *, trust: Trust, now: int) -> Claims:
    """Verify one piece of evidence with its vendor's code, or raise AttestationError."""
    if evidence.media_type not in _VERIFIERS:
        raise EvidenceMalformed(
            Reason.EVIDENCE_UNKNOWN_TYPE,
            "the evidence is of a type that this version does not know",
            hint="a newer blindai may know it",
        )
    vendor, verifier = _VERIFIERS[evidence.media_type]
    claims: Claims = verifier(evidence.value, collateral.get(vendor), trust=trust, now=now)
    return claims


def load_accept(table: Table) -> Accept:
    """Read one `[[accept]]` entry with its TEE's grammar, or raise PolicyError."""
    tee = table.string("tee")
    if tee not in _POLICIES:
        raise table.error("tee", f"must be one of {', '.join(sorted(_POLICIES))}; not {tee!r}")
    accept: Accept = _POLICIES[tee].load(table)
    table.finish()
    return accept


def appraise(accept: Accept, claims: Claims) -> tuple[Check, ...]:
    """Judge claims against an entry of the same TEE."""
    checks: tuple[Check, ...] = _POLICIES[claims.tee].appraise(accept, claims)
    return checks


def defaults(tee: str) -> Accept:
    """Return what is demanded of a platform of this TEE beside its measurements."""
    accept: Accept = _POLICIES[tee].DEFAULTS
    return accept
