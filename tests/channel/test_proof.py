"""A proof file has one text, is read strictly, and says nothing until it is judged."""

from __future__ import annotations

import json
import os
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blindai.channel import proof as proof_file
from blindai.channel.bundle import Bundle
from blindai.channel.exchange_digest import RequestHead, ResponseHead
from blindai.channel.proof import Proof
from blindai.errors import AttestationError, EvidenceMalformed, Reason
from blindai.wire import base64url
from tests.attestation.scene import NONCE, PEER, assert_refused
from tests.channel.exchanges import REQUEST, RESPONSE, concluded, proof_of, unread_proof, with_bodies

SOAK = os.environ.get("BLINDAI_SOAK") == "1"
GOOD = proof_of()
TEXT = GOOD.encode()


def rewritten(**members: object) -> bytes:
    """Return the text of the proof with these members, as whoever knows the format would write it."""
    value = {**json.loads(TEXT), **members}
    del value["sha256"]
    return resealed(value)


def resealed(value: dict[str, object]) -> bytes:
    body = proof_file._text(value)
    return proof_file._text({**value, "sha256": proof_file.hashlib.sha256(body).hexdigest()})


def refuse(raw: bytes) -> None:
    assert_refused(lambda: Proof.parse(raw), Reason.PROOF_MALFORMED, EvidenceMalformed)


@pytest.mark.parametrize(
    "proof",
    [
        GOOD,
        with_bodies(GOOD),
        replace(GOOD, request_body=b"", response_body=b""),
        replace(GOOD, request_body_digest=None),
        replace(GOOD, request_head=RequestHead("GET", "/é\x7f", "", "", ""), response_head=ResponseHead(999)),
    ],
)
def test_a_proof_survives_its_file(proof):
    """Every part comes back, absent and empty told apart, and the text is the same again."""
    assert Proof.parse(proof.encode()) == proof
    assert Proof.parse(proof.encode()).encode() == proof.encode()


def test_every_byte_of_the_file_counts():
    """Any byte changed to any other is refused; under BLINDAI_SOAK=1 every byte, each bit of it."""
    raw = with_bodies(GOOD).encode()
    dice = random.Random(1)  # noqa: S311  where to flip
    places = range(len(raw)) if SOAK else sorted(dice.sample(range(len(raw)), 100))
    for at in places:
        for changed in {raw[at] ^ 1 << bit for bit in (range(8) if SOAK else (dice.randrange(8),))} | {0x20}:
            if changed != raw[at]:
                refuse(raw[:at] + bytes([changed]) + raw[at + 1 :])


def test_another_text_of_the_same_members():
    """Spaces, order, escapes, line ends: nothing can be hidden in a second spelling."""
    value = json.loads(TEXT)
    for raw in (
        json.dumps(value).encode(), TEXT + b"\n", TEXT[:-1], b" " + TEXT, TEXT.replace(b"\n", b"\r\n"),
        TEXT.replace(b'"POST"', b'"\\u0050OST"'),
        json.dumps(dict(reversed(value.items())), indent=1).encode(),
        TEXT + TEXT, b"", b"[]", b"{}", b"null", b"\xff", b"\xef\xbb\xbf" + TEXT, b"[" * 10**6,
        TEXT.replace(b"{", b'{\n "version": 1,', 1), GOOD.bundle.encode(),
    ):  # fmt: skip
        refuse(raw)


def test_the_test_can_write_a_proof():
    """What the tests below write is read, if nothing in it is wrong."""
    assert Proof.parse(rewritten()) == GOOD


MEMBERS = ("version", "receipt", "seed", "policy_sha256", "request", "response", "bundle")
STRANGE = [None, True, 0, 2, -1, 10**400, "=", "A", "AB", "AAAA=", "\u0431", "\ud800", [], {}, ["A"]]


@pytest.mark.parametrize("member", MEMBERS)
@pytest.mark.parametrize("value", STRANGE, ids=lambda value: repr(value)[:20])
def test_a_member_that_is_not_what_it_should_be(member, value):
    """Each member has one form, also for whoever computes the sha256 anew."""
    if member == "receipt" and isinstance(value, str):
        return  # any text may stand there: it is refused as a receipt, when it is judged
    refuse(rewritten(**{member: value}))


HEAD_MEMBERS = [
    *(("request", name) for name in ("method", "path", "content_type", "body_digest", "body")),
    *(("response", name) for name in ("status", "inference_header_length", "body_digest", "body")),
]


@pytest.mark.parametrize(("half", "member"), HEAD_MEMBERS)
@pytest.mark.parametrize("value", [True, -1, 99, 10**400, 1.5, "\u0431", "\ud800", [], "x" * 16385])
def test_a_head_that_no_exchange_could_have(half, member, value):
    """Headers are bytes as text, a status is a number of three digits, a body is base64url."""
    head = json.loads(TEXT)[half]
    refuse(rewritten(**{half: {**head, member: value}}))


