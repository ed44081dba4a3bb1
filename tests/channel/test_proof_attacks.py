"""What a proof proves, and every way to make one prove something else."""

from __future__ import annotations

import copy
import itertools
import json
import pickle
from dataclasses import asdict, replace

import pytest

from blindai.attestation.trust import ProductionTrust, SimulationTrust
from blindai.attestation.verdict import Outcome
from blindai.channel import answer, proven
from blindai.channel.bundle import Bundle
from blindai.channel.exchange_digest import RequestDigest, ResponseHead, salt_of
from blindai.channel.proof import Proof
from blindai.channel.proven import Proven
from blindai.channel.receipt import Kind
from blindai.errors import EvidenceForged, EvidenceMalformed, EvidenceRejected, Reason
from blindai.testing import TlsIdentity
from tests.attestation.scene import (
    NONCE,
    NOW,
    PEER,
    Client,
    answer_of,
    assert_refused,
    attest,
    healthy,
    machine_of,
    peer_of,
    policy_of,
    refusal,
)
from tests.channel.exchanges import (
    BUNDLE,
    MODEL_SHA256,
    OTHER_KEY,
    RECEIPT_KEY,
    REQUEST,
    REQUEST_BODY,
    RESPONSE,
    RESPONSE_BODY,
    SALT,
    SEED,
    bundle_of,
    claims,
    concluded,
    policy_with_models,
    proof_of,
    public,
    request_claim,
    request_digest,
    response_claim,
    response_digest,
    signed,
    unread_proof,
    with_bodies,
)

HOUR, DAY = 3600, 24 * 3600
KEYS = answer.parse(BUNDLE.answer).keyset


def outcome(shown: Proven, claim: str) -> Outcome:
    (check,) = (check for check in shown.verdict.checks if check.claim == claim)
    return check.outcome


def test_a_true_proof_holds():
    """One verdict says all: about the server, then about the receipt."""
    shown = concluded(proof_of(), policy=policy_with_models(MODEL_SHA256))
    assert shown.verdict.accepted
    assert shown.verdict.simulated
    assert shown.receipt == claims()
    assert (shown.request_compared, shown.response_compared) == (True, True)
    names = [check.claim for check in shown.verdict.checks]
    assert names[-6:] == [
        "receipt", "receipt_time", "receipt_model", "receipt_request", "receipt_response", "receipt_policy",
    ]  # fmt: skip
    assert set(names[:-6]) == {check.claim for check in attest(healthy("tdx")).verdict.checks}
    assert all(outcome(shown, name) is Outcome.PASS for name in names[-6:-1])


@pytest.mark.parametrize("cut", [0, 1, 50])
def test_bodies_may_come_in_pieces_or_hashed_already(cut):
    """From a file, from the proof, or from a digest that was fed while sending: all are compared."""
    proof = proof_of()
    digest = RequestDigest(SALT, REQUEST)
    digest.update(REQUEST_BODY)
    digest = digest.sent()
    pieces = [RESPONSE_BODY[:cut], RESPONSE_BODY[cut:]]
    for shown in (
        concluded(proof, request_body=digest, response_body=iter(pieces)),
        concluded(with_bodies(proof), request_body=None, response_body=None),
        concluded(with_bodies(proof)),
        concluded(proof, request_body=bytearray(REQUEST_BODY), response_body=memoryview(RESPONSE_BODY)),
    ):
        assert (shown.request_compared, shown.response_compared) == (True, True)


def test_what_is_not_there_is_not_compared():
    """Without a body its check is unknown, which nobody may take for a match."""
    for request, response in itertools.product((REQUEST_BODY, None), (RESPONSE_BODY, None)):
        shown = concluded(proof_of(), request_body=request, response_body=response)
        assert (shown.request_compared, shown.response_compared) == (
            request is not None,
            response is not None,
        )
        assert (outcome(shown, "receipt_request") is Outcome.UNKNOWN) == (request is None)
        assert (outcome(shown, "receipt_response") is Outcome.UNKNOWN) == (response is None)
        assert str(shown.verdict).count("of this head") == [request, response].count(None)


