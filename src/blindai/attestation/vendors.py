"""The only file that knows every vendor. A TEE is a slice: verify, load, appraise, entry_toml.

Slices do not know each other. Adding a TEE is adding a line to each table below.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from blindai.attestation import relaxation
from blindai.attestation.amd import snp, snp_policy
from blindai.attestation.aws import nitro, nitro_policy
from blindai.attestation.intel import sgx, sgx_policy, tdx, tdx_policy
from blindai.attestation.relaxation import Relaxation
from blindai.attestation.toml_table import Table
from blindai.attestation.trust import Trust
from blindai.attestation.types import (
    NITRO_DOCUMENT,
    SGX_QUOTE,
    SNP_REPORT,
    TDX_QUOTE,
    Accept,
    Claims,
    Collateral,
    Evidence,
)
from blindai.attestation.verdict import Check
from blindai.errors import EvidenceMalformed, Reason

_VERIFIERS: dict[str, tuple[str, Any]] = {
    SGX_QUOTE: ("intel", sgx.verify),
    TDX_QUOTE: ("intel", tdx.verify),
    SNP_REPORT: ("amd", snp.verify),
    NITRO_DOCUMENT: ("aws", nitro.verify),
}
_POLICIES: dict[str, Any] = {
    sgx.TEE: sgx_policy,
    tdx.TEE: tdx_policy,
    snp.TEE: snp_policy,
    nitro.TEE: nitro_policy,
}


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
    relaxation.apply(table, _POLICIES[tee].RELAXATIONS)
    accept: Accept = _POLICIES[tee].load(table)
    table.finish()
    return accept


def relaxations(tee: str) -> Mapping[str, Relaxation]:
    """Return what `relax` may name in an entry of this TEE."""
    return {offered.name: offered for offered in _POLICIES[tee].RELAXATIONS}


def appraise(accept: Accept, claims: Claims, *, now: int) -> tuple[Check, ...]:
    """Judge claims against an entry of the same TEE."""
    checks: tuple[Check, ...] = _POLICIES[claims.tee].appraise(accept, claims, now=now)
    return checks


def defaults(tee: str) -> Accept:
    """Return what is demanded of a platform of this TEE beside its measurements."""
    accept: Accept = _POLICIES[tee].DEFAULTS
    return accept


def entry_toml(claims: Claims) -> str:
    """Return the `[[accept]]` entry that accepts exactly the code of verified claims; strict otherwise."""
    keys: str = _POLICIES[claims.tee].entry_toml(claims)
    return f'[[accept]]\ntee = "{claims.tee}"\n{keys}'
