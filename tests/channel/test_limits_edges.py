"""Limits of what a peer may send, what a bundle's file looks like, the verdict on what was never judged."""

from __future__ import annotations

import json

import pytest

from blindai.attestation.policy import Policy
from blindai.attestation.verdict import Verdict
from blindai.channel import answer, bundle, challenge, handshake, keyset, operator, refusal
from blindai.channel.bundle import Bundle
from blindai.errors import EvidenceForged, EvidenceMalformed, EvidenceRejected, Reason
from blindai.wire import base64url, strict_cbor, strict_json
from tests.attestation.scene import NONCE, NOW, PEER, answer_of

POLICY = Policy.for_simulation()


def encoded(**binary):
    members = Bundle(PEER, NONCE, b"{}").to_json()
    return json.dumps({**members, **{key: base64url.encode(data) for key, data in binary.items()}}).encode()


def test_the_limits_are_those_of_the_specification():
    """Written a second time, so that a slip in either place shows."""
    assert (answer.VERSION, answer.MAX_ANSWER_BYTES, answer.MAX_PIECES) == (1, 4_194_304, 32)
    assert (bundle.VERSION, bundle.MAX_CERTIFICATE_BYTES, bundle.MAX_BUNDLE_BYTES) == (1, 131_072, 5_771_264)
    assert (challenge.NONCE_BYTES, challenge.MAX_DEPTH, challenge.MAX_LEAVES) == (32, 12, 4096)
    assert (handshake.READ_BYTES, handshake.MAX_HEADER_BYTES) == (65_536, 16_384)
    assert (keyset.VERSION, keyset.MAX_KEYSET_BYTES, keyset.MAX_NAMES) == (1, 16_384, 32)
    assert keyset.DEFAULT_LIFE_SECONDS == 86_400
    assert operator.MAX_CERTIFICATE_BYTES == 16_384
    assert (strict_json.MAX_DEPTH, strict_json.MAX_BRACKETS, strict_cbor.MAX_DEPTH) == (16, 20_000, 8)


def test_a_bundles_file_is_text_for_people_and_programs():
    """One member a line, and a line end behind the last."""
    received = Bundle(PEER, NONCE, b"{}")
    lines = received.encode().decode("ascii").split("\n")
    assert lines[0] == "{"
    assert lines[1:3] == [' "version": 1,', ' "dialled": "localhost",']
    assert lines[-3:] == [' "answer": "e30"', "}", ""]
    assert len(lines) == 8


def test_what_was_received_is_not_shown_in_logs(tdx):
    """A representation tells what it is, not megabytes of what a peer chose."""
    raw = answer_of(tdx)
    parsed = answer.parse(raw)
    assert "answer=" not in repr(Bundle(PEER, NONCE, raw))
    assert "raw=" not in repr(parsed)
    assert "raw=" not in repr(parsed.keyset)


@pytest.mark.parametrize("size", [1, bundle.MAX_CERTIFICATE_BYTES])
def test_a_certificate_of_every_size_that_may_be_is_looked_at(size):
    """What is too large is the bundle's fault; what is not is the certificate's."""
    text = encoded(certificate=b"\x30" * size)
    with pytest.raises(EvidenceMalformed) as caught:
        Bundle.parse(text)
    assert caught.value.reason == Reason.CERTIFICATE_MALFORMED


@pytest.mark.parametrize("size", [0, bundle.MAX_CERTIFICATE_BYTES + 1])
def test_a_certificate_of_another_size_is_refused_unread(size):
    """With the limits in the message."""
    with pytest.raises(EvidenceMalformed, match="certificate has not between 1 and 131072 bytes") as caught:
        Bundle.parse(encoded(certificate=b"\x30" * size))
    assert caught.value.reason == Reason.BUNDLE_MALFORMED


def test_an_empty_answer_is_kept_as_it_was_received():
    """What to make of it is not the bundle's business."""
    assert Bundle.parse(Bundle(PEER, NONCE, b"").encode()).answer == b""


@pytest.mark.parametrize(
    ("error", "claim", "source"),
    [
        (EvidenceMalformed(Reason.KEYSET_MALFORMED, "bad"), "keyset", "keyset"),
        (EvidenceMalformed(Reason.QUOTE_MALFORMED, "bad"), "evidence_format", "evidence"),
        (EvidenceForged(Reason.SIGNATURE_INVALID, "bad"), "signature", "evidence"),
        (EvidenceRejected(Reason.PLATFORM_UNSUPPORTED, "bad"), "platform", "evidence"),
    ],
)
def test_what_was_never_judged_has_a_verdict_of_one_failure(error, claim, source):
    """Nothing is known of the platform then: not even that it is a simulation."""
    with pytest.raises(type(error)) as caught, refusal.with_verdict(POLICY, NOW):
        raise error
    verdict = caught.value.verdict
    (check,) = verdict.failures
    assert verdict.checks == (check,)
    assert (check.claim, check.source, check.reason, check.found) == (claim, source, error.reason, "bad")
    assert (verdict.tee, verdict.simulated, verdict.at) == ("unknown", False, NOW)
    assert verdict.policy_sha256 == POLICY.sha256


def test_a_verdict_that_is_there_is_kept():
    """What was judged is not thrown away."""
    own = Verdict("tdx", simulated=True, at=1, policy_sha256="ab", checks=())
    with pytest.raises(EvidenceRejected) as caught, refusal.with_verdict(POLICY, NOW):
        raise EvidenceRejected(Reason.NAME_MISMATCH, "no", verdict=own)
    assert caught.value.verdict is own
