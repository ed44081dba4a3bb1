"""A verdict for every refusal: also for one that came before there were claims to judge.

What was malformed or forged is never appraised, and the whole verdict is then the one claim that failed.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager

from blindai.attestation.policy import Policy
from blindai.attestation.verdict import Verdict, judge
from blindai.errors import AttestationError, EvidenceForged, EvidenceMalformed, EvidenceRejected, Reason

UNKNOWN_TEE = "unknown"


@contextmanager
def with_verdict(policy: Policy, now: int) -> Generator[None]:
    """Give whatever AttestationError leaves the block a verdict, unless it has one."""
    try:
        yield
    except AttestationError as error:
        if error.verdict is None:
            error.verdict = _verdict(error, policy, now)
        raise


def _verdict(error: AttestationError, policy: Policy, now: int) -> Verdict:
    claim, source = _CLAIMS.get(error.reason) or _OTHERWISE.get(type(error), ("evidence", "evidence"))
    found = str(error).removesuffix(f" [{error.reason}]")
    check = judge(claim, False, error.reason, source=source, found=found)
    # Nothing was verified, so nothing is known of the platform: not even that it is a simulation.
    return Verdict(tee=UNKNOWN_TEE, simulated=False, at=now, policy_sha256=policy.sha256, checks=(check,))


# The claim that failed, where it is found, and the reasons for it. What a verdict calls a claim when all is
# well is called the same here.
_ROWS = (
    ("answer", "channel", (Reason.ANSWER_FRAMING, Reason.ANSWER_TOO_LARGE, Reason.ANSWER_MALFORMED)),
    ("bundle", "channel", (Reason.BUNDLE_MALFORMED,)),
    ("proof", "proof", (Reason.PROOF_MALFORMED,)),
    ("receipt", "receipt", (Reason.RECEIPT_MALFORMED, Reason.RECEIPT_HEADER)),
    ("receipt", "receipt", (Reason.RECEIPT_SIGNATURE, Reason.RECEIPT_KEYSET)),
    ("challenge", "channel", (Reason.CHALLENGE_MISSING, Reason.CHALLENGE_MALFORMED)),
    ("tls_key", "channel", (Reason.TLS_KEY_MISMATCH,)),
    ("operator", "channel", (Reason.OPERATOR_FORGED,)),
    ("trust_anchor", "channel", (Reason.SIMULATION_MISMATCH,)),
    ("trust_anchor", "evidence", (Reason.ROOT_UNKNOWN,)),
    ("keyset", "keyset", (Reason.KEYSET_MALFORMED,)),
    ("keyset_valid", "keyset", (Reason.KEYSET_EXPIRED,)),
    (
        "chain",
        "evidence",
        (Reason.CHAIN_INVALID, Reason.CERTIFICATE_EXPIRED, Reason.CERTIFICATE_NOT_YET_VALID),
    ),
    ("certificate", "collateral", (Reason.CERTIFICATE_MALFORMED,)),
    ("revocation", "collateral", (Reason.CERTIFICATE_REVOKED, Reason.ISSUER_REVOKED)),
    ("crl", "collateral", (Reason.CRL_FORGED, Reason.CRL_EXPIRED, Reason.CRL_MISSING)),
    ("collateral", "collateral", (Reason.COLLATERAL_MISSING, Reason.COLLATERAL_TOO_LARGE)),
    ("collateral", "collateral", (Reason.COLLATERAL_MALFORMED,)),
    ("collateral", "collateral", (Reason.COLLATERAL_MISMATCH, Reason.COLLATERAL_OTHER_TEE)),
    ("collateral_dates", "collateral", (Reason.COLLATERAL_EXPIRED, Reason.COLLATERAL_NOT_YET_VALID)),
    ("event_log", "collateral", (Reason.EVENT_LOG_MALFORMED, Reason.EVENT_LOG_MISMATCH)),
    ("tcb_status", "collateral", (Reason.TCB_REVOKED, Reason.TCB_UNKNOWN)),
    ("report_data", "evidence", (Reason.REPORT_DATA_MISMATCH,)),
    ("debug", "evidence", (Reason.DEBUG_ENABLED,)),
)
_CLAIMS = {reason: (claim, source) for claim, source, reasons in _ROWS for reason in reasons}
_OTHERWISE: Mapping[type[AttestationError], tuple[str, str]] = {
    EvidenceMalformed: ("evidence_format", "evidence"),
    EvidenceForged: ("signature", "evidence"),
    EvidenceRejected: ("platform", "evidence"),
}
