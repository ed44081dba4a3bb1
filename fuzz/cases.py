"""Targets that need more than bytes: a scene around the function, and what must hold of what it accepts."""

from __future__ import annotations

import contextlib
import json
import ssl
from functools import cache

from blindai.attestation import chain, vendors
from blindai.attestation.amd import endorsement
from blindai.attestation.intel import collateral
from blindai.attestation.policy import Policy
from blindai.attestation.trust import StapledSimulationTrust
from blindai.attestation.types import Evidence
from blindai.channel import bundle as bundles
from blindai.channel import challenge as challenges
from blindai.channel import handshake, keyset
from blindai.channel import operator as operators
from blindai.channel.keyset import Keyset
from blindai.errors import AttestationError
from blindai.wire import base64url as base64
from blindai.wire import strict_cbor as strict_binary
from blindai.wire import strict_json as strict
from fuzz import samples

TRUST = StapledSimulationTrust()


def base64url(data: bytes) -> None:
    text = data.decode("latin-1")
    if base64.encode(base64.decode(text)) != text:
        raise AssertionError("two spellings of one value")


def strict_json(data: bytes) -> None:
    if strict.decode_object(data, max_bytes=4096) != json.loads(data):
        raise AssertionError("another value than the standard library's")


def strict_cbor(data: bytes) -> None:
    strict_binary.decode(data, max_bytes=4096, tag=18)


def challenge(data: bytes) -> None:
    value = _json(data)
    proof = challenges.parse_proof(value)
    if len(challenges.root_of(samples.NONCE, proof)) != 32:
        raise AssertionError("not a root")


def policy(data: bytes) -> None:
    Policy.from_toml(data.decode("utf-8", errors="replace"))


def certificate(data: bytes) -> None:
    peer = bundles.Peer.from_certificate("localhost", data)
    if not peer.certificate_pem.startswith("-----BEGIN"):
        raise AssertionError("not PEM")


def operator(data: bytes) -> None:
    """A certificate as an operator's, who did not issue ours, and as one of a chain."""
    stapled = {"operator": {"certificate": ssl.DER_cert_to_PEM_cert(data)}}
    with contextlib.suppress(AttestationError):
        operators.shown_by(stapled, samples.TLS.certificate, keyset=_keyset(), now=samples.NOW)
    certificate = chain.parse_der(data, "it")
    chain.check_not_authority(certificate, "it")
    chain.check_dates(chain.dates([certificate], "it"), samples.NOW)


def intel_collateral(data: bytes) -> None:
    collateral.parse(_json(data))


def amd_collateral(data: bytes) -> None:
    endorsement.parse(_json(data))


def verify(data: bytes) -> None:
    """Evidence and collateral of any vendor; what is accepted must have been signed by a sample's key."""
    value = _json(data)
    if not isinstance(value, dict) or not isinstance(value.get("collateral"), dict):
        return
    media_type, text = value.get("type"), value.get("evidence")
    if not isinstance(media_type, str) or not isinstance(text, str):
        return
    try:
        evidence = Evidence(media_type, base64.decode(text))
    except ValueError:
        return
    claims = vendors.verify(evidence, value["collateral"], trust=TRUST, now=samples.NOW)
    if claims.report_data != samples.REPORT_DATA:
        raise AssertionError("accepted, and it is not what was signed")


def bundle(data: bytes) -> None:
    parsed = bundles.Bundle.parse(data)
    if bundles.Bundle.parse(parsed.encode()) != parsed:
        raise AssertionError("a bundle does not survive being written")


def conclude(data: bytes) -> None:
    """All that a client received of one connection; a proof may only be about the key that ended it."""
    bundle = bundles.Bundle.parse(data)
    attested = handshake.conclude(bundle, policy=_policy(), trust=TRUST, floors={}, now=samples.NOW)
    proven, sampled = attested.tls_spki_sha256, samples.TLS.spki_sha256
    if not attested.verdict.accepted or not proven == bundle.peer.tls_spki_sha256 == sampled:
        raise AssertionError("a proof of something else")


@cache
def _keyset() -> Keyset:
    return keyset.parse(samples.keysets()[0])


@cache
def _policy() -> Policy:
    return Policy.from_toml(samples.policy_text())


def _json(data: bytes) -> object:
    """Return the JSON value, or None: the strict decoder has a target of its own."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None
