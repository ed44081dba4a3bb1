"""The boundary to `dcap-qvl`: what it verifies, and how its refusals are named."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from blindai.errors import AttestationError, EvidenceForged, EvidenceRejected, Reason


def verify(quote: bytes, collateral: Mapping[str, Any], *, root_der: bytes, now: int) -> dict[str, Any]:
    """Return the claims of a quote whose every signature holds under `root_der`, or raise AttestationError.

    `claims_only` leaves the judgement of the TCB level to our policy; everything cryptographic, and debug,
    profiling, migration and service domains, `dcap-qvl` refuses by itself.
    """
    # Imported here: a client that meets no Intel evidence need not load 7 MB.
    import dcap_qvl  # noqa: PLC0415

    try:
        claims = dcap_qvl.QuoteVerifier(root_der).verify_with_policy(
            quote,
            dcap_qvl.QuoteCollateralV3(**collateral),
            now,
            dcap_qvl.QuotePolicy.claims_only(now),
        )
        verified: dict[str, Any] = json.loads(claims.to_json())
    except ValueError as exc:
        raise _refusal(str(exc)) from exc
    return verified


# Words in dcap-qvl's messages that tell refusals apart. This only names the reason of a refusal that has
# already happened; a message that is not listed is a bad signature. Nothing is ever accepted by text.
_REFUSALS: tuple[tuple[str, Reason, type[AttestationError]], ...] = (
    ("No matching TCB level", Reason.TCB_UNKNOWN, EvidenceRejected),
    ("TCB status is invalid", Reason.TCB_REVOKED, EvidenceRejected),
    ("Revoked", Reason.TCB_REVOKED, EvidenceRejected),
    ("Debug", Reason.DEBUG_ENABLED, EvidenceRejected),
    ("SEPT_VE_DISABLE", Reason.PLATFORM_UNSUPPORTED, EvidenceRejected),
    ("service TD", Reason.SERVICE_TD_BOUND, EvidenceRejected),
    ("migration", Reason.PLATFORM_UNSUPPORTED, EvidenceRejected),
    ("Reserved bits", Reason.PLATFORM_UNSUPPORTED, EvidenceRejected),
    ("PKS", Reason.PLATFORM_UNSUPPORTED, EvidenceRejected),
    ("Fmspc mismatch", Reason.COLLATERAL_MISMATCH, EvidenceForged),
    ("FMSPC mismatch", Reason.COLLATERAL_MISMATCH, EvidenceForged),
)


def _refusal(message: str) -> AttestationError:
    for words, reason, kind in _REFUSALS:
        if words in message:
            return kind(reason, f"the quote is refused: {message}")
    return EvidenceForged(Reason.SIGNATURE_INVALID, f"the quote does not verify: {message}")