def test_bodies_can_be_demanded():
    """Then what was not compared is refused, though nothing in it is wrong."""
    for proof in (proof_of(), with_bodies(proof_of())):
        assert concluded(proof, require_bodies=True).verdict.accepted
    assert concluded(
        with_bodies(proof_of()), require_bodies=True, request_body=None, response_body=None
    ).response_compared
    for missing in (
        {"request_body": None},
        {"response_body": None},
        {"request_body": None, "response_body": None},
    ):
        error = refusal(lambda missing=missing: concluded(proof_of(), require_bodies=True, **missing))
        assert (error.reason, type(error)) == (Reason.RECEIPT_NOT_COMPARED, EvidenceRejected)
        assert len(error.verdict.failures) == len(missing)
        assert "the body was not given" in str(error)
        assert "--request FILE" in error.hint
    unread = lambda: concluded(unread_proof(), require_bodies=True)  # noqa: E731
    assert_refused(unread, Reason.RECEIPT_NOT_COMPARED, EvidenceRejected)
    forged = lambda: concluded(proof_of(), require_bodies=True, request_body=b"", response_body=None)  # noqa: E731
    assert_refused(forged, Reason.RECEIPT_REQUEST, EvidenceForged)  # the graver one


def flipped(data: bytes) -> bytes:
    return bytes([data[0] ^ 1]) + data[1:]


OTHER_BODIES = [b"", REQUEST_BODY[:-1], REQUEST_BODY + b"\0", flipped(REQUEST_BODY), RESPONSE_BODY]


@pytest.mark.parametrize("body", OTHER_BODIES)
def test_another_input(body):
    """Given beside the proof, inside it, or hashed already."""
    digest = RequestDigest(SALT, REQUEST)
    digest.update(body)
    digest = digest.sent()
    for judge in (
        lambda: concluded(proof_of(), request_body=body),
        lambda: concluded(proof_of(), request_body=[body]),
        lambda: concluded(proof_of(), request_body=digest),
        lambda: concluded(proof_of(request_body=body), request_body=None),
        lambda: concluded(proof_of(request_body=body)),  # the right one beside it excuses nothing
        lambda: concluded(proof_of(request_body=REQUEST_BODY), request_body=body),
    ):
        assert_refused(judge, Reason.RECEIPT_REQUEST, EvidenceForged)


@pytest.mark.parametrize(
    "body", [b"", RESPONSE_BODY[:-1], RESPONSE_BODY + b"\0", flipped(RESPONSE_BODY), REQUEST_BODY]
)
def test_another_output(body):
    """Given beside the proof or inside it."""
    for judge in (
        lambda: concluded(proof_of(), response_body=body),
        lambda: concluded(proof_of(response_body=body), response_body=None),
        lambda: concluded(proof_of(response_body=body)),
        lambda: concluded(proof_of(response_body=RESPONSE_BODY), response_body=body),
    ):
        assert_refused(judge, Reason.RECEIPT_RESPONSE, EvidenceForged)


OTHER_REQUESTS = [
    replace(REQUEST, method="PUT"),
    replace(REQUEST, path="/v2/models/alice/sentiment/infer"),  # the same route, spelt otherwise
    replace(REQUEST, path="/v2/models/bob%2Fsentiment/infer"),
    replace(REQUEST, content_type=None),
    replace(REQUEST, content_type=""),
    replace(REQUEST, content_encoding=""),
    replace(REQUEST, content_encoding="gzip"),
    replace(REQUEST, inference_header_length="14"),
    replace(REQUEST, inference_header_length="013"),
    replace(REQUEST, inference_header_length=None),
    # Moved from one field into the next, with all their bytes in the same order.
    replace(REQUEST, content_type=None, content_encoding=REQUEST.content_type),
    replace(REQUEST, content_encoding="13", inference_header_length=None),
    replace(REQUEST, method="POS", path="T" + REQUEST.path),
    replace(REQUEST, path=REQUEST.path + "application", content_type="/octet-stream"),
]


@pytest.mark.parametrize("head", OTHER_REQUESTS)
def test_another_request_head(head):
    """The same body, sent as something else, whether it is there to compare or not."""
    for bodies in ({}, {"request_body": None, "response_body": None}):
        judge = lambda bodies=bodies: concluded(proof_of(request_head=head), **bodies)  # noqa: E731
        assert_refused(judge, Reason.RECEIPT_REQUEST, EvidenceForged)


