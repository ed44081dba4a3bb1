"""The judgement of verified SEV-SNP claims against an entry of a policy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from blindai.attestation.amd.snp import TEE, SnpClaims
from blindai.attestation.verdict import Check, Outcome, judge, judge_at_least, judge_equal, unknown
from blindai.errors import Reason

_ALIAS_CHECK = "alias_check_complete"


@dataclass(frozen=True)
class SnpAccept:
    """One `[[accept]] tee = "sev-snp"`. `measurements` are compared; the rest is strict unless named."""

    measurements: Mapping[str, bytes]
    product: str | None
    min_tcb: Mapping[str, int]
    min_guest_svn: int = 0
    max_vmpl: int = 0
    allow_smt: bool = False
    allow_migration: bool = False
    allow_unchecked_aliases: bool = False
    require_crl: bool = True
    require_guest_policy: frozenset[str] = frozenset()
    require_platform_info: frozenset[str] = frozenset()
    require_mitigations: frozenset[int] = frozenset()
    tee: str = TEE


def appraise(accept: SnpAccept, claims: SnpClaims) -> tuple[Check, ...]:
    """Judge every claim that the entry speaks about."""
    return (
        *_identity(accept, claims),
        *_tcb(accept, claims),
        *_guest(accept, claims),
        *_platform(accept, claims),
        _revocation(accept, claims),
    )


_REASONS = {
    "measurement": Reason.MEASUREMENT_MISMATCH,
    "host_data": Reason.HOST_DATA_MISMATCH,
    "id_key_digest": Reason.SIGNER_MISMATCH,
    "author_key_digest": Reason.SIGNER_MISMATCH,
}


def _identity(accept: SnpAccept, claims: SnpClaims) -> Iterator[Check]:
    for name, expected in accept.measurements.items():
        yield judge_equal(name, claims.measurements[name], expected, _REASONS[name])
    yield judge_at_least(
        "guest_svn",
        claims.guest_svn,
        accept.min_guest_svn,
        Reason.SECURITY_VERSION_TOO_LOW,
        key="min_guest_svn",
    )


def _tcb(accept: SnpAccept, claims: SnpClaims) -> Iterator[Check]:
    if accept.product is not None:
        yield judge(
            "product",
            claims.product == accept.product,
            Reason.PLATFORM_CONFIGURATION,
            source="evidence",
            found=claims.product,
            expected=accept.product,
        )
        if claims.product != accept.product:
            return  # the floor counts in another product's numbers
    for name, tcb in claims.tcbs.items():
        if not accept.min_tcb:
            yield unknown(name, source="evidence", found=f"{_numbers(tcb)} (the policy names no floor)")
            continue
        yield judge(
            name,
            all(tcb[component] >= least for component, least in accept.min_tcb.items()),
            Reason.TCB_TOO_LOW,
            source="evidence",
            found=_numbers(tcb),
            expected=f"{_numbers(accept.min_tcb)} or newer",
            accepted_by=f"min_tcb = {{ {_numbers(_lower(tcb, accept.min_tcb))} }}",
        )
    missing = sorted(bit for bit in accept.require_mitigations if not claims.mitigations >> bit & 1)
    yield judge(
        "mitigations",
        not missing,
        Reason.TCB_TOO_LOW,
        source="evidence",
        found=f"{claims.mitigations:#x}" + (f" without bits {missing}" if missing else ""),
        expected=f"bits {sorted(accept.require_mitigations)}" if accept.require_mitigations else "",
    )


def _numbers(tcb: Mapping[str, int]) -> str:
    return ", ".join(f"{name} = {number}" for name, number in tcb.items())


def _lower(tcb: Mapping[str, int], floor: Mapping[str, int]) -> Mapping[str, int]:
    return {name: min(tcb[name], least) for name, least in floor.items()}


def _guest(accept: SnpAccept, claims: SnpClaims) -> Iterator[Check]:
    migration = "migrate_ma" in claims.guest_policy
    yield judge(
        "migration",
        accept.allow_migration or not migration,
        Reason.GUEST_POLICY,
        source="evidence",
        found="allowed" if migration else "not allowed",
        expected="not allowed",
        accepted_by="allow_migration = true",
    )
    missing = accept.require_guest_policy - claims.guest_policy
    yield judge(
        "guest_policy",
        not missing,
        Reason.GUEST_POLICY,
        source="evidence",
        found=_some(claims.guest_policy),
        expected=_some(accept.require_guest_policy),
    )
    yield judge(
        "vmpl",
        claims.vmpl <= accept.max_vmpl,
        Reason.VMPL_TOO_HIGH,
        source="evidence",
        found=str(claims.vmpl),
        expected=f"at most {accept.max_vmpl}",
        accepted_by=f"max_vmpl = {claims.vmpl}",
    )


def _platform(accept: SnpAccept, claims: SnpClaims) -> Iterator[Check]:
    smt = "smt" in claims.platform_info
    yield judge(
        "smt",
        accept.allow_smt or not smt,
        Reason.PLATFORM_CONFIGURATION,
        source="evidence",
        found="on" if smt else "off",
        expected="off",
        accepted_by="allow_smt = true",
    )
    yield judge(
        _ALIAS_CHECK,
        accept.allow_unchecked_aliases or _ALIAS_CHECK in claims.platform_info,
        Reason.PLATFORM_CONFIGURATION,
        source="evidence",
        found="yes" if _ALIAS_CHECK in claims.platform_info else "no",
        expected="yes",
        accepted_by="allow_unchecked_aliases = true",
    )
    missing = accept.require_platform_info - claims.platform_info
    yield judge(
        "platform_info",
        not missing,
        Reason.PLATFORM_CONFIGURATION,
        source="evidence",
        found=_some(claims.platform_info),
        expected=_some(accept.require_platform_info),
    )


def _some(names: frozenset[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def _revocation(accept: SnpAccept, claims: SnpClaims) -> Check:
    if claims.revocation_checked:
        return Check("crl", Outcome.PASS, "collateral", "stapled")
    if not accept.require_crl:
        return unknown("crl", source="collateral", found="none stapled: nothing says what AMD revoked")
    return judge(
        "crl",
        False,
        Reason.CRL_MISSING,
        source="collateral",
        found="none stapled",
        expected="AMD's CRL",
        accepted_by="require_crl = false",
    )
