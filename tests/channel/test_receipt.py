"""A receipt is what one keyset signed under one header, or it is refused for what it is."""

from __future__ import annotations

import hashlib
import hmac
import json
import string
from dataclasses import replace

import pytest

from blindai.channel import receipt
from blindai.channel.receipt import Kind, Receipt
from blindai.errors import EvidenceForged, EvidenceMalformed, Reason
from blindai.wire import base64url
from tests.attestation.scene import assert_refused
from tests.channel.exchanges import KEYSET, OTHER_KEY, RECEIPT_KEY, claims, public, signed

KID = base64url.encode(KEYSET)
HEADER = f'{{"alg":"Ed25519","typ":"blindai-receipt+jws","kid":"{KID}"}}'


def verified(compact: str) -> Receipt:
    return receipt.verify(compact, public(RECEIPT_KEY), KEYSET)


def jws(header: str | bytes, payload: bytes | None = None) -> str:
    """Sign anything with the server's own key, as if its code had a hole."""
    raw = header.encode() if isinstance(header, str) else header
    body = json.dumps(claims().to_json()).encode() if payload is None else payload
    text = f"{base64url.encode(raw)}.{base64url.encode(body)}"
    return f"{text}.{base64url.encode(RECEIPT_KEY.sign(text.encode()))}"


@pytest.mark.parametrize(
    "said",
    [
        claims(),
        claims(kind=Kind.UPLOAD, status=201),
        claims(kind=Kind.OTHER, model=None, model_sha256=None, profile=None),
        claims(status=404, model=None, model_sha256=None),
        claims(status=413, request=None),
        claims(kind=Kind.OTHER, request=None),
        claims(issued_at=0),
        claims(issued_at=2**53 - 1, model="x" * 256, engine="é"),
    ],
)
def test_what_is_signed_is_read_back(said):
    """Inferences, uploads and failures: every claim comes back, and the header is the documented text."""
    compact = signed(said)
    assert verified(compact) == said
    assert base64url.decode(compact.split(".")[0]).decode() == HEADER
    assert len(compact) < 2048  # it travels in a response header
    assert receipt.unverified(compact).keyset_sha256 == KEYSET


@pytest.mark.parametrize("bit", range(8))
def test_every_changed_character_is_refused(bit):
    """Wherever a bit of the text flips, and wherever another character of the alphabet stands."""
    compact = signed()
    for at, character in enumerate(compact):
        changed = compact[:at] + chr(ord(character) ^ 1 << bit) + compact[at + 1 :]
        with pytest.raises((EvidenceForged, EvidenceMalformed)):
            verified(changed)


def test_a_receipt_of_another_server():
    """Another keyset is said to be one; another key under this keyset's name is a bad signature."""
    other = hashlib.sha256(b"another keyset").digest()
    assert_refused(lambda: verified(signed(kid=other)), Reason.RECEIPT_KEYSET, EvidenceForged)
    assert_refused(lambda: verified(signed(key=OTHER_KEY)), Reason.RECEIPT_SIGNATURE, EvidenceForged)
    both = signed(key=OTHER_KEY, kid=other)
    assert_refused(lambda: verified(both), Reason.RECEIPT_KEYSET, EvidenceForged)