@pytest.mark.parametrize("head", OTHER_REQUESTS)
def test_another_head_of_a_request_that_was_not_read(head):
    """No digest covers it: the salt does, and with it the response's digest."""
    proof = replace(unread_proof(), request_head=head)
    for bodies in ({}, {"request_body": None, "response_body": None}):
        judge = lambda bodies=bodies: concluded(proof, **bodies)  # noqa: E731
        assert_refused(judge, Reason.RECEIPT_RESPONSE, EvidenceForged)


def test_a_byte_moved_between_head_and_body():
    """The header's last digit as the first byte of the body, or the other way."""
    shorter = replace(REQUEST, inference_header_length="1")
    assert_refused(
        lambda: concluded(proof_of(request_head=shorter), request_body=b"3" + REQUEST_BODY),
        Reason.RECEIPT_REQUEST,
    )
    longer = replace(RESPONSE, inference_header_length="14{")
    assert_refused(
        lambda: concluded(proof_of(response_head=longer), response_body=RESPONSE_BODY[1:]),
        Reason.RECEIPT_RESPONSE,
    )


@pytest.mark.parametrize(
    "head",
    [
        replace(RESPONSE, status=201),
        replace(RESPONSE, content_type="application/json"),
        replace(RESPONSE, content_type=None, content_encoding=RESPONSE.content_type),
        replace(RESPONSE, content_encoding=""),
        replace(RESPONSE, inference_header_length=None),
    ],
)
def test_another_response_head(head):
    """Status, type, encoding and where the numbers begin."""
    for body in (RESPONSE_BODY, None):
        judge = lambda body=body: concluded(proof_of(response_head=head), response_body=body)  # noqa: E731
        assert_refused(judge, Reason.RECEIPT_RESPONSE, EvidenceForged)


def test_the_digest_of_another_body():
    """Written into the proof together with that body, or without any: the server signed another."""
    request = request_digest(body=b"other").body_digest()
    response = response_digest(body=b"other").body_digest()
    for body in (b"other", None):
        for proof, reason in (
            (proof_of(request_body_digest=request, request_body=body), Reason.RECEIPT_REQUEST),
            (proof_of(response_body_digest=response, response_body=body), Reason.RECEIPT_RESPONSE),
        ):
            judge = lambda proof=proof: concluded(proof, request_body=None, response_body=None)  # noqa: E731
            assert_refused(judge, reason, EvidenceForged)


def test_a_request_is_read_or_not():
    """The receipt says which; a proof that says otherwise would have a part that nobody checks."""
    none = proof_of(request_body_digest=None)
    assert_refused(lambda: concluded(none, request_body=None), Reason.RECEIPT_REQUEST, EvidenceForged)
    more = replace(unread_proof(), request_body_digest=request_digest().body_digest())
    assert_refused(lambda: concluded(more, request_body=None), Reason.RECEIPT_REQUEST, EvidenceForged)


def test_another_status_is_noticed_without_the_body():
    """The receipt says the status in plain sight, so that the file cannot say another."""
    proof = proof_of(response_head=replace(RESPONSE, status=500))
    assert_refused(lambda: concluded(proof, response_body=None), Reason.RECEIPT_RESPONSE, EvidenceForged)


def test_a_request_is_no_response():
    """The digest of one half is never that of the other."""
    said = claims(request=response_claim(), response=request_claim())
    error = refusal(lambda: concluded(proof_of(said)))
    assert set(error.verdict.reasons) == {Reason.RECEIPT_REQUEST, Reason.RECEIPT_RESPONSE}


def test_another_salt():
    """It is the client's, and part of both digests: another seed gives another."""
    for bodies in ({}, {"request_body": None, "response_body": None}):
        error = refusal(lambda bodies=bodies: concluded(proof_of(seed=flipped(SEED)), **bodies))
        assert set(error.verdict.reasons) == {Reason.RECEIPT_REQUEST, Reason.RECEIPT_RESPONSE}
        assert (error.reason, type(error)) == (Reason.RECEIPT_REQUEST, EvidenceForged)


def test_a_digest_of_another_request_is_the_callers_mistake():
    """What was hashed while sending must be of the proof's own salt and head."""
    for digest in (RequestDigest(bytes(32), REQUEST), RequestDigest(SALT, replace(REQUEST, method="PUT"))):
        with pytest.raises(ValueError, match="another request"):
            concluded(proof_of(), request_body=digest.sent())


