"""The verdict on one sample, from its files, its TEE and a time. Nothing here knows what was expected."""

from __future__ import annotations

import binascii
import hmac
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from blindai.attestation import vendors
from blindai.attestation.aws.nitro import NitroClaims
from blindai.attestation.intel.evidence import IntelClaims
from blindai.attestation.policy import Policy
from blindai.attestation.trust import ProductionTrust
from blindai.attestation.types import Claims
from blindai.attestation.verdict import Check, Outcome
from blindai.errors import AttestationError, EvidenceForged, PolicyError, Reason
from blindai.testing.samples import folder as folders

ACCEPT, REJECT, UNSUPPORTED = "accept", "reject", "unsupported"
REPORT_DATA_BYTES = 64
# A Nitro leaf lives three hours and a few seconds, and signs one document or many in that time.
NITRO_LEAF_SECONDS = 3 * 3600 + 60


@dataclass(frozen=True)
class Circumstances:
    """What the judge is told about a sample. `now` is Unix seconds."""

    tee: str
    now: int


@dataclass(frozen=True)
class Judgement:
    """The verdict. `if_named`: a policy accepts it that names exactly what was found, beside the code.

    `status` and `advisories` are Intel's word on the platform, where the evidence verified.
    """

    verdict: str
    reasons: tuple[Reason, ...] = ()
    detail: str = ""
    if_named: bool = False
    status: str | None = None
    advisories: tuple[str, ...] = ()


def judge(folder: Path, circumstances: Circumstances) -> Judgement:
    """Judge the sample in `folder` under production trust and the policy derived from its own claims."""
    if circumstances.tee not in folders.COVERED:
        return Judgement(UNSUPPORTED)
    try:
        recording = folders.read(folder, circumstances.tee)
        claims = vendors.verify(
            recording.evidence, recording.collateral, trust=ProductionTrust(), now=circumstances.now
        )
        if recording.nonce is not None:
            _check_nonce(claims, recording.nonce)
    except AttestationError as refusal:
        return Judgement(REJECT, (refusal.reason,), str(refusal))
    return _appraised(claims, circumstances.now)


def _check_nonce(claims: Claims, nonce: bytes) -> None:
    """Raise EvidenceForged unless the evidence carries the recorded nonce."""
    if isinstance(claims, NitroClaims):
        carried = {claims.nonce, claims.user_data} - {None}
        expected = set(_readings(nonce))
    else:
        carried = {claims.report_data}
        expected = {reading.ljust(REPORT_DATA_BYTES, b"\0") for reading in _readings(nonce)}
    if not any(hmac.compare_digest(one, other) for one in carried if one for other in expected):
        raise EvidenceForged(
            Reason.REPORT_DATA_MISMATCH, "the hardware signed something else than the recorded nonce"
        )


def _readings(nonce: bytes) -> Iterator[bytes]:
    """Yield the nonce as it is and, where it is hexadecimal text, what that spells. Empty says nothing."""
    if nonce:
        yield nonce
    try:
        spelt = binascii.unhexlify(nonce.strip())
    except ValueError:
        return
    if spelt:
        yield spelt


def _appraised(claims: Claims, now: int) -> Judgement:
    policy = _derived_policy(claims)
    failures = _failures(claims, policy, now)
    named = "".join(f"{check.accepted_by}\n" for check in failures)
    nameable = bool(failures) and all(check.accepted_by for check in failures)
    return Judgement(
        REJECT if failures else ACCEPT,
        tuple(check.reason for check in failures if check.reason is not None),
        "; ".join(f"{check.claim} is {check.found}, expected {check.expected}" for check in failures),
        if_named=nameable and _accepts(policy + named, claims, now),
        status=claims.tcb_status if isinstance(claims, IntelClaims) else None,
        advisories=claims.advisories if isinstance(claims, IntelClaims) else (),
    )


def _derived_policy(claims: Claims) -> str:
    """Return the strict policy of exactly this code, and what every recorded machine of its TEE needs."""
    entry = f"version = 1\n{vendors.entry_toml(claims)}"
    if claims.tee == "nitro":
        return f"{entry}max_age_seconds = {NITRO_LEAF_SECONDS}\n"
    if claims.tee == "sev-snp":
        crl = "" if "revocation" in claims.verified else ', "no-crl"'
        return f'{entry}relax = ["hyper-threading", "unchecked-aliases"{crl}]\n'
    return f'{entry}relax = ["multi-socket", "hyper-threading"]\n'


def _accepts(policy: str, claims: Claims, now: int) -> bool:
    try:
        return not _failures(claims, policy, now)
    except PolicyError:  # what would have to be named is said already, otherwise
        return False


def _failures(claims: Claims, policy: str, now: int) -> tuple[Check, ...]:
    (accept,) = Policy.from_toml(policy).accept
    checks = vendors.appraise(accept, claims, now=now)
    return tuple(check for check in checks if check.outcome is Outcome.FAIL)
