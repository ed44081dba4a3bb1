"""The edges of a receipt's claims: the first and the last value of each, and its whole length."""

from __future__ import annotations

import json

import pytest

from blindai.channel import receipt
from blindai.channel.receipt import Kind
from blindai.errors import EvidenceMalformed, Reason
from blindai.wire import base64url
from tests.attestation.scene import assert_refused
from tests.channel.exchanges import KEYSET, RECEIPT_KEY, claims, public, signed
from tests.channel.test_receipt import HEADER, jws


@pytest.mark.parametrize(
    ("status", "succeeded"),
    [(100, False), (199, False), (200, True), (299, True), (300, False), (999, False)],
)
def test_what_success_is(status: int, succeeded: bool):
    """Every status from 200 to 299: only of these a model or a policy's word about models is demanded."""
    said = claims(status=status)
    assert receipt.verify(signed(said), public(RECEIPT_KEY), KEYSET) == said
    assert said.succeeded is succeeded


@pytest.mark.parametrize("kind", [Kind.INFERENCE, Kind.UPLOAD])
def test_what_was_served_was_read(kind: Kind):
    """Nothing is served unread, and everything else may have been refused unread."""
    for status in (100, 199, 300, 413, 999):
        assert receipt.unverified(signed(claims(kind=kind, status=status, request=None)))
    for status in (200, 299):
        with pytest.raises(ValueError, match="not read"):
            signed(claims(kind=kind, status=status, request=None))


@pytest.mark.parametrize("status", [99, 1000])
def test_a_status_has_three_digits(status: int):
    """Neither a server signs another one, nor is one read."""
    with pytest.raises(ValueError, match="status"):
        signed(claims(status=status))
    payload = json.dumps({**claims().to_json(), "status": status}).encode()
    assert_refused(
        lambda: receipt.unverified(jws(HEADER, payload)), Reason.RECEIPT_MALFORMED, EvidenceMalformed
    )


def of_length(characters: int) -> str:
    """A receipt of this length: its claims are padded with spaces, its signature with zeros."""
    header, payload, _ = (base64url.decode(part) for part in signed().split("."))
    for spaces in range(3):
        text = f"{base64url.encode(header)}.{base64url.encode(payload + b' ' * (9000 + spaces))}."
        for zeros in range(characters):
            compact = text + base64url.encode(bytes(zeros))
            if len(compact) >= characters:
                break
        if len(compact) == characters:
            return compact
    raise AssertionError("no such length")


def test_how_long_a_receipt_is():
    """Exactly 16 KiB at most, all three parts together: it was a response's header."""
    assert receipt.unverified(of_length(16 * 1024)).claims == claims().to_json()
    assert_refused(
        lambda: receipt.unverified(of_length(16 * 1024 + 1)), Reason.RECEIPT_MALFORMED, EvidenceMalformed
    )