def test_another_model():
    """The policy says which models may have answered; without that, none is demanded."""
    for other in ("00" * 32, MODEL_SHA256[:-1] + "0"):
        policy = policy_with_models(other)
        assert_refused(
            lambda policy=policy: concluded(proof_of(), policy=policy), Reason.RECEIPT_MODEL, EvidenceRejected
        )
        said = claims(model_sha256=other)
        assert concluded(proof_of(said), policy=policy).receipt.model_sha256 == other
        assert_refused(
            lambda said=said: concluded(proof_of(said), policy=policy_with_models(MODEL_SHA256)),
            Reason.RECEIPT_MODEL,
        )
    assert outcome(concluded(proof_of()), "receipt_model") is Outcome.UNKNOWN
    assert concluded(proof_of(), policy=policy_with_models("00" * 32, MODEL_SHA256)).verdict.accepted


@pytest.mark.parametrize("kind", [Kind.INFERENCE, Kind.UPLOAD])
def test_an_answer_of_no_known_model(kind):
    """Where the policy names models, a success without a digest is refused."""
    proof = proof_of(claims(kind=kind, model_sha256=None))
    policy = policy_with_models(MODEL_SHA256)
    assert_refused(lambda: concluded(proof, policy=policy), Reason.RECEIPT_MODEL, EvidenceRejected)


def test_receipts_of_uploads_and_of_other_requests():
    """An upload's receipt names the model that was taken; a list of models has none to name."""
    policy = policy_with_models(MODEL_SHA256)
    upload = concluded(proof_of(claims(kind=Kind.UPLOAD)), policy=policy)
    assert (upload.receipt.kind, outcome(upload, "receipt_model")) == (Kind.UPLOAD, Outcome.PASS)
    other = claims(kind=Kind.OTHER, model=None, model_sha256=None, profile=None)
    assert outcome(concluded(proof_of(other), policy=policy), "receipt_model") is Outcome.UNKNOWN


@pytest.mark.parametrize("status", [400, 404, 412, 500])
def test_receipts_of_failures(status):
    """A refusal is proven like an answer: no model answered, whatever models the policy names."""
    head = ResponseHead(status, "application/json")
    for members in ({"model": None, "model_sha256": None}, {"model_sha256": "00" * 32}):
        said = claims(status=status, response=response_claim(head), **members)
        shown = concluded(proof_of(said, response_head=head), policy=policy_with_models(MODEL_SHA256))
        assert shown.receipt.status == status
        assert outcome(shown, "receipt_model") is Outcome.UNKNOWN
        assert shown.response_compared


def test_a_request_that_the_server_did_not_read():
    """It vouches for its refusal and for no request: whatever body is given was not compared."""
    shown = concluded(unread_proof())
    assert (shown.request_compared, shown.response_compared) == (False, True)
    assert "is the client's word" in str(shown.verdict)


@pytest.mark.parametrize(
    ("seconds", "holds"),
    [
        (KEYS.not_before - 300, True),
        (KEYS.not_before - 301, False),
        (KEYS.not_after + 300, True),
        (KEYS.not_after + 301, False),
        (0, False),
        (2**53 - 1, False),
    ],
)
def test_the_asserted_time_lies_in_the_keysets_life(seconds, holds):
    """A key that did not exist yet, or no more, signed nothing; clocks may differ by five minutes."""
    proof = proof_of(claims(issued_at=seconds))
    if holds:
        assert concluded(proof).receipt.issued_at == seconds
    else:
        assert_refused(lambda: concluded(proof), Reason.RECEIPT_TIME, EvidenceRejected)


def test_all_that_is_wrong_is_said_at_once():
    """The gravest names the error; the verdict has every reason."""
    said = claims(issued_at=0)
    error = refusal(
        lambda: concluded(proof_of(said), policy=policy_with_models("00" * 32), response_body=b"")
    )
    assert (error.reason, type(error)) == (Reason.RECEIPT_RESPONSE, EvidenceForged)
    assert set(error.verdict.reasons) == {Reason.RECEIPT_TIME, Reason.RECEIPT_MODEL, Reason.RECEIPT_RESPONSE}
    assert "2 more" in str(error)


