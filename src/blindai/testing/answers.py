"""Attestation answers made by the production encoders: valid as they come, and one keyword for each lie."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol, TypedDict, Unpack

from blindai import __version__
from blindai.attestation.binding import report_data
from blindai.attestation.types import Evidence
from blindai.channel import answer, challenge, keyset
from blindai.tee.attester import Attester

_SOURCES = hashlib.sha256(b"").hexdigest()
_RECEIPT_KEY = hashlib.sha256(b"blindai.testing: no private half exists").digest()


class StaplingAttester(Attester, Protocol):
    """An attester that has its own collateral, as every simulated one and every fake has."""

    def collateral(self) -> dict[str, Any]: ...


class KeysetFields(TypedDict, total=False):
    """Fields of the keyset that replace the defaults; the keyset stays well-formed and bound."""

    receipt_key: bytes
    not_before: int
    not_after: int
    software: keyset.Software
    settings: Mapping[str, keyset.SettingValue]
    simulated: bool


class Lies(KeysetFields, total=False):
    """What `make_answer` can be told to do otherwise. What is not named stays true."""

    # Bound as the hardware binds it, yet not what it should be.
    keyset_raw: bytes  # these bytes instead of an encoded keyset: duplicate keys, another version, ...
    bound_nonce: bytes  # the quote is fresh for this nonce, not for the client's
    waiting: Sequence[bytes]  # nonces of other clients in the same batch; the client's comes last
    others: Sequence[Evidence]  # more pieces of evidence, bound

    # What is sent differs from what was bound.
    report_data: bytes  # 64 bytes for the quote instead of the binding
    sent_keyset: Callable[[bytes], bytes]  # changes the keyset after it was bound
    media_type: str  # of the primary piece
    evidence: Sequence[Evidence]  # these pieces instead of all that were bound
    unbound: Sequence[Evidence]  # more pieces, that the quote knows nothing of
    proof: challenge.Proof  # instead of the client's path
    collateral: Mapping[str, Any]  # instead of the attester's
    more_collateral: Mapping[str, Any]  # beside the attester's
    omit: Collection[str]  # members left out: "challenge", "evidence", "collateral", "keyset", "version"
    edit: Callable[[dict[str, Any]], None]  # changes the JSON object
    edit_bytes: Callable[[bytes], bytes]  # changes the text: duplicate keys, surplus bytes, truncation


def make_keyset(
    *, tls_spki_sha256: bytes, now: int, names: Sequence[str] = ("localhost",), **fields: Unpack[KeysetFields]
) -> bytes:
    """Return an encoded keyset: valid at `now` for a day, simulated unless `fields` say otherwise."""
    return keyset.encode(
        names=names,
        tls_spki_sha256=tls_spki_sha256,
        receipt_key=fields.get("receipt_key", _RECEIPT_KEY),
        not_before=fields.get("not_before", now),
        not_after=fields.get("not_after", now + keyset.DEFAULT_LIFE_SECONDS),
        software=fields.get("software", keyset.Software(__version__, _SOURCES)),
        settings=fields.get("settings", {}),
        simulated=fields.get("simulated", True),
    )


def make_answer(
    attester: StaplingAttester,
    *,
    nonce: bytes,
    tls_spki_sha256: bytes,
    now: int,
    names: Sequence[str] = ("localhost",),
    **lies: Unpack[Lies],
) -> bytes:
    """Return an attestation answer about `nonce` for a server with this TLS key: valid without `lies`."""
    raw = lies.get("keyset_raw")
    if raw is None:
        fields: KeysetFields = {"simulated": attester.simulated}
        for name in KeysetFields.__annotations__:
            if name in lies:
                fields[name] = lies[name]  # type: ignore[literal-required]
        raw = make_keyset(tls_spki_sha256=tls_spki_sha256, now=now, names=names, **fields)
    root, proof = _challenge(lies.get("bound_nonce", nonce), lies.get("waiting", ()))
    others = tuple(lies.get("others", ()))
    bound = report_data(keyset_sha256=hashlib.sha256(raw).digest(), challenge_root=root, others=others)
    primary = attester.evidence(lies.get("report_data", bound))
    primary = Evidence(lies.get("media_type", primary.media_type), primary.value)
    pieces = lies.get("evidence", (primary, *others))
    encoded = answer.encode(
        keyset_raw=lies.get("sent_keyset", _unchanged)(raw),
        proof=lies.get("proof", proof),
        evidence=(*pieces, *lies.get("unbound", ())),
        collateral={**lies.get("collateral", attester.collateral()), **lies.get("more_collateral", {})},
    )
    return lies.get("edit_bytes", _unchanged)(_edited(encoded, lies))


def _challenge(nonce: bytes, waiting: Sequence[bytes]) -> tuple[bytes, challenge.Proof]:
    nonces = (*waiting, nonce)
    padding = [
        hashlib.sha256(b"padding %d" % number).digest()
        for number in range(challenge.padding_needed(len(nonces)))
    ]
    tree = challenge.ChallengeTree(nonces, padding)
    return tree.root, tree.proof(len(waiting))


def _edited(encoded: bytes, lies: Lies) -> bytes:
    if "omit" not in lies and "edit" not in lies:
        return encoded
    value = json.loads(encoded)
    for member in lies.get("omit", ()):
        del value[member]
    if "edit" in lies:
        lies["edit"](value)
    return json.dumps(value, separators=(",", ":")).encode("utf-8")


def _unchanged(data: bytes) -> bytes:
    return data