FOREIGN = {
    "none": HEADER.replace("Ed25519", "none"),
    "HS256": HEADER.replace("Ed25519", "HS256"),
    "the older name of the algorithm": HEADER.replace("Ed25519", "EdDSA"),
    "another case": HEADER.replace("Ed25519", "ed25519"),
    "another type": HEADER.replace("blindai-receipt+jws", "JWT"),
    "crit": HEADER[:-1] + ',"crit":["exp"]}',
    "unencoded payload": HEADER[:-1] + ',"b64":false,"crit":["b64"]}',
    "jwk": HEADER[:-1]
    + ',"jwk":{"kty":"OKP","crv":"Ed25519","x":"'
    + base64url.encode(public(OTHER_KEY))
    + '"}}',
    "jku": HEADER[:-1] + ',"jku":"https://attacker.example/"}',
    "a member twice": HEADER[:-1] + ',"alg":"none"}',
    "the algorithm twice, the right one last": '{"alg":"none",' + HEADER[1:],
    "the kid twice": HEADER[:-1] + f',"kid":"{KID}"}}',
    "another order": f'{{"typ":"blindai-receipt+jws","alg":"Ed25519","kid":"{KID}"}}',
    "a space": HEADER.replace(",", ", "),
    "a line behind": HEADER + "\n",
    "escaped": HEADER.replace("alg", "\\u0061lg"),
    "no kid": '{"alg":"Ed25519","typ":"blindai-receipt+jws"}',
    "an empty kid": HEADER.replace(KID, ""),
    "a short kid": HEADER.replace(KID, KID[:-1]),
    "a second spelling of the kid": HEADER.replace(KID, KID[:-1] + chr(ord(KID[-1]) + 1)),
    "hexadecimal": HEADER.replace(KID, KEYSET.hex()),
    "a byte order mark": b"\xef\xbb\xbf" + HEADER.encode(),
    "not JSON": "Ed25519",
    "nothing": "",
}


@pytest.mark.parametrize("header", FOREIGN.values(), ids=FOREIGN)
def test_a_foreign_header(header):
    """Even signed by the right key: nothing in a receipt chooses an algorithm or a key."""
    for read in (verified, receipt.unverified):
        assert_refused(lambda read=read: read(jws(header)), Reason.RECEIPT_HEADER, EvidenceForged)


def test_no_signature_and_one_with_the_public_key_as_a_secret():
    """The two classical forgeries, under their own headers and under the right one."""
    payload = base64url.encode(json.dumps(claims().to_json()).encode())
    for header, reason in (
        (FOREIGN["none"], Reason.RECEIPT_HEADER),
        (FOREIGN["HS256"], Reason.RECEIPT_HEADER),
        (HEADER, Reason.RECEIPT_SIGNATURE),
    ):
        text = f"{base64url.encode(header.encode())}.{payload}"
        keyed = base64url.encode(hmac.digest(public(RECEIPT_KEY), text.encode(), "sha256"))
        for signature in ("", keyed, base64url.encode(bytes(64)), base64url.encode(bytes(10_000))):
            assert_refused(lambda made=f"{text}.{signature}": verified(made), reason, EvidenceForged)


def test_a_signature_over_other_claims():
    """The signature of one receipt under the claims of another."""
    header, payload, _ = signed().split(".")
    _, other, signature = signed(claims(model_sha256="00" * 32)).split(".")
    assert_refused(lambda: verified(f"{header}.{payload}.{signature}"), Reason.RECEIPT_SIGNATURE)
    assert verified(f"{header}.{other}.{signature}").model_sha256 == "00" * 32


def test_a_signature_has_one_form():
    """Ed25519 with S plus the group's order holds for a lax verifier: one receipt would have two texts."""
    header, payload, text = signed().split(".")
    raw = base64url.decode(text)
    order = 2**252 + 27742317777372353535851937790883648493
    scalar = int.from_bytes(raw[32:], "little") + order
    malleated = base64url.encode(raw[:32] + scalar.to_bytes(32, "little"))
    assert_refused(lambda: verified(f"{header}.{payload}.{malleated}"), Reason.RECEIPT_SIGNATURE)


def test_a_key_that_is_none():
    """A keyset may hold any 32 bytes: what is no key verifies nothing, and ends in our own error."""
    for key in (bytes(32), b"\xff" * 32, b""):
        assert_refused(lambda key=key: receipt.verify(signed(), key, KEYSET), Reason.RECEIPT_SIGNATURE)