def test_the_objects_have_exactly_their_members():
    """One missing or one more, on each level."""
    whole = json.loads(TEXT)
    for name in MEMBERS:
        refuse(resealed({key: value for key, value in whole.items() if key not in (name, "sha256")}))
    refuse(rewritten(more=1))
    for half in ("request", "response", "bundle"):
        refuse(rewritten(**{half: {**whole[half], "more": 1}}))
        for name in whole[half]:
            refuse(rewritten(**{half: {key: value for key, value in whole[half].items() if key != name}}))


def test_a_certificate_that_is_none():
    """What is wrong in the bundle is wrong in the proof."""
    bundle = json.loads(TEXT)["bundle"]
    for changes in ({"certificate": "AAAA"}, {"nonce": "AAAA"}, {"dialled": "a b"}, {"version": 2}):
        refuse(rewritten(bundle={**bundle, **changes}))


def test_the_largest_proof_can_be_read(monkeypatch):
    """What a client may receive, and save, it can also read; a body beyond that is refused."""
    monkeypatch.setattr(proof_file, "MAX_BODY_BYTES", 2**16)
    long = "\x7f" * proof_file.MAX_HEAD_CHARACTERS
    largest = replace(
        GOOD,
        bundle=Bundle(PEER, NONCE, bytes(proof_file.MAX_BUNDLE_BYTES * 3 // 4 - 128 * 1024 - 4096)),
        request_head=RequestHead(long, long, long, long, long),
        response_head=ResponseHead(100, long, long, long),
        request_body=bytes(2**16),
        response_body=bytes(2**16),
    )
    assert Proof.parse(largest.encode()) == largest
    refuse(replace(largest, response_body=bytes(2**16 + 1)).encode())


def test_a_file_without_end_is_refused_unread():
    """The size comes first."""
    refuse(b" " * (proof_file.MAX_PROOF_BYTES + 1))


def test_a_body_has_its_digest():
    """A response always; a request unless the server had not read it, and then it has no body either."""
    value = json.loads(TEXT)
    refuse(rewritten(response={**value["response"], "body_digest": None}))
    refuse(rewritten(request={**value["request"], "body_digest": None, "body": ""}))
    for size in (0, 31, 33):
        for half in ("request", "response"):
            refuse(rewritten(**{half: {**value[half], "body_digest": base64url.encode(bytes(size))}}))


@pytest.mark.parametrize("proof", [GOOD, unread_proof()], ids=["answered", "refused unread"])
def test_every_byte_is_bound_to_the_signature(proof):
    """Without bodies, and by whoever computes the sha256 anew: whatever is changed is refused.

    The bundle has its own judge: it holds bytes that no signature covers, and that nobody reads.
    """
    assert concluded(proof, request_body=None, response_body=None).verdict.accepted
    text = proof_file._text({**json.loads(proof.encode()), "sha256": None}).partition(b' "bundle"')
    dice = random.Random(2)  # noqa: S311  where to flip
    for at in range(len(text[0])) if SOAK else sorted(dice.sample(range(len(text[0])), 150)):
        for bit in range(8) if SOAK else (dice.randrange(7),):
            start = bytearray(text[0])
            start[at] ^= 1 << bit
            try:
                value = json.loads(bytes(start) + text[1] + text[2])
                del value["sha256"]
            except (ValueError, KeyError):
                continue  # no JSON, or not even a sha256 to compute anew
            with pytest.raises(AttestationError):
                concluded(Proof.parse(resealed(value)), request_body=None, response_body=None)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.data())
def test_whatever_is_resealed_ends_in_the_same_claims_or_in_our_own_error(data):
    """An attacker who writes proofs gets nothing proven that was not signed."""
    value = json.loads(TEXT)
    name = data.draw(st.sampled_from(MEMBERS[1:]))
    text = json.dumps(value[name])
    at = data.draw(st.integers(0, len(text) - 1))
    text = (
        text[:at]
        + data.draw(st.text('A_0" {}[]:,n\\', max_size=2))
        + text[at + data.draw(st.integers(0, 2)) :]
    )
    try:
        value[name] = json.loads(text)
        del value["sha256"]
        parsed = Proof.parse(resealed(value))
        proven = concluded(parsed, request_body=None, response_body=None)
    except (AttestationError, ValueError):
        return
    assert replace(parsed, bundle=GOOD.bundle) == GOOD
    assert proven.receipt == concluded(GOOD).receipt


def test_the_seed_and_the_bodies_are_not_in_the_representation():
    """A proof in a log or a traceback shows neither."""
    shown = repr(with_bodies(GOOD))
    assert REQUEST.path in shown
    assert str(RESPONSE.status) in shown
    for secret in (GOOD.seed, GOOD.salt, b'"inputs"'):
        assert repr(secret)[2:-1] not in shown