def test_a_proof_is_good_for_its_time():
    """Years later it has expired, and it holds at the time that the auditor names."""
    for now in (NOW + 2 * DAY, NOW + 3650 * DAY):
        error = refusal(lambda now=now: concluded(proof_of(), now=now))
        assert isinstance(error, EvidenceRejected)
        assert error.verdict is not None
    assert concluded(proof_of(), now=NOW + DAY - 1).verdict.accepted
    assert_refused(lambda: concluded(proof_of(), now=NOW + DAY), Reason.KEYSET_EXPIRED, EvidenceRejected)


def test_simulated_evidence_under_a_production_policy():
    """Whatever the policy says: no root of a simulation is a root of hardware."""
    judge = lambda: concluded(proof_of(), trust=ProductionTrust())  # noqa: E731
    assert_refused(judge, Reason.ROOT_UNKNOWN, EvidenceForged)
    bundle = bundle_of(simulated=False)
    keyset = answer.parse(bundle.answer).keyset.sha256
    claimed = proof_of(bundle=bundle, receipt=signed(kid=keyset))
    assert_refused(lambda: concluded(claimed, trust=ProductionTrust()), Reason.ROOT_UNKNOWN, EvidenceForged)
    assert_refused(lambda: concluded(claimed), Reason.SIMULATION_MISMATCH, EvidenceRejected)


def test_another_server_of_the_same_code():
    """Its receipt beside our attestation, our receipt beside its attestation, its key under our keyset."""
    other = bundle_of(OTHER_KEY)
    keyset = answer.parse(other.answer).keyset.sha256
    theirs = signed(key=OTHER_KEY, kid=keyset)
    assert concluded(proof_of(bundle=other, receipt=theirs)).verdict.accepted
    for proof, reason in (
        (proof_of(receipt=theirs), Reason.RECEIPT_KEYSET),
        (proof_of(bundle=other), Reason.RECEIPT_KEYSET),
        (proof_of(receipt=signed(key=OTHER_KEY)), Reason.RECEIPT_SIGNATURE),
        (proof_of(bundle=other, receipt=signed(kid=keyset)), Reason.RECEIPT_SIGNATURE),
    ):
        assert_refused(lambda proof=proof: concluded(proof), reason, EvidenceForged)


def test_another_keyset():
    """The attacker's key in a keyset that the hardware did not sign for."""
    members = json.loads(BUNDLE.answer)
    raw = answer.base64url.decode(members["keyset"])
    ours, theirs = (answer.base64url.encode(public(key)).encode() for key in (RECEIPT_KEY, OTHER_KEY))
    swapped = raw.replace(ours, theirs)
    assert swapped != raw
    body = json.dumps({**members, "keyset": answer.base64url.encode(swapped)}).encode()
    keyset = answer.parse(body).keyset.sha256
    proof = proof_of(bundle=Bundle(PEER, NONCE, body), receipt=signed(key=OTHER_KEY, kid=keyset))
    assert_refused(lambda: concluded(proof), Reason.REPORT_DATA_MISMATCH, EvidenceForged)


def test_another_nonce_and_another_certificate():
    """The attestation is that of the client who asked, on the connection that it asked on."""
    nonce = replace(BUNDLE, nonce=flipped(NONCE))
    assert_refused(lambda: concluded(proof_of(bundle=nonce)), Reason.REPORT_DATA_MISMATCH, EvidenceForged)
    peer = replace(BUNDLE, peer=peer_of(TlsIdentity.make("localhost", now=NOW)))
    assert_refused(lambda: concluded(proof_of(bundle=peer)), Reason.TLS_KEY_MISMATCH, EvidenceForged)
    unread = replace(BUNDLE, answer=BUNDLE.answer[:-1])
    assert_refused(lambda: concluded(proof_of(bundle=unread)), Reason.ANSWER_MALFORMED, EvidenceMalformed)


def test_other_code():
    """A machine that runs something else than the auditor's policy names."""
    other = replace(healthy("tdx").measurements, mrtd=bytes(48))
    machine = machine_of("tdx", measurements=other)
    body = answer_of(machine, receipt_key=public(RECEIPT_KEY))
    proof = proof_of(bundle=Bundle(PEER, NONCE, body), receipt=signed(kid=answer.parse(body).keyset.sha256))
    judge = lambda: concluded(proof, trust=SimulationTrust([machine.root_sha256]))  # noqa: E731
    assert_refused(judge, Reason.MEASUREMENT_MISMATCH, EvidenceRejected)


