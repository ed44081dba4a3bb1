"""Whether collateral is worth stapling: the code that clients run says so, with evidence of this machine.

Clients refuse for more reasons than a server may act on, and the verifier gives them in the order of its
steps: a date or the debug mode is refused before the vendor's texts are looked at. So there are four answers.
Refused for what the vendor signed about this machine (revoked, its TCB): the truth, stapled at once. Refused
for a date, an issuer or the debug mode, or evidence that this version does not read: some signatures nobody
has looked at, so it replaces nothing that verifies; but it is not dropped either, for the clock of this
machine may be what is wrong. All else is forged, damaged or another machine's.
"""

from __future__ import annotations

from blindai.attestation import vendors
from blindai.attestation.trust import Trust
from blindai.attestation.types import Collateral, Evidence
from blindai.errors import AttestationError, EvidenceRejected, Reason
from blindai.transport.collateral.adoption import Judged, Standing

_BEFORE_THE_TEXTS = frozenset(
    {
        Reason.COLLATERAL_EXPIRED,
        Reason.COLLATERAL_NOT_YET_VALID,
        Reason.CRL_EXPIRED,
        Reason.CERTIFICATE_EXPIRED,
        Reason.CERTIFICATE_NOT_YET_VALID,
        # Not of this machine: a signer of texts that was withdrawn, and whose key others may have.
        Reason.ISSUER_REVOKED,
    }
)
_OF_THE_EVIDENCE = frozenset(
    {
        Reason.DEBUG_ENABLED,
        Reason.EVIDENCE_UNKNOWN_TYPE,
        Reason.EVIDENCE_TOO_LARGE,
        Reason.QUOTE_MALFORMED,
        Reason.QUOTE_TRAILING_BYTES,
        Reason.REPORT_MALFORMED,
        Reason.EVENT_LOG_MALFORMED,
        Reason.EVENT_LOG_MISMATCH,
    }
)


def judged(sample: Evidence, collateral: Collateral, *, trust: Trust, now: int) -> Judged:
    """Verify a sample of the machine's evidence with collateral at Unix time `now`. Pure."""
    try:
        vendors.verify(sample, collateral, trust=trust, now=now)
    except AttestationError as exc:
        return _standing(exc)
    return Judged(Standing.VERIFIED)


def _standing(refusal: AttestationError) -> Judged:
    # The reason alone: it is a word of ours, whatever was refused.
    if refusal.reason in _OF_THE_EVIDENCE:
        return Judged(Standing.UNDECIDED)
    if refusal.reason in _BEFORE_THE_TEXTS:
        return Judged(Standing.UNDECIDED, f"it is refused: {refusal.reason}")
    if isinstance(refusal, EvidenceRejected):
        return Judged(Standing.REFUSED, f"it is refused: {refusal.reason}")
    return Judged(Standing.FORGED, f"{refusal.reason}")
