"""Lies in what surrounds the evidence: answer, keyset, challenge, binding, names, operator, policy."""

from __future__ import annotations

import dataclasses
import hashlib

from blindai.attestation.trust import ProductionTrust
from blindai.attestation.types import MAX_EVIDENCE_BYTES, TDX_QUOTE, Evidence
from blindai.channel.challenge import Proof
from blindai.errors import Reason
from blindai.testing import TlsIdentity
from blindai.wire import base64url
from tests.attestation.lies.lie import HOUR, forged, malformed, of_entry, of_policy, rejected
from tests.attestation.scene import FAKES, NONCE, NOW, TLS, Client, peer_of, policy_of

OTHER_PIECE = Evidence("application/vnd.example", b"another")
OPERATOR = TlsIdentity.make("operator.example", is_authority=True, now=NOW)
PINNED = f'[operator]\nspki_sha256 = ["{"ab" * 32}"]'
ISOLATED = '[require]\nisolation = "process"'
ATTACKER = TlsIdentity.make("localhost", now=NOW)


def issued_by_operator():
    return peer_of(TlsIdentity.make("localhost", issuer=OPERATOR, now=NOW, key=TLS.key))


def with_the_attackers_key(keyset):
    """Swap the TLS key in the keyset, which the hardware has bound, for the attacker's."""
    old, new = (base64url.encode(identity.spki_sha256).encode() for identity in (TLS, ATTACKER))
    assert old in keyset or TLS.spki_sha256.hex().encode() in keyset
    keyset = keyset.replace(old, new)
    return keyset.replace(TLS.spki_sha256.hex().encode(), ATTACKER.spki_sha256.hex().encode())


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
    malformed("many pieces", Reason.EVIDENCE_TOO_LARGE, answer={"unbound": (OTHER_PIECE,) * 32}),
    *(
        malformed(
            "unknown type", Reason.EVIDENCE_UNKNOWN_TYPE, tee=tee, answer={"media_type": "application/cbor"}
        )
        for tee in FAKES
    ),
    malformed("bound second piece", Reason.EVIDENCE_UNKNOWN_TYPE, answer={"others": (OTHER_PIECE,)}),
    malformed("unbound second piece", Reason.EVIDENCE_UNKNOWN_TYPE, answer={"unbound": (OTHER_PIECE,)}),
    malformed(
        "two quotes",
        Reason.EVIDENCE_UNKNOWN_TYPE,
        answer=lambda tdx: {"others": (tdx.evidence(bytes(64)),)},
    ),
    malformed(
        "operator no PEM",
        Reason.CERTIFICATE_MALFORMED,
        answer={"more_collateral": {"operator": {"certificate": "PEM"}}},
    ),
]

# The same for every TEE: what the hardware signed is not of this server, this key, this client or this name.
BOUND = [
    lie
    for tee in FAKES
    for lie in (
        forged("zero report data", Reason.REPORT_DATA_MISMATCH, tee=tee, answer={"report_data": bytes(64)}),
        forged("another nonce", Reason.REPORT_DATA_MISMATCH, tee=tee, answer={"bound_nonce": b"o" * 32}),
        malformed("nonce absent", Reason.CHALLENGE_MISSING, tee=tee, answer={"omit": ["challenge"]}),
        forged(
            "unbound keyset",
            Reason.REPORT_DATA_MISMATCH,
            tee=tee,
            answer={"sent_keyset": lambda raw: raw.replace(b'"simulated":true', b'"simulated": true')},
        ),
        forged(
            "key swapped in the keyset",
            Reason.REPORT_DATA_MISMATCH,
            tee=tee,
            answer={"sent_keyset": with_the_attackers_key},
            client=lambda _: Client(peer=peer_of(ATTACKER)),
        ),
        forged(
            "key beside the evidence",
            Reason.REPORT_DATA_MISMATCH,
            tee=tee,
            answer={"report_data": hashlib.sha512(NONCE).digest()},
        ),
        forged(
            "swapped key",
            Reason.TLS_KEY_MISMATCH,
            tee=tee,
            client=lambda _: Client(peer=peer_of(ATTACKER)),
        ),
        forged(
            "keyset of another key",
            Reason.TLS_KEY_MISMATCH,
            tee=tee,
            answer={"tls_spki_sha256": hashlib.sha256(b"another").digest()},
        ),
        rejected("another name", Reason.NAME_MISMATCH, tee=tee, answer={"names": ("elsewhere.example",)}),
        forged(
            "production trust",
            Reason.ROOT_UNKNOWN,
            tee=tee,
            client=lambda _: Client(trust=ProductionTrust()),
        ),
        rejected(
            "no entry for its TEE",
            Reason.TEE_NOT_ACCEPTED,
            tee=tee,
            client=of_entry("nitro", f'pcr0 = "{"ab" * 48}"')
            if tee != "nitro"
            else of_entry("sgx", f'mr_enclave = "{"ab" * 32}"'),
        ),
    )
]

FORGED = [
    forged(
        "operator did not issue",
        Reason.OPERATOR_FORGED,
        answer={"more_collateral": {"operator": {"certificate": OPERATOR.pem}}},
    ),
]

REJECTED = [
    rejected(
        "no TEE",
        Reason.TEE_NOT_ACCEPTED,
        client=lambda tdx: Client(policy=dataclasses.replace(policy_of(tdx), accept=())),
    ),
    rejected(
        "not the policy's name",
        Reason.NAME_MISMATCH,
        client=of_policy(top='names = ["inference.example"]'),
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
    rejected("setting absent", Reason.SETTING_MISMATCH, client=of_policy(tables=ISOLATED)),
    rejected(
        "setting differs",
        Reason.SETTING_MISMATCH,
        answer={"settings": {"isolation": "none"}},
        client=of_policy(tables=ISOLATED),
    ),
    *(
        rejected("keyset says real", Reason.SIMULATION_MISMATCH, tee=tee, answer={"simulated": False})
        for tee in FAKES
    ),
    rejected("operator unknown", Reason.OPERATOR_UNKNOWN, client=of_policy(tables=PINNED)),
    rejected(
        "another operator",
        Reason.OPERATOR_MISMATCH,
        answer={"more_collateral": {"operator": {"certificate": OPERATOR.pem}}},
        client=lambda tdx: Client(policy=policy_of(tdx, tables=PINNED), peer=issued_by_operator()),
    ),
    rejected("policy expired", Reason.POLICY_EXPIRED, client=of_policy(top="expires = 2020-01-01")),
]

LIES = [*MALFORMED, *BOUND, *FORGED, *REJECTED]