def test_a_text_that_is_no_compact_jws():
    """Three parts of canonical base64url, 16 KiB at most."""
    good = signed()
    header, payload, signature = good.split(".")
    for text in (
        "", ".", "...", header, f"{header}.{payload}", good + ".", "." + good, f"{good}.{header}",
        good + "=", good + "\n", " " + good, good.replace(".", ". "), f"{header}={'.'}{payload}.{signature}",
        good.replace("-", "+").replace("_", "/") + "+", json.dumps({"payload": payload}), "é" * 10,
        "\0", "\ud800", "A" * (receipt.MAX_RECEIPT_BYTES + 1), "." * receipt.MAX_RECEIPT_BYTES,
    ):  # fmt: skip
        for read in (verified, receipt.unverified):
            assert_refused(
                lambda text=text, read=read: read(text), Reason.RECEIPT_MALFORMED, EvidenceMalformed
            )


MEMBERS = tuple(claims().to_json())
STRANGE = [
    True,
    -1,
    2**53,
    10**400,
    "",
    "A",
    "=",
    "\ud800",
    "a\nb",
    "x" * 257,
    [],
    {},
    ["A"],
    1.5,
    float("nan"),
]
NULLABLE = ("model", "model_sha256", "profile")


@pytest.mark.parametrize("member", MEMBERS)
@pytest.mark.parametrize("value", [None, *STRANGE], ids=lambda value: repr(value)[:20])
def test_a_claim_that_is_not_what_it_should_be(member, value):
    """Though it is signed: each claim has one form."""
    free = value in ("A", "=") and member in ("model", "profile", "engine")
    if free or (value is None and member in NULLABLE):
        return
    payload = json.dumps({**claims().to_json(), member: value}).encode()
    assert_refused(lambda: verified(jws(HEADER, payload)), Reason.RECEIPT_MALFORMED, EvidenceMalformed)


def test_the_claims_are_exactly_these():
    """One missing, one more, one twice, another version, another kind, bytes behind, something else."""
    good = claims().to_json()
    for member in MEMBERS:
        rest = {name: value for name, value in good.items() if name != member}
        assert_refused(
            lambda rest=rest: verified(jws(HEADER, json.dumps(rest).encode())), Reason.RECEIPT_MALFORMED
        )
    text = json.dumps(good).encode()
    for payload in (
        json.dumps({**good, "more": 1}).encode(), b'{"status": 500,' + text[1:], text + b"{}", b"\xff" + text,
        b"\xef\xbb\xbf" + text,
        json.dumps({**good, "version": 2}).encode(), json.dumps({**good, "kind": "chat"}).encode(),
        json.dumps({**good, "model_sha256": "AB" * 32}).encode(), b"[]", b"", b"null", b"[" * 9000,
    ):  # fmt: skip
        compact = jws(HEADER, payload)
        assert_refused(lambda compact=compact: verified(compact), Reason.RECEIPT_MALFORMED, EvidenceMalformed)


@pytest.mark.parametrize(
    "lie",
    [{"id": "short"}, {"request": "00" * 32}, {"response": None}, {"status": 99}, {"engine": ""},
     {"request": None}, {"model_sha256": "no digest"}, {"version": 2}, {"issued_at": -1},
     {"model": "x" * 257}],
    ids=str,
)  # fmt: skip
def test_a_server_signs_nothing_that_nobody_would_read(lie):
    """A mistake of the server is its own error, and never a receipt that fails at the auditor's."""
    with pytest.raises((ValueError, TypeError)):
        signed(replace(claims(), **lie))


def test_what_is_not_verified_is_no_receipt():
    """What is shown to people cannot be handed on as if it were true."""
    said = receipt.unverified(signed(key=OTHER_KEY))
    assert not isinstance(said, Receipt)
    assert said.keyset_sha256 == KEYSET
    assert said.claims == claims().to_json()


def test_the_alphabet_has_no_second_spelling():
    """Each last character of a part: the bits that no byte fills must be zero."""
    header, payload, signature = signed().split(".")
    for parts in ((header[:-1], f".{payload}.{signature}"), (f"{header}.{payload}.{signature[:-1]}", "")):
        texts = {parts[0] + last + parts[1] for last in string.ascii_letters + string.digits + "-_"}
        for text in texts - {signed()}:
            with pytest.raises((EvidenceForged, EvidenceMalformed)):
                verified(text)
