"""The attestation answer: parts are refused under their own reason codes."""

from __future__ import annotations

import json

import pytest

from blindai.attestation.types import MAX_EVIDENCE_BYTES, TDX_QUOTE, Evidence
from blindai.channel import answer, challenge
from blindai.channel.answer import MAX_ANSWER_BYTES, MAX_PIECES
from blindai.errors import EvidenceMalformed, Reason
from blindai.wire import base64url
from tests.attestation.scene import NONCE, answer_of


@pytest.fixture(scope="module")
def good(tdx):
    return answer_of(tdx)


def reason_of(raw):
    """Return the reason for which this answer is malformed."""
    with pytest.raises(EvidenceMalformed) as caught:
        answer.parse(raw)
    return caught.value.reason


def changed(good, **members):
    value = json.loads(good) | members
    return json.dumps({name: item for name, item in value.items() if item is not ...}).encode()


def test_what_is_written_is_read(tdx, good):
    """Keyset, challenge, evidence and collateral come back as they went in."""
    parsed = answer.parse(good)
    again = answer.encode(
        keyset_raw=parsed.keyset.raw,
        proof=parsed.proof,
        evidence=parsed.evidence,
        collateral=parsed.collateral,
    )
    assert again == good == parsed.raw
    assert parsed.collateral == tdx.collateral()


def test_the_target_holds_the_nonce():
    """One path, one parameter, 43 characters without padding."""
    assert answer.target(NONCE) == f"/.well-known/blindai/attestation?nonce={base64url.encode(NONCE)}"
    assert len(base64url.encode(NONCE)) == 43


NOT_AN_ANSWER = {
    "nothing": lambda raw: b"",
    "HTML": lambda raw: b"<!doctype html>",
    "list": lambda raw: b"[" + raw + b"]",
    "text": lambda raw: b'"answer"',
    "byte order mark": lambda raw: b"\xef\xbb\xbf" + raw,
    "bytes behind": lambda raw: raw + b"\n{}",
    "NUL behind": lambda raw: raw + b"\0",
    "truncated": lambda raw: raw[: len(raw) // 2],
    "not UTF-8": lambda raw: raw.replace(b"tdx-quote", b"tdx\xff"),
    "duplicate": lambda raw: raw[:-1] + b',"version":1}',
    "deep": lambda raw: raw[:-2] + b',"x":' + b"[" * 100000,
    "fraction": lambda raw: raw.replace(b'"version":1', b'"version":1.0'),
    "too long": lambda raw: raw + b" " * MAX_ANSWER_BYTES,
}


@pytest.mark.parametrize("name", NOT_AN_ANSWER)
def test_what_is_not_strict_json_is_refused(good, name):
    """The decoder is the strict one."""
    assert reason_of(NOT_AN_ANSWER[name](good)) == Reason.ANSWER_MALFORMED


@pytest.mark.parametrize("member", ["version", "keyset", "evidence", "collateral"])
def test_a_missing_member_is_refused(good, member):
    """Four members are required of every answer."""
    assert reason_of(changed(good, **{member: ...})) == Reason.ANSWER_MALFORMED


def test_an_unknown_member_is_refused(good):
    """Version 1 has no others: what is not understood is not skipped."""
    assert reason_of(changed(good, nonce=base64url.encode(NONCE))) == Reason.ANSWER_MALFORMED


def test_an_answer_without_a_challenge_is_for_monitoring_only(good):
    """It may be a replay, so it has a reason of its own and never leads to a proof."""
    assert reason_of(changed(good, challenge=...)) == Reason.CHALLENGE_MISSING


WRONG = [
    *(("version", value, Reason.ANSWER_MALFORMED) for value in (0, 2, True, "1", None, [1])),
    *(
        ("keyset", value, Reason.ANSWER_MALFORMED)
        for value in (None, 1, {}, [], "=", "a", "{}", "ä", "\ud800")
    ),
    *(("keyset", value, Reason.KEYSET_MALFORMED) for value in ("", "e30", "AA")),
    *(("challenge", value, Reason.CHALLENGE_MALFORMED) for value in (None, [], "", 0, {}, True)),
    *(("collateral", value, Reason.ANSWER_MALFORMED) for value in (None, [], "", 1, True)),
    *(("evidence", value, Reason.EVIDENCE_MISSING) for value in ([], None, {}, "", 0)),
    *(
        ("evidence", value, Reason.ANSWER_MALFORMED)
        for value in (
            [None],
            [[]],
            [1],
            [True],
            [""],
            ["ab"],
            [[TDX_QUOTE]],
            [[TDX_QUOTE, ""], None],
            [[TDX_QUOTE, "", ""]],
            [[TDX_QUOTE, None]],
            [[1, ""]],
            [[None, ""]],
            [[TDX_QUOTE, "="]],
            [[TDX_QUOTE, "AAA="]],
            [[TDX_QUOTE, "A"]],
            [[TDX_QUOTE, "AB"]],
            [[TDX_QUOTE, "AA\n"]],
            [[TDX_QUOTE, "A A"]],
            [[TDX_QUOTE, "++++"]],
            [[TDX_QUOTE, "////"]],
            [[TDX_QUOTE, "\ud800"]],
            [{TDX_QUOTE: 0, "": 1}],
            [{TDX_QUOTE: ""}],
        )
    ),
]


@pytest.mark.parametrize(("member", "value", "reason"), WRONG)
def test_a_member_of_the_wrong_kind_is_refused(good, member, value, reason):
    """A record is a list of two strings; base64url has one spelling; nothing is converted."""
    assert reason_of(changed(good, **{member: value})) == reason


def test_the_limits_of_evidence(tdx):
    """64 KiB a piece and 32 pieces, and not one more."""
    largest = Evidence(TDX_QUOTE, bytes(MAX_EVIDENCE_BYTES))
    assert answer.parse(answer_of(tdx, evidence=[largest])).evidence == (largest,)
    larger = Evidence(TDX_QUOTE, bytes(MAX_EVIDENCE_BYTES + 1))
    much_larger = Evidence(TDX_QUOTE, bytes(3 * MAX_EVIDENCE_BYTES))
    for piece in (larger, much_larger):
        assert reason_of(answer_of(tdx, evidence=[piece])) == Reason.EVIDENCE_TOO_LARGE
    small = Evidence(TDX_QUOTE, b"")
    assert len(answer.parse(answer_of(tdx, evidence=[small] * MAX_PIECES)).evidence) == MAX_PIECES
    assert reason_of(answer_of(tdx, evidence=[small] * (MAX_PIECES + 1))) == Reason.EVIDENCE_TOO_LARGE


def test_a_proof_for_many_clients_is_read(tdx):
    """The path of a batch of nine has four nodes, and leads from our nonce."""
    parsed = answer.parse(answer_of(tdx, waiting=[bytes([number]) * 32 for number in range(8)]))
    assert (parsed.proof.index, len(parsed.proof.path)) == (8, 4)
    assert len(challenge.root_of(NONCE, parsed.proof)) == 32
