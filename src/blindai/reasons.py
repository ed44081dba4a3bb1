"""Why a peer was refused: the stable words that errors and verdicts carry."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Stable machine-readable reasons for refusing a peer; the values are part of the public interface."""

    # The answer and what is in it: EvidenceMalformed
    ANSWER_FRAMING = "answer-framing"
    ANSWER_TOO_LARGE = "answer-too-large"
    ANSWER_MALFORMED = "answer-malformed"
    KEYSET_MALFORMED = "keyset-malformed"
    CHALLENGE_MISSING = "challenge-missing"
    CHALLENGE_MALFORMED = "challenge-malformed"
    EVIDENCE_MISSING = "evidence-missing"
    EVIDENCE_TOO_LARGE = "evidence-too-large"
    EVIDENCE_UNKNOWN_TYPE = "evidence-unknown-type"
    QUOTE_MALFORMED = "quote-malformed"
    QUOTE_TRAILING_BYTES = "quote-trailing-bytes"
    COLLATERAL_MISSING = "collateral-missing"
    COLLATERAL_TOO_LARGE = "collateral-too-large"
    COLLATERAL_MALFORMED = "collateral-malformed"
    CERTIFICATE_MALFORMED = "certificate-malformed"

    # Signatures and bindings: EvidenceForged
    ROOT_UNKNOWN = "root-unknown"
    SIGNATURE_INVALID = "signature-invalid"
    COLLATERAL_MISMATCH = "collateral-mismatch"
    REPORT_DATA_MISMATCH = "report-data-mismatch"
    TLS_KEY_MISMATCH = "tls-key-mismatch"
    OPERATOR_FORGED = "operator-forged"

    # Genuine, but not acceptable: EvidenceRejected
    DEBUG_ENABLED = "debug-enabled"
    PLATFORM_UNSUPPORTED = "platform-unsupported"
    COLLATERAL_EXPIRED = "collateral-expired"
    COLLATERAL_NOT_YET_VALID = "collateral-not-yet-valid"
    CERTIFICATE_REVOKED = "certificate-revoked"
    TCB_REVOKED = "tcb-revoked"
    TCB_UNKNOWN = "tcb-unknown"
    TCB_STATUS = "tcb-status"
    TCB_ADVISORY = "tcb-advisory"
    TCB_EVALUATION = "tcb-evaluation"
    TCB_ROLLED_BACK = "tcb-rolled-back"
    PLATFORM_CONFIGURATION = "platform-configuration"
    MEASUREMENT_MISMATCH = "measurement-mismatch"
    TEE_NOT_ACCEPTED = "tee-not-accepted"
    NAME_MISMATCH = "name-mismatch"
    KEYSET_EXPIRED = "keyset-expired"
    KEYSET_NOT_YET_VALID = "keyset-not-yet-valid"
    KEYSET_TOO_LONG = "keyset-too-long"
    SETTING_MISMATCH = "setting-mismatch"
    SIMULATION_MISMATCH = "simulation-mismatch"
    OPERATOR_MISMATCH = "operator-mismatch"
    OPERATOR_UNKNOWN = "operator-unknown"
    POLICY_EXPIRED = "policy-expired"
