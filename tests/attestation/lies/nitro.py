"""Lies about a Nitro enclave."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from blindai.attestation.types import NITRO_DOCUMENT, TDX_QUOTE, Evidence
from blindai.errors import Reason
from blindai.testing import EXPIRED, NOT_YET_VALID
from tests.attestation.lies.lie import HOUR, Lie, forged, malformed, of_policy, rejected
from tests.attestation.scene import NOW, Client, machine_of

TEE = "nitro"
CAPTURED_LONG_AGO = b"n" * 32


def lie(make: Callable[..., Lie], name: str, reason: Reason, **knobs: Any) -> Lie:
    return make(name, reason, tee=TEE, machine=knobs)


def part(index: int, value: Any) -> Callable[[list[Any]], None]:
    return lambda envelope: envelope.__setitem__(index, value)


def a_root_of_the_attackers(bundle: list[bytes]) -> None:
    bundle[0] = machine_of(TEE).root_der


def without_the_zone(bundle: list[bytes]) -> None:
    del bundle[2]


MALFORMED = [
    malformed(
        "no document",
        Reason.DOCUMENT_MALFORMED,
        tee=TEE,
        answer={"evidence": (Evidence(NITRO_DOCUMENT, b"d"),)},
    ),
    malformed("called a TDX quote", Reason.QUOTE_MALFORMED, tee=TEE, answer={"media_type": TDX_QUOTE}),
    lie(malformed, "byte behind", Reason.DOCUMENT_MALFORMED, trailing=b"\0"),
    lie(malformed, "another algorithm", Reason.DOCUMENT_MALFORMED, protected=bytes.fromhex("a1013826")),
    lie(malformed, "unprotected header", Reason.DOCUMENT_MALFORMED, edit_envelope=part(1, {1: -7})),
    lie(malformed, "short signature", Reason.DOCUMENT_MALFORMED, edit_envelope=part(3, bytes(64))),
    lie(malformed, "a member twice", Reason.DOCUMENT_MALFORMED, repeated="pcrs"),
    lie(malformed, "another digest", Reason.DOCUMENT_MALFORMED, digest="SHA256"),
    lie(malformed, "no PCRs", Reason.DOCUMENT_MALFORMED, left_out=("pcrs",)),
    lie(malformed, "no CA bundle", Reason.DOCUMENT_MALFORMED, left_out=("cabundle",)),
    lie(malformed, "PCR 32", Reason.DOCUMENT_MALFORMED, pcrs={32: bytes(48)}),
    lie(malformed, "short PCR", Reason.DOCUMENT_MALFORMED, pcrs={0: b"x" * 32}),
    lie(
        malformed,
        "leaf of another curve",
        Reason.CERTIFICATE_MALFORMED,
        leaf_curve="P-521",
        edit_envelope=part(3, bytes(96)),
    ),
    lie(malformed, "leaf no certificate", Reason.CERTIFICATE_MALFORMED, payload={"certificate": b"x"}),
    malformed(
        "collateral",
        Reason.COLLATERAL_MALFORMED,
        tee=TEE,
        answer={"collateral": {"aws": {"certificate": "x"}}},
    ),
]

FORGED = [
    lie(forged, "root swapped in the bundle", Reason.ROOT_UNKNOWN, edit_bundle=a_root_of_the_attackers),
    lie(forged, "a gap in the chain", Reason.CHAIN_INVALID, edit_bundle=without_the_zone),
    lie(forged, "leaf by a stranger", Reason.CHAIN_INVALID, leaf_by_stranger=True),
    *(
        make
        for authority in ("region", "zone", "instance")
        for make in (
            lie(forged, f"{authority} by a stranger", Reason.CHAIN_INVALID, authority_by_stranger=authority),
            lie(forged, f"{authority} no authority", Reason.CHAIN_INVALID, no_ca=authority),
            lie(forged, f"{authority} may not sign", Reason.CHAIN_INVALID, no_cert_sign=authority),
        )
    ),
    lie(forged, "leaf an authority", Reason.CHAIN_INVALID, leaf_is_ca=True),
    lie(forged, "path too long", Reason.CHAIN_INVALID, path_lengths=(1, 1, 0)),
    lie(forged, "signed by a stranger", Reason.SIGNATURE_INVALID, signed_by_stranger=True),
    lie(forged, "signature of zeros", Reason.SIGNATURE_INVALID, edit_envelope=part(3, bytes(96))),
    lie(forged, "a nonce of another protocol", Reason.REPORT_DATA_MISMATCH, nonce=b"n" * 32),
    lie(forged, "a key beside the binding", Reason.REPORT_DATA_MISMATCH, public_key=b"k" * 32),
    lie(forged, "no user data", Reason.REPORT_DATA_MISMATCH, payload={"user_data": None}),
]

REJECTED = [
    lie(rejected, "debug", Reason.DEBUG_ENABLED, debug=True),
    lie(rejected, "leaf expired", Reason.CERTIFICATE_EXPIRED, leaf_window=EXPIRED),
    lie(rejected, "leaf from the future", Reason.CERTIFICATE_NOT_YET_VALID, leaf_window=NOT_YET_VALID),
    lie(rejected, "zone expired", Reason.CERTIFICATE_EXPIRED, zone_window=EXPIRED),
    rejected(
        "three hours later",
        Reason.CERTIFICATE_EXPIRED,
        tee=TEE,
        client=lambda _: Client(now=NOW + 3 * HOUR),
    ),
    lie(rejected, "an old document", Reason.EVIDENCE_STALE, timestamp_offset=-301),
    rejected("six minutes later", Reason.EVIDENCE_STALE, tee=TEE, client=lambda _: Client(now=NOW + 360)),
    rejected(
        "older than the policy lets it be",
        Reason.EVIDENCE_STALE,
        tee=TEE,
        machine={"timestamp_offset": -61},
        client=of_policy(entry="max_age_seconds = 60"),
    ),
    lie(rejected, "a document of tomorrow", Reason.EVIDENCE_NOT_YET_VALID, timestamp_offset=301),
    *(
        lie(rejected, f"other code in PCR {index}", Reason.MEASUREMENT_MISMATCH, pcrs={index: b"x" * 48})
        for index in (0, 1, 2)
    ),
    rejected(
        "PCR not in the document",
        Reason.MEASUREMENT_MISMATCH,
        tee=TEE,
        client=of_policy(entry=f'pcr17 = "{"ab" * 48}"'),
    ),
]

TRUTHS: dict[str, Any] = {
    "a document with a tag": ({"tagged": True}, None),
    "five minutes old": ({"timestamp_offset": -300}, None),
}
LIES = [*MALFORMED, *FORGED, *REJECTED]
