from __future__ import annotations

import hashlib
import json

import pytest

from blindai.attestation.binding import report_data
from blindai.attestation.types import TDX_QUOTE, Evidence
from blindai.channel import answer, challenge, keyset
from blindai.errors import EvidenceMalformed, Reason
from blindai.testing import FakeTdx, make_answer, make_keyset
from blindai.wire import base64url

NOW = 1_790_000_000
NONCE = hashlib.sha256(b"nonce").digest()
SPKI = hashlib.sha256(b"TLS key").digest()
OTHER = Evidence("application/vnd.blindai.test", b"another piece")


@pytest.fixture(scope="module")
def tdx():
    return FakeTdx(now=NOW)


def answered(tdx, **lies):
    return make_answer(tdx, nonce=NONCE, tls_spki_sha256=SPKI, now=NOW, **lies)


def is_bound(parsed):
    """Whether the quote carries the binding of everything that the answer says to the client's nonce."""
    expected = report_data(
        keyset_sha256=parsed.keyset.sha256,
        challenge_root=challenge.root_of(NONCE, parsed.proof),
        others=parsed.evidence[1:],
    )
    return parsed.evidence[0].value[48 + 520 : 48 + 584] == expected


def test_an_answer_without_lies_is_valid(tdx):
    """It parses, its evidence is bound to keyset and nonce, and it names what it was asked to name."""
    parsed = answer.parse(answered(tdx, names=("enclave.example",)))
    assert is_bound(parsed)
    assert parsed.keyset.names == ("enclave.example",)
    assert parsed.keyset.tls_spki_sha256 == SPKI
    assert parsed.keyset.simulated is True
    assert parsed.keyset.not_before <= NOW < parsed.keyset.not_after
    assert [piece.media_type for piece in parsed.evidence] == [TDX_QUOTE]
    assert parsed.collateral == tdx.collateral()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("receipt_key", b"r" * 32),
        ("not_before", NOW + 1),
        ("not_after", NOW + 99 * 3600),
        ("software", keyset.Software("9.9", "ff")),
        ("settings", {"isolation": "process", "sealing": ("file",)}),
        ("simulated", False),
    ],
)
def test_a_keyset_field_is_replaced_and_bound(tdx, field, value):
    """A field of the keyset can be anything well-formed; the evidence still vouches for it."""
    parsed = answer.parse(answered(tdx, **{field: value}))
    assert getattr(parsed.keyset, field) == value
    assert is_bound(parsed)


def test_a_raw_keyset_is_bound_as_it_is(tdx):
    """Bytes that are no keyset are hashed into the evidence and refused by the parser only."""
    raw = make_keyset(tls_spki_sha256=SPKI, now=NOW)
    twice = raw.replace(b'"simulated":true', b'"simulated":false,"simulated":true')
    with pytest.raises(EvidenceMalformed) as caught:
        answer.parse(answered(tdx, keyset_raw=twice))
    assert caught.value.reason == Reason.KEYSET_MALFORMED
    assert is_bound(answer.parse(answered(tdx, keyset_raw=raw)))


def test_other_clients_of_the_batch_lengthen_the_path(tdx):
    """With nonces of others in the tree the client's own nonce still leads to the root."""
    parsed = answer.parse(answered(tdx, waiting=[bytes([i]) * 32 for i in range(4)]))
    assert (len(parsed.proof.path), parsed.proof.index) == (3, 4)
    assert is_bound(parsed)


def test_other_pieces_are_bound(tdx):
    """More evidence in `others` is sent and bound."""
    parsed = answer.parse(answered(tdx, others=[OTHER]))
    assert parsed.evidence[1:] == (OTHER,)
    assert is_bound(parsed)


@pytest.mark.parametrize(
    "lies",
    [
        {"bound_nonce": bytes(32)},
        {"report_data": bytes(64)},
        {"sent_keyset": lambda raw: raw.replace(b"localhost", b"elsewhere")},
        {"unbound": [OTHER]},
        {"proof": challenge.Proof(0, (bytes(32),))},
    ],
    ids=lambda lies: next(iter(lies)),
)
def test_what_was_not_bound_does_not_hold(tdx, lies):
    """Each of these parses, but the evidence is about something else."""
    assert not is_bound(answer.parse(answered(tdx, **lies)))


@pytest.mark.parametrize(
    ("lies", "reason"),
    [
        ({"omit": ["challenge"]}, Reason.CHALLENGE_MISSING),
        ({"omit": ["evidence"]}, Reason.ANSWER_MALFORMED),
        ({"omit": ["collateral"]}, Reason.ANSWER_MALFORMED),
        ({"evidence": []}, Reason.EVIDENCE_MISSING),
        ({"edit": lambda value: value.update(version=2)}, Reason.ANSWER_MALFORMED),
        ({"edit": lambda value: value.update(extra=1)}, Reason.ANSWER_MALFORMED),
        ({"edit_bytes": lambda text: b'{"version":1,' + text[1:]}, Reason.ANSWER_MALFORMED),
        ({"edit_bytes": lambda text: text + b"{}"}, Reason.ANSWER_MALFORMED),
        ({"edit_bytes": lambda text: text[:-1]}, Reason.ANSWER_MALFORMED),
    ],
)
def test_a_malformed_answer_has_its_reason(tdx, lies, reason):
    """Lies about the form of the answer are refused by the production parser, each for its own reason."""
    with pytest.raises(EvidenceMalformed) as caught:
        answer.parse(answered(tdx, **lies))
    assert caught.value.reason == reason


def test_media_type_and_collateral_can_be_replaced(tdx):
    """The primary piece can claim another type, and collateral can be swapped or added to."""
    other = FakeTdx(now=NOW)
    operator = {"operator": {"certificate": "..."}}
    parsed = answer.parse(
        answered(tdx, media_type="text/plain", collateral=other.collateral(), more_collateral=operator)
    )
    assert parsed.evidence[0].media_type == "text/plain"
    assert parsed.collateral == {**other.collateral(), **operator}


def test_the_text_is_plain_json(tdx):
    """Anyone can read an answer without this package: base64url in JSON."""
    value = json.loads(answered(tdx))
    assert json.loads(base64url.decode(value["keyset"]))["version"] == 1
