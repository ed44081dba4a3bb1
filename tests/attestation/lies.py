"""Every way to be refused: one lie each, and the reason and the class of error that it must end in."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from blindai.attestation.policy import Policy
from blindai.attestation.trust import ProductionTrust
from blindai.attestation.types import MAX_EVIDENCE_BYTES, TDX_QUOTE, Evidence, Floor
from blindai.channel.challenge import Proof
from blindai.errors import AttestationError, EvidenceForged, EvidenceMalformed, EvidenceRejected, Reason
from blindai.testing import EXPIRED, NOT_YET_VALID, FakeTdx, TlsIdentity
from tests.attestation.scene import (
    NOW,
    TLS,
    Client,
    attest,
    peer_of,
    policy_of,
    with_intel,
)

HOUR = 3600
OTHER_PIECE = Evidence("application/vnd.example", b"another")
OPERATOR = TlsIdentity.make("operator.example", is_authority=True, now=NOW)


def requiring(tdx: FakeTdx) -> Policy:
    return policy_of(tdx, tables='[require]\nisolation = "process"')


def issued_by_operator():
    return peer_of(TlsIdentity.make("localhost", issuer=OPERATOR, now=NOW, key=TLS.key))


def operator_pinned(tdx, pin):
    return policy_of(tdx, tables=f'[operator]\nspki_sha256 = ["{pin}"]')


@dataclass(frozen=True)
class Lie:
    """What is wrong (`machine`, `answer`), or what the client demands (`client`), and how it must end."""

    name: str
    reason: Reason
    kind: type[AttestationError]
    machine: dict[str, Any] = field(default_factory=dict)
    answer: dict[str, Any] | Callable[[FakeTdx], dict[str, Any]] = field(default_factory=dict)
    client: Callable[[FakeTdx], Client] | None = None

    def __str__(self):
        return self.name


def malformed(name, reason, **rest):
    return Lie(name, reason, EvidenceMalformed, **rest)


def forged(name, reason, **rest):
    return Lie(name, reason, EvidenceForged, **rest)


def rejected(name, reason, **rest):
    return Lie(name, reason, EvidenceRejected, **rest)


def intel(**members: str) -> Callable[[FakeTdx], dict[str, Any]]:
    return lambda tdx: {"collateral": with_intel(tdx, **members)}


MALFORMED = [
    malformed("not JSON", Reason.ANSWER_MALFORMED, answer={"edit_bytes": lambda _: b"<html>"}),
    malformed("bytes after", Reason.ANSWER_MALFORMED, answer={"edit_bytes": lambda raw: raw + b"{}"}),
    malformed("cut", Reason.ANSWER_MALFORMED, answer={"edit_bytes": lambda raw: raw[:-1]}),
    malformed("too long", Reason.ANSWER_MALFORMED, answer={"edit_bytes": lambda raw: raw + b" " * 2**22}),
    malformed("keyset without version", Reason.KEYSET_MALFORMED, answer={"keyset_raw": b"{}"}),
    malformed("keyset no JSON", Reason.KEYSET_MALFORMED, answer={"keyset_raw": b"\xff"}),
    malformed("no challenge", Reason.CHALLENGE_MISSING, answer={"omit": ["challenge"]}),
    malformed("long path", Reason.CHALLENGE_MALFORMED, answer={"proof": Proof(0, (bytes(32),) * 13)}),
    malformed("index", Reason.CHALLENGE_MALFORMED, answer={"proof": Proof(2, (bytes(32),))}),
    malformed("no evidence", Reason.EVIDENCE_MISSING, answer={"evidence": ()}),
    malformed(
        "large piece",
        Reason.EVIDENCE_TOO_LARGE,
        answer={"evidence": (Evidence(TDX_QUOTE, bytes(MAX_EVIDENCE_BYTES + 1)),)},
    ),
    malformed("many pieces", Reason.EVIDENCE_TOO_LARGE, answer=lambda tdx: {"unbound": (OTHER_PIECE,) * 32}),
    malformed("unknown type", Reason.EVIDENCE_UNKNOWN_TYPE, answer={"media_type": "application/cbor"}),
    malformed("bound second piece", Reason.EVIDENCE_UNKNOWN_TYPE, answer={"others": (OTHER_PIECE,)}),
    malformed("unbound second piece", Reason.EVIDENCE_UNKNOWN_TYPE, answer={"unbound": (OTHER_PIECE,)}),
    malformed(
        "two quotes",
        Reason.EVIDENCE_UNKNOWN_TYPE,
        answer=lambda tdx: {"others": (tdx.evidence(bytes(64)),)},
    ),
    malformed("no quote", Reason.QUOTE_MALFORMED, answer={"evidence": (Evidence(TDX_QUOTE, b"quote"),)}),
    malformed("empty quote", Reason.QUOTE_MALFORMED, answer={"evidence": (Evidence(TDX_QUOTE, b""),)}),
    malformed("byte behind", Reason.QUOTE_TRAILING_BYTES, machine={"trailing": b"\0\0\1"}),
    malformed("no collateral", Reason.COLLATERAL_MISSING, answer={"collateral": {}}),
    malformed("null collateral", Reason.COLLATERAL_MISSING, answer={"collateral": {"intel": None}}),
    malformed("list collateral", Reason.COLLATERAL_MALFORMED, answer={"collateral": {"intel": []}}),
    malformed("large", Reason.COLLATERAL_TOO_LARGE, answer=intel(tcb_info=" " * 2**18)),
    malformed("CRL not hex", Reason.COLLATERAL_MALFORMED, answer=intel(pck_crl="zz")),
    malformed("CRL not DER", Reason.COLLATERAL_MALFORMED, answer=intel(root_ca_crl="00")),
    malformed("TCB info no JSON", Reason.COLLATERAL_MALFORMED, answer=intel(tcb_info="{")),
    malformed("chain no PEM", Reason.CERTIFICATE_MALFORMED, answer=intel(tcb_info_issuer_chain="x")),
    malformed("empty chain", Reason.CERTIFICATE_MALFORMED, answer=intel(pck_crl_issuer_chain="")),
    malformed(
        "long chain",
        Reason.CERTIFICATE_MALFORMED,
        answer=lambda tdx: {"collateral": with_intel(tdx, tcb_info_issuer_chain=tdx.root_pem * 4)},
    ),
    malformed(
        "operator no PEM",
        Reason.CERTIFICATE_MALFORMED,
        answer={"more_collateral": {"operator": {"certificate": "PEM"}}},
    ),
]

FORGED = [
    forged("production trust", Reason.ROOT_UNKNOWN, client=lambda _: Client(trust=ProductionTrust())),
    forged(
        "another root",
        Reason.ROOT_UNKNOWN,
        answer=lambda _: {"collateral": FakeTdx(now=NOW).collateral()},
    ),
    forged(
        "one foreign chain",
        Reason.ROOT_UNKNOWN,
        answer=lambda tdx: {
            "collateral": with_intel(
                tdx, tcb_info_issuer_chain=FakeTdx(now=NOW).collateral()["intel"]["tcb_info_issuer_chain"]
            )
        },
    ),
    forged("flip in the body", Reason.SIGNATURE_INVALID, machine={"flipped_bit_at": 48 + 136}),
    forged("flip in the report data", Reason.SIGNATURE_INVALID, machine={"flipped_bit_at": 48 + 583}),
    forged("flip in the signature", Reason.SIGNATURE_INVALID, machine={"flipped_bit_at": 640}),
    forged("flip in the key", Reason.SIGNATURE_INVALID, machine={"flipped_bit_at": 700}),
    forged("flip in the QE report", Reason.SIGNATURE_INVALID, machine={"flipped_bit_at": 800}),
    forged("TCB signature", Reason.SIGNATURE_INVALID, answer=intel(tcb_info_signature="00" * 64)),
    forged("QE signature", Reason.SIGNATURE_INVALID, answer=intel(qe_identity_signature="00" * 64)),
    forged("another quoting enclave", Reason.SIGNATURE_INVALID, machine={"qe_identity_mrsigner": b"q" * 32}),
    forged("another FMSPC", Reason.COLLATERAL_MISMATCH, machine={"tcb_info_fmspc": b"SIM\1\1\1"}),
    forged("the TCB info of SGX", Reason.COLLATERAL_MISMATCH, machine={"tcb_info_id": "SGX"}),
    forged("the QE identity of SGX", Reason.COLLATERAL_MISMATCH, machine={"qe_identity_id": "QE"}),
    forged("zero report data", Reason.REPORT_DATA_MISMATCH, answer={"report_data": bytes(64)}),
    forged("another nonce", Reason.REPORT_DATA_MISMATCH, answer={"bound_nonce": b"o" * 32}),
    forged(
        "unbound keyset",
        Reason.REPORT_DATA_MISMATCH,
        answer={"sent_keyset": lambda raw: raw.replace(b'"simulated":true', b'"simulated": true')},
    ),
    forged("swapped key", Reason.TLS_KEY_MISMATCH, client=lambda _: Client(peer=peer_of(TlsIdentity.make()))),
    forged(
        "keyset of another key",
        Reason.TLS_KEY_MISMATCH,
        answer={"tls_spki_sha256": hashlib.sha256(b"another").digest()},
    ),
    forged(
        "operator did not issue",
        Reason.OPERATOR_FORGED,
        answer={"more_collateral": {"operator": {"certificate": OPERATOR.pem}}},
    ),
]

REJECTED = [
    rejected("debug", Reason.DEBUG_ENABLED, machine={"debug": True}),
    rejected("no SEPT_VE_DISABLE", Reason.PLATFORM_UNSUPPORTED, machine={"td_attributes": bytes(8)}),
    rejected(
        "service domain",
        Reason.PLATFORM_UNSUPPORTED,
        machine={"quote_version": 5, "body_type": 3, "mr_service_td": b"s" * 48},
    ),
    rejected(
        "migratable",
        Reason.PLATFORM_UNSUPPORTED,
        machine={"td_attributes": bytes.fromhex("0000003000000000")},
    ),
    *(
        rejected(f"{piece} {name}", reason, machine={piece: window})
        for piece in ("certificates", "collateral", "tcb_info", "qe_identity", "pck_crl", "root_crl")
        for name, window, reason in (
            ("expired", EXPIRED, Reason.COLLATERAL_EXPIRED),
            ("from the future", NOT_YET_VALID, Reason.COLLATERAL_NOT_YET_VALID),
        )
    ),
    rejected("PCK revoked", Reason.CERTIFICATE_REVOKED, machine={"pck_revoked": True}),
    rejected("platform CA revoked", Reason.CERTIFICATE_REVOKED, machine={"platform_ca_revoked": True}),
    rejected("TCB signer revoked", Reason.CERTIFICATE_REVOKED, machine={"tcb_signer_revoked": True}),
    rejected("TCB revoked", Reason.TCB_REVOKED, machine={"tcb_status": "Revoked"}),
    rejected("module revoked", Reason.TCB_REVOKED, machine={"module_status": "Revoked"}),
    rejected("QE revoked", Reason.TCB_REVOKED, machine={"qe_status": "Revoked"}),
    rejected("below every level", Reason.TCB_UNKNOWN, machine={"tcb_status": None}),
    *(
        rejected(f"status {status}", Reason.TCB_STATUS, machine={"tcb_status": status})
        for status in (
            "SWHardeningNeeded",
            "ConfigurationNeeded",
            "ConfigurationAndSWHardeningNeeded",
            "OutOfDate",
            "OutOfDateConfigurationNeeded",
        )
    ),
    rejected("module out of date", Reason.TCB_STATUS, machine={"module_status": "OutOfDate"}),
    rejected("QE out of date", Reason.TCB_STATUS, machine={"qe_status": "OutOfDate"}),
    rejected("advisory", Reason.TCB_ADVISORY, machine={"advisories": ("INTEL-SA-00001",)}),
    rejected(
        "old evaluation",
        Reason.TCB_EVALUATION,
        client=lambda tdx: Client(policy=policy_of(tdx, entry="min_tcb_evaluation = 19")),
    ),
    rejected(
        "rolled back",
        Reason.TCB_ROLLED_BACK,
        client=lambda tdx: Client(floors={attest(tdx).platform: Floor(tcb_evaluation=19)}),
    ),
    rejected("dynamic", Reason.PLATFORM_CONFIGURATION, machine={"dynamic_platform": True}),
    rejected("cached keys", Reason.PLATFORM_CONFIGURATION, machine={"cached_keys": True}),
    rejected("SMT", Reason.PLATFORM_CONFIGURATION, machine={"smt": True}),
    rejected(
        "other code",
        Reason.MEASUREMENT_MISMATCH,
        client=lambda tdx: Client(policy=policy_of(tdx, entry=f'rtmr3 = "{"ab" * 48}"')),
    ),
    rejected(
        "no TEE",
        Reason.TEE_NOT_ACCEPTED,
        client=lambda tdx: Client(policy=dataclasses.replace(policy_of(tdx), accept=())),
    ),
    rejected("another name", Reason.NAME_MISMATCH, answer={"names": ("elsewhere.example",)}),
    rejected(
        "not the policy's name",
        Reason.NAME_MISMATCH,
        client=lambda tdx: Client(policy=policy_of(tdx, top='names = ["inference.example"]')),
    ),
    rejected(
        "keyset ended",
        Reason.KEYSET_EXPIRED,
        answer={"not_before": NOW - HOUR, "not_after": NOW},
    ),
    rejected(
        "keyset of tomorrow",
        Reason.KEYSET_NOT_YET_VALID,
        answer={"not_before": NOW + 301, "not_after": NOW + HOUR},
    ),
    rejected("keyset over 48 h", Reason.KEYSET_TOO_LONG, answer={"not_after": NOW + 48 * HOUR + 1}),
    rejected("backwards", Reason.KEYSET_TOO_LONG, answer={"not_before": NOW + 2, "not_after": NOW + 1}),
    rejected("setting absent", Reason.SETTING_MISMATCH, client=lambda tdx: Client(policy=requiring(tdx))),
    rejected(
        "setting differs",
        Reason.SETTING_MISMATCH,
        answer={"settings": {"isolation": "none"}},
        client=lambda tdx: Client(policy=requiring(tdx)),
    ),
    rejected("keyset says real", Reason.SIMULATION_MISMATCH, answer={"simulated": False}),
    rejected(
        "operator unknown",
        Reason.OPERATOR_UNKNOWN,
        client=lambda tdx: Client(policy=operator_pinned(tdx, "ab" * 32)),
    ),
    rejected(
        "another operator",
        Reason.OPERATOR_MISMATCH,
        answer={"more_collateral": {"operator": {"certificate": OPERATOR.pem}}},
        client=lambda tdx: Client(policy=operator_pinned(tdx, "ab" * 32), peer=issued_by_operator()),
    ),
    rejected(
        "policy expired",
        Reason.POLICY_EXPIRED,
        client=lambda tdx: Client(policy=policy_of(tdx, top="expires = 2020-01-01")),
    ),
]

LIES = [*MALFORMED, *FORGED, *REJECTED]
BEFORE_THE_APPRAISAL = {
    Reason.DEBUG_ENABLED,
    Reason.PLATFORM_UNSUPPORTED,
    Reason.COLLATERAL_EXPIRED,
    Reason.COLLATERAL_NOT_YET_VALID,
    Reason.CERTIFICATE_REVOKED,
    Reason.TCB_REVOKED,
    Reason.TCB_UNKNOWN,
}
JUDGED = [lie for lie in REJECTED if lie.reason not in BEFORE_THE_APPRAISAL]
# Framing is judged before there is an answer: tests/channel/test_fetch_answer.py.
OF_THE_FRAMING = {Reason.ANSWER_FRAMING, Reason.ANSWER_TOO_LARGE}


def told(lie: Lie) -> tuple[FakeTdx, Client, dict[str, Any]]:
    tdx = FakeTdx(now=NOW, **lie.machine)
    client = lie.client(tdx) if lie.client else Client()
    return tdx, client, lie.answer(tdx) if callable(lie.answer) else lie.answer