def test_the_policy_that_a_proof_names_is_told_and_not_judged():
    """An auditor has a policy of their own, and learns that the client had another."""
    salt = salt_of(SEED, "00" * 32, REQUEST)
    request, response = request_digest(salt=salt), response_digest(salt=salt)
    theirs = proof_of(
        claims(request=request.claim(), response=response.claim()),
        policy_sha256="00" * 32,
        request_body_digest=request.body_digest(),
        response_body_digest=response.body_digest(),
    )
    shown = concluded(theirs)
    assert shown.verdict.accepted
    assert outcome(shown, "receipt_policy") is Outcome.UNKNOWN
    assert outcome(concluded(proof_of()), "receipt_policy") is Outcome.PASS


def test_the_policy_that_a_proof_names_is_the_clients():
    """It chose its salt by it: nobody writes another one in later."""
    for proof in (proof_of(policy_sha256="00" * 32), replace(unread_proof(), policy_sha256="00" * 32)):
        error = refusal(lambda proof=proof: concluded(proof, request_body=None, response_body=None))
        assert Reason.RECEIPT_RESPONSE in error.verdict.reasons
        assert type(error) is EvidenceForged


def test_a_receipt_that_is_none():
    """It ends in the receipt's own reasons, with a verdict."""
    for text, reason in (
        ("", Reason.RECEIPT_MALFORMED),
        ("..", Reason.RECEIPT_HEADER),
        (signed()[:-2] + "AA", Reason.RECEIPT_SIGNATURE),
        (signed(kid=bytes(32)), Reason.RECEIPT_KEYSET),
    ):
        error = refusal(lambda text=text: concluded(proof_of(receipt=text)))
        assert error.reason is reason
        assert [check.claim for check in error.verdict.checks] == ["receipt"]


def test_an_attestation_of_another_keyset_stands_for_nothing():
    """The short way, for a server attested a moment ago, demands the attestation of this very keyset."""
    ours = Client().conclude(BUNDLE.answer, healthy("tdx"))
    given = {"policy": policy_of(healthy("tdx")), "now": NOW}
    assert proven.conclude_attested(ours, proof_of(), **given).verdict.accepted
    other = Client().conclude(bundle_of(OTHER_KEY).answer, healthy("tdx"))
    assert_refused(
        lambda: proven.conclude_attested(other, proof_of(), **given), Reason.RECEIPT_KEYSET, EvidenceForged
    )


def test_nobody_else_makes_a_proven_value():
    """It has no public constructor, no copy and no subclass, and does not change."""
    shown = concluded(proof_of())
    for made in (
        lambda: Proven(None, claims(), shown.verdict),
        lambda: copy.copy(shown),
        lambda: pickle.dumps(shown),
    ):
        with pytest.raises(TypeError):
            made()
    with pytest.raises(TypeError):
        type("Mine", (Proven,), {})
    with pytest.raises(AttributeError):
        shown.receipt = claims()
    with pytest.raises(AttributeError):
        shown._receipt = claims()
    assert "inference" in repr(shown)


def test_an_expired_policy_and_floors_count():
    """The proof is judged by everything that a connection is judged by."""
    policy = policy_of(healthy("tdx"), top="expires = 2020-01-01")
    assert_refused(lambda: concluded(proof_of(), policy=policy), Reason.POLICY_EXPIRED, EvidenceRejected)
    attested = Client().conclude(BUNDLE.answer, healthy("tdx"))
    newer = replace(attested.freshness, tcb_evaluation=attested.freshness.tcb_evaluation + 1)
    judge = lambda: concluded(proof_of(), floors={attested.platform: newer})  # noqa: E731
    assert_refused(judge, Reason.TCB_ROLLED_BACK, EvidenceRejected)


def test_a_proof_of_the_file_is_the_proof():
    """Saved, read and judged: the same verdict."""
    proof = with_bodies(proof_of())
    assert concluded(Proof.parse(proof.encode())).verdict == concluded(proof).verdict
    assert asdict(concluded(proof).receipt) == asdict(claims())
